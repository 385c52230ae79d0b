"""Metadata of a Python project: its name, where its packages lie, its version, its entry points. Pure.

Manifests of the usual build tools are read as data; `setup.py` is never run, only looked at for two plain texts.
"""

from __future__ import annotations

import configparser
import posixpath
import re
import tomllib
from collections.abc import Mapping
from typing import cast

from remit.client.generated import Table, table, written_versions
from remit.values import Value, normalised

MANIFESTS = ("pyproject.toml", "setup.cfg", "setup.py", "PKG-INFO")
_SETUP_NAME = re.compile(r"""\bname\s*=\s*["']([A-Za-z0-9][\w.-]*)["']""")
_SETUP_VERSION = re.compile(r"""\bversion\s*=\s*["']([0-9][\w.+!-]*)["']""")
_SETUP_PLACE = re.compile(
    r"""package_dir\s*=\s*(?:\{\s*["']["']\s*:|dict\(\s*\*\*\{\s*["']["']\s*:)\s*["']([^"']+)["']"""
)
_SETUP_FIND = re.compile(r"""find(?:_namespace)?_packages\(\s*(?:where\s*=\s*)?["']([^"']+)["']""")
_VERSION = re.compile(
    r"""^(?:__version__|version|VERSION)\b[^=\n]*=\s*["']([0-9][\w.+!-]*)["']""", re.MULTILINE
)


class Project(Value, frozen=True, kw_only=True):
    """One project of the input."""

    folder: str
    """Relative to the input; empty for its root."""
    name: str | None
    places: tuple[str, ...]
    """Folders, relative to the input, in which it says that its packages lie; empty: it does not say."""
    modules: tuple[str, ...]
    """Importable names that it says it has, without a folder."""
    version: str | None
    version_files: tuple[str, ...]
    """Where a version may stand that no manifest has."""
    entry_points: dict[str, dict[str, str]]


def read_project(folder: str, texts: Mapping[str, str]) -> Project | None:
    """The project of a folder from the texts of its manifests; None where they make none. What cannot be read says
    nothing: the tool that needs it will complain."""
    pyproject = _toml(texts.get("pyproject.toml"))
    setup_cfg = _ini(texts.get("setup.cfg"))
    setup_py = texts.get("setup.py")
    has_table = any(key in pyproject for key in ("project", "build-system")) or any(
        key in table(pyproject, "tool") for key in ("poetry", "flit", "pdm", "hatch", "maturin")
    )
    is_configured = "metadata" in setup_cfg or "options" in setup_cfg
    if not (has_table or is_configured or setup_py is not None):
        return None
    places, modules = _places(pyproject, setup_cfg, setup_py or "")
    name = _name(pyproject, setup_cfg, setup_py or "")
    return Project(
        folder=folder,
        name=name,
        places=tuple(
            dict.fromkeys(found for place in places if (found := _inside(folder, place)) is not None)
        ),
        modules=tuple(dict.fromkeys(module.partition(".")[0] for module in modules)),
        version=_version(pyproject, setup_cfg, setup_py or "", texts.get("PKG-INFO")),
        version_files=_version_files(folder, pyproject),
        entry_points=_entry_points(pyproject, setup_cfg),
    )


def version_in(text: str) -> str | None:
    """A version that a module gives itself."""
    found = _VERSION.search(text)
    return found[1] if found else None


def module_name(project_name: str) -> str:
    """The importable name that goes with a project's name by custom."""
    return normalised(project_name).replace("-", "_")


def _name(pyproject: Table, setup_cfg: Mapping[str, Mapping[str, str]], setup_py: str) -> str | None:
    tool = table(pyproject, "tool")
    said = [
        table(pyproject, "project").get("name"),
        table(tool, "poetry").get("name"),
        table(table(tool, "flit"), "metadata").get("dist-name"),
        table(table(tool, "flit"), "metadata").get("module"),
        setup_cfg.get("metadata", {}).get("name"),
    ]
    for name in said:
        if isinstance(name, str) and name.strip():
            return name.strip()
    found = _SETUP_NAME.search(setup_py)
    return found[1] if found else None


def _version(
    pyproject: Table, setup_cfg: Mapping[str, Mapping[str, str]], setup_py: str, pkg_info: str | None
) -> str | None:
    for line in (pkg_info or "").splitlines():
        if not line:
            break
        if line.startswith("Version:"):
            return line.partition(":")[2].strip()
    said = [
        table(pyproject, "project").get("version"),
        table(table(pyproject, "tool"), "poetry").get("version"),
        setup_cfg.get("metadata", {}).get("version"),
    ]
    for version in said:
        if isinstance(version, str) and re.fullmatch(r"[0-9][\w.+!-]*", version.strip()):
            return version.strip()
    found = _SETUP_VERSION.search(setup_py)
    return found[1] if found else None


def _version_files(folder: str, pyproject: Table) -> tuple[str, ...]:
    tool = table(pyproject, "tool")
    said = [
        table(table(tool, "hatch"), "version").get("path"),
        table(table(tool, "pdm"), "version").get("path"),
        *written_versions(pyproject),
    ]
    return tuple(
        inside for path in said if isinstance(path, str) and (inside := _inside(folder, path)) is not None
    )


def _places(
    pyproject: Table, setup_cfg: Mapping[str, Mapping[str, str]], setup_py: str
) -> tuple[list[str], list[str]]:
    """Folders that hold packages, and names of modules, as the build tool's own table says."""
    tool = table(pyproject, "tool")
    places: list[str] = []
    modules: list[str] = []

    setuptools = table(tool, "setuptools")
    places += _texts(table(setuptools, "package-dir").get(""))
    packages = setuptools.get("packages")
    if isinstance(packages, Mapping):
        places += _texts(table(cast("Table", packages), "find").get("where"))
    modules += _texts(setuptools.get("py-modules"))

    hatch = table(table(tool, "hatch"), "build")
    for one in (table(table(hatch, "targets"), "wheel"), hatch):
        for path in _texts(one.get("packages")):
            places.append(posixpath.dirname(path.strip("/")) or ".")
            modules.append(posixpath.basename(path.strip("/")))
        sources = one.get("sources")
        places += (
            _texts(sources) if not isinstance(sources, Mapping) else list(cast("Mapping[str, str]", sources))
        )

    for package in _tables(table(tool, "poetry").get("packages")):
        include = package.get("include")
        place = package.get("from", ".")
        if isinstance(include, str) and isinstance(place, str):
            places.append(place)
            modules.append(include.split("/")[0].removesuffix(".py"))

    places += _texts(table(table(tool, "pdm"), "build").get("package-dir"))
    places += _texts(table(tool, "maturin").get("python-source"))
    uv = table(table(tool, "uv"), "build-backend")
    places += _texts(uv.get("module-root"))
    modules += _texts(uv.get("module-name"))
    flit = table(tool, "flit")
    modules += _texts(table(flit, "module").get("name")) + _texts(table(flit, "metadata").get("module"))

    options = setup_cfg.get("options", {})
    for line in options.get("package_dir", "").splitlines():
        left, sign, right = line.partition("=")
        if sign and not left.strip():
            places.append(right.strip())
    where = setup_cfg.get("options.packages.find", {}).get("where", "")
    places += [line.strip() for line in where.splitlines() if line.strip()]
    modules += options.get("py_modules", "").split()
    for pattern in (_SETUP_PLACE, _SETUP_FIND):
        places += pattern.findall(setup_py)
    return [place for place in places if place], [
        module for module in modules if module and "*" not in module
    ]


def _entry_points(pyproject: Table, setup_cfg: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    project = table(pyproject, "project")
    poetry = table(table(pyproject, "tool"), "poetry")
    found: dict[str, dict[str, str]] = {}

    def add(group: str, points: Table) -> None:
        texts = {str(name): value for name, value in points.items() if isinstance(value, str)}
        if texts:
            found.setdefault(group, {}).update(texts)

    add("console_scripts", table(project, "scripts"))
    add("gui_scripts", table(project, "gui-scripts"))
    for group in table(project, "entry-points"):
        add(group, table(table(project, "entry-points"), group))
    add("console_scripts", table(poetry, "scripts"))
    for group in table(poetry, "plugins"):
        add(group, table(table(poetry, "plugins"), group))
    for group, text in setup_cfg.get("options.entry_points", {}).items():
        pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
        add(group, {name.strip(): value.strip() for name, _, value in pairs})
    return found


def _inside(folder: str, place: str) -> str | None:
    """A place of a manifest relative to the input; None where it leads out."""
    path = posixpath.normpath(posixpath.join(folder, place.replace("\\", "/")))
    if path == ".." or path.startswith(("../", "/")):
        return None
    return "" if path == "." else path


def _toml(text: str | None) -> Table:
    try:
        return tomllib.loads(text or "")
    except tomllib.TOMLDecodeError:
        return {}


def _ini(text: str | None) -> Mapping[str, Mapping[str, str]]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]  # names of entry points have capitals
    try:
        parser.read_string(text or "")
    except configparser.Error:
        return {}
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _tables(value: object) -> list[Table]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Table", item) for item in items if isinstance(item, Mapping)]


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]
