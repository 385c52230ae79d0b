"""Modules of the work that would be imported in the place of the judge's own. Pure."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Collection, Iterable, Mapping

from remit.values import TreeEntry
from remit.verifiers.input_tree import InputTree, folders_above

_ALWAYS = frozenset(
    "pytest _pytest py pluggy iniconfig unittest doctest coverage hypothesis mock nose2 sitecustomize usercustomize".split()
)
_MODULE = re.compile(r"(\w+)(?:\.(?:cpython|abi3|pypy)[\w-]*)?\.(?:py|pyc|so|pyd)")
_PACKAGE_FILE = re.compile(r"__init__(?:\.(?:cpython|abi3|pypy)[\w-]*)?\.(?:py|pyc|so|pyd)")
_PLACES = ("", "src", "lib")


def places_of(inputs: InputTree, files: Iterable[str], folders: Iterable[str]) -> tuple[str, ...]:
    """Folders where a judge looks for modules: root, src, lib, where the command runs, and above the packages that hold
    the Python files and scripts that it opens or that are protected."""
    places = dict.fromkeys(_PLACES)
    for folder in folders:
        real = inputs.real(folder) if folder else ""
        if real is not None:
            places[real] = None
    for path in files:
        if not path.endswith(".py") and "." in posixpath.basename(path):
            continue
        at = posixpath.dirname(path)
        places_at = at
        while at and f"{at}/__init__.py" in inputs.entries:
            places_at = at = posixpath.dirname(at)
        places[places_at] = None
    return tuple(sorted(places))


class Shadowing:
    """Knows the judge's modules, and where one of the work's would hide them."""

    def __init__(self, inputs: InputTree, places: Iterable[str], judge_modules: Collection[str] = ()) -> None:
        """`judge_modules`: top-level names of the image's and the toolchains' packages; the standard library's are known."""
        self._places = frozenset(places)
        own = {name for path in inputs.files() if (name := self._name(path, inputs.entries)) is not None}
        self._own_packages = own
        self._judges = (frozenset(judge_modules) | _ALWAYS | sys.stdlib_module_names) - {
            "__main__",
            "__init__",
        }
        self._own = inputs

    def _name(self, path: str, entries: Mapping[str, TreeEntry]) -> str | None:
        """The top-level module that this file is, or is part of the package of, at one of the places."""
        place, name = posixpath.split(path)
        found = _MODULE.fullmatch(name)
        if place in self._places and found is not None and found[1] != "__init__":
            return found[1]
        for folder in (*folders_above(path),):
            if posixpath.dirname(folder) in self._places and self._is_package(folder, entries):
                return posixpath.basename(folder)
        return None

    @staticmethod
    def _is_package(folder: str, entries: Mapping[str, TreeEntry]) -> bool:
        return any(f"{folder}/__init__{end}" in entries for end in (".py", ".pyc", ".so", ".pyd"))

    def hides(self, path: str, entries: Mapping[str, TreeEntry]) -> str | None:
        """The judge's module that this file would hide, being added or changed beside these entries. A package that the
        input itself is stays the work's, and so does a changed module called like one that is only installed."""
        if _PACKAGE_FILE.fullmatch(posixpath.basename(path)) and posixpath.dirname(path) in self._places - {
            ""
        }:
            return None
        name = self._name(path, entries)
        if name is None or name not in self._judges:
            return None
        if name not in self._own_packages:
            return name
        is_module = posixpath.dirname(path) in self._places
        return name if is_module and path in self._own.entries and name in sys.stdlib_module_names else None
