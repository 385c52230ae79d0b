"""Texts without the escapes in which programs write them: one plain form for all ways of writing the same.

JSON's, JavaScript's, C's and Rust's escapes, percent signs, HTML's references by number and by name, one inside the other,
in any case of letters. Standard library only: the proxy process imports it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
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
_KNOWN: dict[bytes, bytes] = {}
_KNOWN_MAX = 16_384
_KNOWN_BYTES_MAX = 32
"""Of one escape: those with zeros in front may be as long as the text."""
_NAMES = {name.encode(): text.encode() for name, text in html5.items() if name.endswith(";")}


class Plain:
    """A text in its plain form, and where in the original each of its bytes is from."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        opened = data
        for _ in range(ROUNDS):
            before, opened = opened, _ESCAPE.sub(_meaning, opened)
            if opened == before:
                break
        self.text = fold(opened)
        self.is_changed = opened != data
        """Whether there was any escape."""

    def original(self, found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return where these parts of `text` stood in the original. Slow; asked for when there is one."""
        places = list(found)
        if not places:
            return []
        data, layers = self._data, list[_Layer]()
        for _ in range(ROUNDS):
            layers.append(_Layer(data))
            data = layers[-1].opened
        originals: list[tuple[int, int]] = []
        for start, end in unfolded(data, places):
            for layer in reversed(layers):
                start, end = layer.place(start)[0], layer.place(end - 1)[1]
            originals.append((start, end))
        return originals


class _Layer:
    """A text with one layer of escapes less, part by part."""

    def __init__(self, data: bytes) -> None:
        pieces: list[bytes] = []
        self._begins: list[int] = []
        self._parts: list[tuple[int, int]] = []
        at = size = 0
        for found in (*_ESCAPE.finditer(data), None):
            start, end = found.span() if found is not None else (len(data), len(data))
            meant = _meaning(found) if found is not None else b""
            for piece, begin, stop in ((data[at:start], at, start), (meant, start, end)):
                if piece:
                    pieces.append(piece)
                    self._begins.append(size)
                    self._parts.append((begin, stop))
                    size += len(piece)
            at = end
        self._begins.append(size)
        self.opened = b"".join(pieces)

    def place(self, at: int) -> tuple[int, int]:
        """Where one byte of it stood before."""
        number = bisect_right(self._begins, at) - 1
        start, end = self._parts[number]
        begin, size = self._begins[number], self._begins[number + 1] - self._begins[number]
        if size != end - start:
            return start, end  # an escape, as a whole
        return start + at - begin, start + at - begin + 1


def fold(data: bytes) -> bytes:
    """Remove from data what only some writers distinguish or put between."""
    return data.translate(_FOLDED, _BETWEEN)


def unfolded(data: bytes, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return from where to where the places of `fold(data)` stood in `data`."""
    if not places:
        return []
    kept = [at for at, byte in enumerate(data) if byte not in _BETWEEN]
    return [(kept[start], kept[end - 1] + 1) for start, end in places]


def _meaning(found: re.Match[bytes]) -> bytes:
    """What an escape stands for, looked up where it was met before."""
    written = found[0]
    meant = _KNOWN.get(written)
    if meant is None:
        meant = _meant(found)
        if meant is None:
            meant = written
        if len(_KNOWN) < _KNOWN_MAX and len(written) <= _KNOWN_BYTES_MAX:
            _KNOWN[written] = meant
    return meant


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
