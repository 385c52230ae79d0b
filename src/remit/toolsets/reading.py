"""The part of a text file that a model gets to see, from bytes read in pieces. Pure."""

from __future__ import annotations

from dataclasses import dataclass

LINE_BYTES_MAX = 1 << 20
"""What is kept of one line while it is picked; more than anyone is shown."""
_SNIFFED_BYTES = 8192
_STRANGE_SHARE_MAX = 0.1


@dataclass(frozen=True)
class Excerpt:
    """Whole lines of a file: `first` to `last` (from 1). `is_end`: nothing follows them."""

    text: str
    first: int
    last: int
    is_end: bool


def is_binary(content: bytes) -> bool:
    """Return whether these first bytes of a file are not text anyone could read."""
    sniffed = content[:_SNIFFED_BYTES]
    if b"\x00" in sniffed:
        return True
    strange = sniffed.decode("utf-8", errors="replace").count("\ufffd")
    return strange > 1 + len(sniffed) * _STRANGE_SHARE_MAX


class LinePicker:
    """Takes a file piece by piece and keeps the wanted lines, at most `characters_max` of them in all."""

    def __init__(self, *, first: int, last: int | None, characters_max: int) -> None:
        self._first = first
        self._last = last
        self._room = characters_max
        self._line = 1
        self._rest = b""
        self._kept: list[str] = []
        self.is_full = False
        """Nothing of what comes later is wanted."""

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        lines = piece.split(b"\n")
        lines[0] = (self._rest + lines[0])[:LINE_BYTES_MAX]
        self._rest = lines.pop()[:LINE_BYTES_MAX]
        for line in lines:
            self._take(line + b"\n")
            if self.is_full:
                return

    def finish(self, *, is_end: bool) -> Excerpt:
        """Return what was picked. `is_end`: the file has no more bytes than were added."""
        has_rest = bool(self._rest)
        if is_end and has_rest and not self.is_full:
            self._take(self._rest)
            has_rest = False
        return Excerpt(
            text="".join(self._kept),
            first=self._first,
            last=self._first + len(self._kept) - 1,
            is_end=is_end and not has_rest and not self.is_full,
        )

    def _take(self, line: bytes) -> None:
        number = self._line
        if self._last is not None and number > self._last:
            self.is_full = True
            return
        if number >= self._first:
            text = line.decode("utf-8", errors="replace")
            if len(text) > self._room and self._kept:
                self.is_full = True
                return
            if len(text) > self._room:
                text = text[: self._room] + "[… the line goes on]\n"
            self._kept.append(text)
            self._room -= len(text)
        self._line += 1
