"""Names that are protected: the shipped list (protected_names.txt, beside this file), with what a person adds
and releases."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from remit.errors import InvalidRequest

if TYPE_CHECKING:
    import pathspec

DERIVED: tuple[str, ...] = ("__pycache__/", "*.pyc", "*.pyo", ".pytest_cache/")
"""What an interpreter makes of sources by itself. Bytecode beside a protected source would run in its place, so what was
not in the input like this never reaches a verification."""

_NAMES_KEPT = 20_000


@functools.cache
def shipped() -> tuple[str, ...]:
    """The globs of what is a test, a test's configuration, or a thing that decides how tests run."""
    lines = Path(__file__).with_name("protected_names.txt").read_text().splitlines()
    return tuple(glob for line in lines if not line.startswith("#") for glob in line.split())


class ProtectedPatterns:
    """The shipped list with what a person added and released. Releasing wins."""

    def __init__(
        self,
        *,
        protect: Sequence[str] = (),
        unprotect: Sequence[str] = (),
        work: Sequence[str] = (),
        globs: Sequence[str] = (),
    ) -> None:
        """`globs` are those of `Protection`, by which a command names its check. Raises InvalidRequest for a glob that is
        none."""
        self._has_work = bool(work)
        self._work = Globs(work, field="work")
        self._released = Globs(unprotect, field="unprotect")
        self._derived = Globs(DERIVED, field="derived")
        self._reasons = (
            (_list(), "a test or its configuration"),
            (Globs(protect, field="protect"), "--protect"),
        )
        self._named = Globs(globs, field="protect")

    def why(self, path: str, *, is_folder: bool = False) -> str | None:
        """Return why this path is protected, or None."""
        subject = _subject(path, is_folder)
        if self._released.match(subject):
            return None
        for expression, reason in self._reasons:
            if expression.match(subject):
                return reason
        if self.is_outside_work(path, is_folder=is_folder):
            return "not among --work"
        return "named in the command" if self._named.match(subject) else None

    def is_outside_work(self, path: str, *, is_folder: bool = False) -> bool:
        """Return whether a person named the work, and this path is none of it."""
        return self._has_work and not is_folder and not self._work.match(path)

    def is_released(self, path: str, *, is_folder: bool = False) -> bool:
        """Return whether a person released this path."""
        return self._released.match(_subject(path, is_folder))

    def is_derived(self, path: str, *, is_folder: bool = False) -> bool:
        """Return whether this is bytecode or a cache."""
        return self._derived.match(_subject(path, is_folder))


def _subject(path: str, is_folder: bool) -> str:
    return f"{path}/" if is_folder else path


class Globs:
    """Globs as in a .gitignore, each of which may match. A folder is asked for with a slash at its end."""

    def __init__(self, globs: Sequence[str], *, field: str) -> None:
        """Raises InvalidRequest, naming the field."""
        for glob in globs:
            if not glob.strip() or glob.startswith(("!", "#")):
                raise InvalidRequest(
                    f"{field}: {glob!r} is no glob: it must not be empty or begin with ! or #. Write it like a line of a "
                    ".gitignore, e.g. 'tests/' or 'src/**/*_test.py'."
                )
        self._has_any = bool(globs)
        plain = [glob for glob in globs if re.fullmatch(r"(?!.*\*\*)[\w.+*-]+/?", glob)]
        names = _one_of([fnmatch.translate(glob) for glob in plain if not glob.endswith("/")])
        folders = _one_of([fnmatch.translate(glob.rstrip("/")) for glob in plain])
        self._is_name = functools.lru_cache(_NAMES_KEPT)(names.match)
        self._is_folder = functools.lru_cache(_NAMES_KEPT)(folders.match)
        self._whole = _spec([glob for glob in globs if glob not in plain], field)

    def match(self, path: str) -> bool:
        """Return whether one of the globs matches the path, or a folder above it."""
        if not self._has_any:
            return False
        *folders, name = path.split("/")
        return (
            (bool(name) and self._is_name(name) is not None)
            or any(map(self._is_folder, folders))
            or (self._whole is not None and self._whole.match_file(path))
        )


def _one_of(expressions: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(expressions) or "(?!)")


def _spec(globs: Sequence[str], field: str) -> pathspec.GitIgnoreSpec | None:
    if not globs:
        return None
    import pathspec  # not at the start, which it would make longer

    try:
        return pathspec.GitIgnoreSpec.from_lines(globs)
    except ValueError as error:
        raise InvalidRequest(f"{field}: not a glob: {error}") from error


@functools.cache
def _list() -> Globs:
    return Globs(shipped(), field="protected_names.txt")
