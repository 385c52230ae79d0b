"""Modules of the work that would be imported in the place of the judge's own. Pure."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Collection, Iterable, Mapping

from remit.values import TreeEntry
from remit.verifiers.input_tree import InputTree, folders_above

_ALWAYS = frozenset(
    [
        "pytest",
        "_pytest",
        "py",
        "pluggy",
        "iniconfig",
        "unittest",
        "doctest",
        "coverage",
        "hypothesis",
        "mock",
        "nose2",
        "sitecustomize",
        "usercustomize",
    ]
)
_MODULE = re.compile(r"(\w+)(?:\.(?:cpython|abi3|pypy)[\w-]*)?\.(?:py|pyc|so|pyd)")
_PACKAGE_FILE = re.compile(r"__init__(?:\.(?:cpython|abi3|pypy)[\w-]*)?\.(?:py|pyc|so|pyd)")
_PLACES: tuple[str, ...] = ("", "src", "lib")
_PERL = re.compile(
    r"(?:(?:.*/)?lib/)?(?:(?:Test/(?:More|Simple|Builder|Tester|Harness|Deep|Exception|Warn|Most)|TAP|Test2|App/Prove)\b.*|"
    r"strict|warnings|utf8|vars|lib|base|parent|constant|overload|Carp|Exporter|Cwd|FindBin|POSIX|Encode|Storable|"
    r"Data/Dumper|(?:List|Scalar)/Util|File/(?:Spec|Temp|Basename|Path|Find|Copy)|IPC/Open[23]|JSON/PP|Time/HiRes)\.pmc?"
)
"""What tests in Perl load from the machine, where `-l` or `-I` would find it in the tree."""
_BESIDE = (".js", ".cjs", ".mjs", ".ts")


def places_of(inputs: InputTree, files: Iterable[str], folders: Iterable[str]) -> tuple[str, ...]:
    """Folders where a judge looks for modules: root, src, lib, where the command runs, and above the packages that hold
    the Python files and scripts that it opens or that are protected."""
    places: dict[str, None] = dict.fromkeys(_PLACES)
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
            if posixpath.dirname(folder) in self._places and self.is_package(folder, entries):
                return posixpath.basename(folder)
        return None

    @staticmethod
    def is_package(folder: str, entries: Collection[str]) -> bool:
        """Return whether a folder is a package of Python's with a file of its own."""
        return any(f"{folder}/__init__{end}" in entries for end in (".py", ".pyc", ".so", ".pyd"))

    def hides(self, path: str, entries: Mapping[str, TreeEntry]) -> str | None:
        """The judge's module that this file would hide, being added or changed beside these entries. A package that the
        input itself is stays the work's, and so does a changed module called like one that is only installed."""
        if _PACKAGE_FILE.fullmatch(posixpath.basename(path)) and posixpath.dirname(path) in self._places - {
            ""
        }:
            return None
        if _PERL.fullmatch(path) and path not in self._own.entries:
            return path
        name = self._name(path, entries)
        if name is None or name not in self._judges:
            return None
        if name not in self._own_packages:
            return name
        is_module = posixpath.dirname(path) in self._places
        return name if is_module and path in self._own.entries and name in sys.stdlib_module_names else None


def stands_before(path: str, guarded: Collection[str], entries: Collection[str]) -> bool:
    """Return whether a new file would be loaded in place of a protected one: `judge/__init__.py` before
    `judge.py`, `judge.so` before it too, `check` before `check.js`, `check.js` before `check/index.js`,
    `Check.pmc` before `Check.pm`."""
    stem, end = posixpath.splitext(path)
    if (
        end == ".so"
        and f"{posixpath.join(posixpath.dirname(path), posixpath.basename(path).partition('.')[0])}.py"
        in guarded
    ):
        return True
    if end == ".pmc" and f"{stem}.pm" in guarded:
        return True
    if end in _BESIDE and any(f"{stem}/index{each}" in guarded for each in _BESIDE):
        return True
    if not end and any(f"{path}{each}" in guarded for each in _BESIDE):
        return True
    return any(
        f"{folder}.py" in guarded and Shadowing.is_package(folder, entries) for folder in folders_above(path)
    )
