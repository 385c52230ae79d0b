"""Paths that a working tree did not have: what became of each, told from events.

What cannot be told apart counts as opened. Two things must not: a file's first open is its maker's when it was made by
that open, wrote, and nobody read (CREATE, OPEN, CLOSE_WRITE and nothing else); and a link has no open of its own, so
every link counts as followed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator


class Kind(enum.Enum):
    """The kind of what stands at a path, looked at when its event was read: perhaps already another thing."""

    FILE = "file"
    LINKED = "linked"
    """A file that has another name."""
    SYMLINK = "symlink"
    GONE = "gone"


class Newcomer:
    """One path, and what stands there now."""

    __slots__ = ("_is_awaited", "_is_certain", "_is_maker_expected", "_is_written", "_opens", "is_opened")

    def __init__(self) -> None:
        self.is_opened = False
        """For certain, or in doubt: stays."""
        self._is_awaited = False
        self._is_certain = True  # nothing stands there yet
        self._is_maker_expected = False
        self._restart()

    def _restart(self) -> None:
        self._opens = 0
        self._is_written = False

    def is_made(self, kind: Kind) -> None:
        """CREATE: by an open, a link, or a call that makes a node."""
        if not self._is_awaited:
            self._close_former()
        self._restart()
        self._is_awaited = False
        self._is_certain = False
        self._is_maker_expected = kind in (Kind.FILE, Kind.GONE)
        self._look(kind)

    def is_moved_here(self, kind: Kind, *, is_file: bool) -> None:
        """MOVED_TO; `is_file`: what was moved is known to be one."""
        self._close_former()
        self._restart()
        self._is_certain = is_file
        self._is_maker_expected = False
        if not is_file:
            self._look(kind)

    def is_found(self, kind: Kind, *, is_watched: bool) -> None:
        """Found in a folder that came into being; what was done there before it was watched is not known, unless
        `is_watched`: the folder was moved here with its watch."""
        self._is_certain = False
        self._is_maker_expected = False
        self._look(kind)
        if not is_watched:
            self._is_awaited = True

    def is_touched(self) -> None:
        """Note an event that is no CREATE: what was found was there before the watch, and may have been
        opened."""
        if self._is_awaited:
            self._is_awaited = False
            self.is_opened = True

    def opens(self) -> None:
        """OPEN."""
        self.is_touched()
        self._is_certain = True
        self._opens += 1
        if self._opens > 1 or not self._is_maker_expected:
            self.is_opened = True

    def closes(self, *, is_written: bool) -> None:
        """CLOSE_WRITE or CLOSE_NOWRITE."""
        self.is_touched()
        if is_written:
            self._is_written = True
        else:
            self.is_opened = True

    def leaves(self) -> bool:
        """DELETE or MOVED_FROM. Whether it was a file for certain."""
        self.is_touched()
        is_file = self._is_certain
        self._close_former()
        self._restart()
        self._is_certain = True  # nothing stands there
        return is_file

    def doubt(self) -> None:
        """Count the file as opened, for nobody knows what was done to it."""
        self.is_opened = True

    def end(self) -> bool:
        """End the record of the file; return whether it was opened after it had been made."""
        return self.is_opened or self._is_awaited or (self._opens > 0 and not self._is_written)

    def _close_former(self) -> None:
        """What stood there is over. Unless it was opened it may have been a link, whatever stands there now."""
        if self._opens > 0 and not self._is_written:
            self.is_opened = True
        if not self._is_certain:
            self.is_opened = True

    def _look(self, kind: Kind) -> None:
        if kind is Kind.SYMLINK:
            self.is_opened = True


class Newcomers:
    """All of them, up to a number: what a sandbox does must not fill the server's memory."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._found: dict[bytes, Newcomer] = {}
        self._folders: set[bytes] = set()
        self._left = count_max
        self._bytes_left = bytes_max

    def at(self, path: bytes) -> tuple[Newcomer, bool]:
        """Return the newcomer at this path, and whether it was known. Raises OverflowError when there are too
        many."""
        known = self._found.get(path)
        if known is not None:
            return known, True
        self._count(path)
        new = self._found[path] = Newcomer()
        return new, False

    def add_folder(self, path: bytes) -> None:
        """Add a folder. Raises OverflowError when there are too many."""
        if path not in self._folders:
            self._count(path)
            self._folders.add(path)

    def paths(self) -> Iterator[bytes]:
        """Yield the paths of all newcomers."""
        yield from self._found
        yield from self._folders

    def opened(self) -> Iterator[bytes]:
        """Yield the paths of those that were opened after they had been made."""
        return (path for path, one in self._found.items() if one.end())

    def _count(self, path: bytes) -> None:
        self._left -= 1
        self._bytes_left -= len(path)
        if self._left < 0 or self._bytes_left < 0:
            raise OverflowError
