"""Secrets in what a server answers: found in the forms in which programs write them, overwritten with stars of the same
length, so that lengths and framing stay true.

Whoever chooses part of an answer must learn nothing from how it comes: as much is held back whatever it says, it goes on in
pieces of one size, and looking for secrets takes as long for what begins like one as for what does not. Standard library
only: the proxy process imports it.
"""

from __future__ import annotations

import base64
import random
import re
import zlib
from collections.abc import Iterable, Iterator
from encodings import (
    utf_16_be as utf_16_be,
)  # before root is given up: what is imported later may not be readable then
from encodings import utf_16_le as utf_16_le

from .unfolding import Plain, fold, unfolded

PIECE_BYTES = 65_536
FLOW_BYTES = 4_096
"""A body goes on in pieces of this size; what is left comes at its end."""
WRITTEN_BYTES_MAX = 24
"""For each byte of a secret: `\\\\u0026amp;#x3D;` is one byte, and it may come in UTF-16."""
_NO_LINES = bytes(byte if byte in b"\r\n" else 42 for byte in range(256))
"""Stars; line ends stay, so that a head's lines do."""
_DROPPED_BY_OFFSET = (0, 2, 3)
"""Characters of base64 that also tell of the one or two bytes in front."""
_PLAIN_MIN = 8
"""What is left of a secret that looks like escapes itself may be found anywhere."""
_AFTER_AN_OPENING = b"0123456789abcdefux{#;"
_OPENINGS = (b"%", b"&", b"\\")
_EDGE = 8
_CORE_MIN = 16
_SAMPLES = 10
"""So many bytes of a form are compared at once, at places that nobody knows: to guess these is to guess the secret."""
_NULS = re.compile(rb"\0+")
_NULS_AND_LINES = re.compile(rb"\0+|\\[\\\0]{0,16}[nr]")
_ANY = re.compile(rb"[^\0]")
_LANES = 8
_GZIP_OR_ZLIB = 47
"""For zlib: 32 KiB of window, the head tells which of the two."""


class BadEncoding(Exception):
    """A body that is not what its Content-Encoding says."""


def forms_of(secret: bytes) -> set[bytes]:
    """The secret and what else of it may stand in an answer, but for escapes."""
    forms = {secret, secret.hex().encode(), *_in_other_characters(secret)}
    for offset, dropped in enumerate(_DROPPED_BY_OFFSET):
        forms.add(_certain(base64.b64encode(b"\0" * offset + secret), dropped))
    return forms


def _in_other_characters(secret: bytes) -> Iterator[bytes]:
    """A secret beyond ASCII as others write or misread it: UTF-16, and as servers that take headers for Latin-1 do."""
    text = secret.decode("utf-8", "replace")
    yield from (text.encode("utf-16-le"), text.encode("utf-16-be"), secret.decode("latin-1").encode())
    if max(text) <= "\xff":
        yield text.encode("latin-1")


def _certain(encoded: bytes, dropped: int) -> bytes:
    """The characters that are the same whatever stands before and behind."""
    bare = encoded.rstrip(b"=")
    return bare[dropped : len(bare) - (bare != encoded)]


class _Needle:
    """One form. Among escapes its core is looked for: what stands around may make one with its first or last letters."""

    def __init__(self, form: bytes, *, has_neighbours: bool) -> None:
        spare = max(0, len(form) - _CORE_MIN) if has_neighbours else 0
        head, tail = form[: min(_EDGE, spare)], form[-_EDGE:]
        self.front = len(head) - len(head.lstrip(_AFTER_AN_OPENING))
        opening = min((at for at in map(tail.find, _OPENINGS) if at >= 0), default=len(tail))
        self.back = min(len(tail) - opening, spare - self.front)
        self.core = form[self.front : len(form) - self.back]


class _Sieve:
    """Finds a few needles in time that depends on lengths alone, until one is there.

    `bytes.find` takes longer the more of a needle it meets. Here some bytes of all needles, at places chosen at random,
    are looked up for every position, and the answers combined as one great number of one size.
    """

    def __init__(self, needles: list[_Needle]) -> None:
        self._needles = needles
        self._span = min(len(needle.core) for needle in needles)
        count = min(_SAMPLES, self._span)
        self._tables: list[tuple[int, bytes]] = []
        for place in sorted(random.SystemRandom().sample(range(self._span), count)):
            table = bytearray(256)
            for lane, needle in enumerate(needles):
                table[needle.core[place]] |= 1 << lane
            self._tables.append((place, bytes(table)))

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where they stand."""
        starts = len(data) - self._span + 1
        if starts <= 0:
            return
        hits = (1 << 8 * (starts + 1)) - 1
        for place, table in self._tables:
            # The byte behind keeps the number's size.
            hits &= int.from_bytes(data[place : place + starts].translate(table) + b"\xff", "little")
        if hits == 0xFF << 8 * starts:
            return
        for each in _ANY.finditer(hits.to_bytes(starts + 1, "little")[:-1]):
            at, lanes = each.start(), each[0][0]
            for lane, needle in enumerate(self._needles):
                if lanes >> lane & 1 and data.startswith(needle.core, at):
                    start = max(0, at - needle.front)
                    yield start, min(len(data), at + len(needle.core) + needle.back)


class Redactor:
    """Knows the secrets of one place."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        known = list(secrets)
        forms = {form for each in known for form in forms_of(each)}
        plain = {Plain(form).text for form in forms}
        self._written = _sieves(_Needle(fold(form), has_neighbours=False) for form in forms)
        self._plain = _sieves(_Needle(form, has_neighbours=True) for form in plain if len(form) >= _PLAIN_MIN)
        self.held = WRITTEN_BYTES_MAX * max(map(len, known), default=0)
        """The longest way to write one; so many bytes must be seen before those in front of them are passed on."""

    def clean(self, data: bytes) -> tuple[bytes, int]:
        """Overwrite secrets; return what may be passed on, and how many were overwritten."""
        found = self.find(data)
        if not found:
            return data, 0
        masked = bytearray(data)
        mask(masked, found)
        return bytes(masked), len(found)

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Find where secrets stand: from left to right, none inside another."""
        # Also as they are written: what stands in front may take the first letters into an escape.
        found = unfolded(data, list(_find(self._written, fold(data))))
        for between in _may_stand_between(data):
            plain = Plain(between.sub(b"", data))
            if plain.is_changed or between is _NULS_AND_LINES:
                found += _put_back(data, between, plain.original(_find(self._plain, plain.text)))
        whole: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if whole and start < whole[-1][1]:
                whole[-1] = whole[-1][0], max(end, whole[-1][1])
            else:
                whole.append((start, end))
        return whole


def _may_stand_between(data: bytes) -> tuple[re.Pattern[bytes], ...]:
    """Among the bytes of an escape or of a secret: the NULs of UTF-16. What is a letter of JavaScript's (`\\n`) may be the end
    of a line of base64 as well, so a text with these is looked through both ways."""
    has_lines = b"\\" in data and _NULS_AND_LINES.search(data) is not None
    return (_NULS, _NULS_AND_LINES) if has_lines else (_NULS,)


def _put_back(data: bytes, between: re.Pattern[bytes], found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where in the data stands what was found in it without what is between."""
    if not found or between.search(data) is None:
        return found
    gone = {at for each in between.finditer(data) for at in range(*each.span())}
    kept = [at for at in range(len(data)) if at not in gone]
    return [(kept[start], kept[end - 1] + 1) for start, end in found]


def _sieves(needles: Iterable[_Needle]) -> list[_Sieve]:
    """Of one length each, as nearly as can be: the shortest of a sieve bounds what it compares."""
    ranked = sorted(needles, key=lambda needle: len(needle.core))
    return [_Sieve(ranked[at : at + _LANES]) for at in range(0, len(ranked), _LANES)]


def _find(sieves: Iterable[_Sieve], text: bytes) -> Iterator[tuple[int, int]]:
    for sieve in sieves:
        yield from sieve.find(text)


def mask(data: bytearray, found: Iterable[tuple[int, int]]) -> None:
    """Overwrite these with stars."""
    for start, end in found:
        data[start:end] = data[start:end].translate(_NO_LINES)


class RedactedStream:
    """A body that comes in pieces and goes on in pieces of one size, always as far behind."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._step = max(1, redactor.held // FLOW_BYTES)
        """Pieces at a time: what is held back is looked through again each time, and must not be most of it."""
        self._seen = b""
        self._shown = bytearray()
        """The same bytes as `_seen`, overwritten where a secret has ended in them."""
        self._looked = 0
        """So many bytes of `_seen` were looked through before."""
        self.count = 0

    def push(self, piece: bytes) -> list[bytes]:
        """Take a piece; return what can be passed on now."""
        self._seen += piece
        self._shown += piece
        pieces = (len(self._seen) - self._redactor.held) // FLOW_BYTES
        return self._take(pieces * FLOW_BYTES) if pieces >= self._step else []

    def finish(self) -> list[bytes]:
        """The rest, the last piece as long as it is."""
        return self._take(len(self._seen))

    def _take(self, count: int) -> list[bytes]:
        found = self._redactor.find(self._seen)
        mask(self._shown, found)
        self.count += sum(1 for _, end in found if end > self._looked)
        taken = bytes(self._shown[:count])
        self._looked = len(self._seen) - count
        self._seen = self._seen[count:]
        del self._shown[:count]
        return [taken[at : at + FLOW_BYTES] for at in range(0, count, FLOW_BYTES)]


class UnchangedStream:
    """A body of a place that the operator wants to stream: nothing is looked for, nothing held back."""

    count = 0

    def push(self, piece: bytes) -> list[bytes]:
        """Return the piece."""
        return [piece] if piece else []

    def finish(self) -> list[bytes]:
        """Return nothing: no bytes are held back."""
        return []


class Inflated:
    """A body under `Content-Encoding: gzip` or `deflate`, opened in bounded pieces."""

    def __init__(self) -> None:
        self._open = zlib.decompressobj(_GZIP_OR_ZLIB)

    def push(self, piece: bytes) -> Iterator[bytes]:
        """Raises BadEncoding, also for whatever follows the end."""
        while piece:
            if self._open.eof:
                raise BadEncoding
            try:
                opened = self._open.decompress(piece, PIECE_BYTES)
            except zlib.error as error:
                raise BadEncoding from error
            if opened:
                yield opened
            if self._open.unused_data:
                raise BadEncoding
            piece = self._open.unconsumed_tail

    def finish(self) -> None:
        """Raises BadEncoding if it ended too early."""
        if not self._open.eof:
            raise BadEncoding
