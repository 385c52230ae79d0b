"""Texts without the escapes in which programs write them: one plain form for all ways of writing the same.

JSON's, JavaScript's, C's and Rust's escapes, percent signs, HTML's references by number and by name, one inside the other,
in any case of letters. Standard library only: the proxy process imports it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from html.entities import html5

ROUNDS = 4
"""So many layers of escapes are taken off, each written in another."""
_HEX = rb"[0-9a-fA-F]"
_ESCAPE = re.compile(
    rb"\\\\*(?:U(%(h)s{8})|u(%(h)s{4})|u\{0*(%(h)s{1,6})\}|x(%(h)s{2})|x\{0*(%(h)s{1,6})\}|([0-3][0-7]{2})|())"
    rb"|%%u(%(h)s{4})|%%(%(h)s{2})|&#[xX]0*(%(h)s{1,6});|&#0*([0-9]{1,7});|&([A-Za-z][A-Za-z0-9]{1,31};)"
    % {b"h": _HEX}
)
_SHORT, _OCTAL, _BARE, _PERCENT, _DECIMAL, _NAMED = 4, 6, 7, 9, 11, 12
_BYTES = frozenset((_SHORT, _OCTAL, _PERCENT))
"""Groups that name one byte rather than a character."""
_FOLDED = bytes(ord(chr(byte).lower()) if byte < 128 else byte for byte in range(256)).translate(
    bytes.maketrans(b"-_+ ", b"+/++")
)
"""Cases of letters, both alphabets of base64, and both ways to write a space in a form, are one."""
_BETWEEN = b"\0\r\n"
"""Stands between the letters of UTF-16 and the lines of base64."""
_NAMES = {name.encode(): text.encode() for name, text in html5.items() if name.endswith(";")}


class Plain:
    """A text in its plain form, and where in the original each of its bytes is from."""

    def __init__(self, data: bytes) -> None:
        self._layers: list[tuple[list[int], list[tuple[int, int]]]] = []
        """For each round: where a part begins in what was made, and where that part begins and ends in what was there."""
        for _ in range(ROUNDS):
            opened = self._open(data)
            if opened is None:
                break
            data = opened
        self._opened = data
        self.text = fold(data)

    @property
    def is_changed(self) -> bool:
        """Whether there was any escape."""
        return bool(self._layers)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """From where to where these bytes stood."""
        start, end = unfolded(self._opened, start, end)
        for begins, parts in reversed(self._layers):
            start, end = _place(begins, parts, start)[0], _place(begins, parts, end - 1)[1]
        return start, end

    def _open(self, data: bytes) -> bytes | None:
        """One layer less; None if there is none."""
        pieces: list[bytes] = []
        begins: list[int] = []
        parts: list[tuple[int, int]] = []
        at = size = 0
        for found in _ESCAPE.finditer(data):
            written = _meant(found)
            if written is None:
                continue
            start, end = found.span()
            for piece, begin, stop in ((data[at:start], at, start), (written, start, end)):
                if piece:
                    pieces.append(piece)
                    begins.append(size)
                    parts.append((begin, stop))
                    size += len(piece)
            at = end
        if not at:
            return None
        pieces.append(data[at:])
        begins.append(size)
        parts.append((at, len(data)))
        self._layers.append((begins, parts))
        return b"".join(pieces)


def fold(data: bytes) -> bytes:
    """Without what only some writers distinguish or put between."""
    return data.translate(_FOLDED, _BETWEEN)


def unfolded(data: bytes, start: int, end: int) -> tuple[int, int]:
    """From where to where stood what is there in `fold(data)`."""
    kept = [at for at, byte in enumerate(data) if byte not in _BETWEEN]
    return kept[start], kept[end - 1] + 1


def _place(begins: list[int], parts: list[tuple[int, int]], at: int) -> tuple[int, int]:
    """Where one byte of a layer stood in the layer around it."""
    number = bisect_right(begins, at) - 1
    start, end = parts[number]
    size = (begins[number + 1] if number + 1 < len(begins) else begins[number] + end - start) - begins[number]
    if size != end - start:
        return start, end  # an escape, as a whole
    return start + at - begins[number], start + at - begins[number] + 1


def _meant(found: re.Match[bytes]) -> bytes | None:
    """What an escape stands for; None if it is none after all."""
    group = found.lastindex
    assert group is not None
    digits = found[group]
    if group == _BARE:
        return b""
    if group == _NAMED:
        return _NAMES.get(digits) or _NAMES.get(digits.lower())
    number = int(digits, 8 if group == _OCTAL else 10 if group == _DECIMAL else 16)
    if group in _BYTES:
        return bytes((number,))
    if number > 0x10FFFF:
        return None
    return chr(number).encode("utf-8", "surrogatepass")
