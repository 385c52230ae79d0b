"""The pins of constraints.txt suit every Python that Remit promises, read from what is installed here; no network."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11.0", "3.11.2", "3.11.9", "3.12.0", "3.13.0")
"""Debian 12 has 3.11.2; whoever says 3.11 means its first release too."""
PINS = {
    canonicalize_name(name): version
    for name, version in (line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
}
EXTRAS = frozenset(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
)
LEFT_OUT = {"xllamacpp"}
"""Pins of extras that the tests do not install."""


def distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def wanted(python: str) -> Iterator[tuple[str, Requirement]]:
    """Who asks for what, beginning with Remit and all its extras, as pip would ask on that Python."""
    environment = {
        **default_environment(),
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
    }
    waiting, seen = [("remit", EXTRAS)], set[tuple[str, frozenset[str]]]()
    while waiting:
        asked = waiting.pop()
        found = distribution(asked[0])
        if asked in seen or found is None:
            continue
        seen.add(asked)
        for requirement in map(Requirement, found.requires or ()):
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({**environment, "extra": extra}) for extra in ("", *asked[1])
            ):
                yield asked[0], requirement
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))


@pytest.mark.parametrize("name", sorted(PINS.keys() - LEFT_OUT))
def test_a_pin_is_what_is_installed_and_suits_every_python(name: str) -> None:
    found = distribution(name)
    assert found is not None, f"{name} is pinned, and nothing that the tests install brings it"
    assert found.version == PINS[canonicalize_name(name)]
    suits = SpecifierSet(found.metadata["Requires-Python"] or "")
    assert [python for python in PYTHONS if python not in suits] == [], f"{name} needs Python {suits}"


@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_pip_would_install_is_pinned_to_a_version_that_suits_whoever_asks(python: str) -> None:
    asked = list(wanted(python))
    assert len({requirement.name for _, requirement in asked}) > 60
    unpinned = {
        requirement.name for _, requirement in asked if canonicalize_name(requirement.name) not in PINS
    }
    assert unpinned == set()
    unsuited = [
        f"{who} asks for {requirement}"
        for who, requirement in asked
        if PINS[canonicalize_name(requirement.name)] not in requirement.specifier
    ]
    assert unsuited == []
