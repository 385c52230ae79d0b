"""Languages of which no reporter tells whether judge and work share a process: told by what was opened together. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

_FAMILIES = (
    "c h cc hh cpp hpp cxx hxx m mm s S",
    "rs",
    "go",
    "java kt scala groovy",
    "swift",
    "zig",
    "d",
    "f f90 f95",
    "pl pm t",
    "rb",
    "lua",
    "php",
    "sh bash",
)
_FAMILY_OF = {extension: number for number, line in enumerate(_FAMILIES) for extension in line.split()}


def share_a_language(given: Iterable[str], works: Iterable[str]) -> bool:
    """Return whether a file that was read as given and one of the work's could be parts of one program."""
    return bool(_families(given) & _families(works))


def _families(paths: Iterable[str]) -> frozenset[int]:
    extensions = (posixpath.splitext(path)[1].removeprefix(".") for path in paths)
    return frozenset(_FAMILY_OF[extension] for extension in extensions if extension in _FAMILY_OF)
