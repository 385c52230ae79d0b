"""What may import what: the contracts of .importlinter, on the whole package."""

from __future__ import annotations

import configparser
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "remit"


def settings() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / ".importlinter")
    return parsed


def test_every_import_goes_downward_and_every_module_has_a_layer() -> None:
    assert lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True) == 0


def test_the_contract_is_exhaustive_so_that_a_new_package_must_find_its_layer() -> None:
    layers = settings()["importlinter:contract:layers"]
    assert layers["exhaustive"] == "true"
    named = {
        name.strip() for line in layers["layers"].split("\n") for name in line.replace(":", "|").split("|")
    }
    there = {
        path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named - {""} == there - {"__init__", "__main__"}


def test_the_command_line_may_import_nothing_but_the_client_the_schema_and_the_composition_root() -> None:
    forbidden = settings()["importlinter:contract:front"]["forbidden_modules"].split()
    there = {
        path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    allowed = {
        "cli",
        "app",
        "client",
        "schema",
        "ownership",
        "errors",
        "ids",
        "clock",
        "config",
        "hidden",
        "wording",
        "__init__",
        "__main__",
    }
    assert {name.removeprefix("remit.") for name in forbidden} == there - allowed
