"""Installed Python packages, told from paths alone."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from remit.values.value import Value

_SITE = re.compile(r"(?:^|/)(?:site|dist)-packages/(?P<inside>.+)$")
_RECORD = re.compile(r"(?P<name>[^/-]+?)(?:-[^/]*)?\.(?:dist|egg)-info(?:/|$)")
_IMPORTED = re.compile(r"\.(?:py|so|pyd)$")
_COMPILED = re.compile(r"\.(?:so|pyd|dylib)$")


class InstalledPython(Value, frozen=True, kw_only=True):
    """Distributions and compiled modules of interpreters' folders for packages."""

    distributions: tuple[str, ...] = ()
    """Names, normalised as indexes do: lower case, one dash."""
    compiled: tuple[str, ...] = ()
    """Compiled modules as paths without their ending (`pkg/_speedups`)."""
    modules: tuple[str, ...] = ()
    """Top-level names that can be imported; a judge may import any of them."""

    def joined(self, others: Iterable[InstalledPython]) -> InstalledPython:
        """Join this with the others."""
        every = (self, *others)
        return InstalledPython(
            distributions=tuple(sorted({name for one in every for name in one.distributions})),
            compiled=tuple(sorted({path for one in every for path in one.compiled})),
            modules=tuple(sorted({name for one in every for name in one.modules})),
        )


def installed_python(paths: Iterable[str]) -> InstalledPython:
    """Return what lies in `site-packages` or `dist-packages` among these paths."""
    distributions: set[str] = set()
    compiled: set[str] = set()
    modules: set[str] = set()
    for path in paths:
        found = _SITE.search(path)
        if found is None:
            continue
        inside = found["inside"]
        if record := _RECORD.match(inside):
            distributions.add(normalised(record["name"]))
            continue
        top, _, below = inside.partition("/")
        if below or _IMPORTED.search(top):
            modules.add(top.partition(".")[0])
        if _COMPILED.search(inside):
            folder, name = posixpath.split(inside)
            compiled.add(posixpath.join(folder, name.partition(".")[0]))
    return InstalledPython(
        distributions=tuple(sorted(distributions)),
        compiled=tuple(sorted(compiled)),
        modules=tuple(sorted(modules - {"__pycache__"})),
    )


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
