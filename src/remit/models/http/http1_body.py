"""The body of an HTTP/1.1 answer: it ends by chunks, by a length, or with the connection. Pure.

h11 reads heads; bodies are read here, since h11 makes an object of every chunk, and a model sends a chunk for every token.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Protocol

LINE_BYTES_MAX = 8 << 10
"""Of a chunk's first line, with its extensions, and of a trailer."""
TRAILERS_BYTES_MAX = 64 << 10
INFLATED_BYTES_MAX = 1 << 20
"""What a compressed answer gives at once."""
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
_SIZE_DIGITS_MAX = 16
_LENGTH_LINE = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")


class BadBody(Exception):
    """Bytes that are no such body, or a body that broke off."""


class Body(Protocol):
    """Fed with bytes as they come."""

    @property
    def is_over(self) -> bool:
        """Return whether nothing more belongs to the body."""
        ...

    @property
    def is_overrun(self) -> bool:
        """Return whether bytes came after the body's end."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return those of them that are content. Raises BadBody."""
        ...

    def end(self) -> None:
        """Note that the connection has ended. Raises BadBody if it should not have."""
        ...


def body_of(status: int, headers: Mapping[str, str]) -> Body:
    """The body that follows a head whose fields h11 has checked. Raises BadBody."""
    if status in (204, 304):
        return LengthBody(0)
    if "transfer-encoding" in headers:  # it counts before a length, and h11 lets no other coding through
        return ChunkedBody()
    if "content-length" in headers:
        return LengthBody(int(headers["content-length"]))
    return OpenBody()


class LengthBody:
    """A body of so many bytes."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_overrun = False

    @property
    def is_over(self) -> bool:
        return self._left == 0

    def feed(self, data: bytes) -> bytes:
        """See Body.feed."""
        content = data[: self._left]
        self._left -= len(content)
        self.is_overrun = self.is_overrun or len(content) < len(data)
        return content

    def end(self) -> None:
        """See Body.end."""
        if self._left:
            raise BadBody(f"{self._left} bytes are missing")


class OpenBody:
    """All that comes until the connection ends."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_overrun = False

    def feed(self, data: bytes) -> bytes:
        """See Body.feed."""
        return data

    def end(self) -> None:
        """See Body.end."""
        self.is_over = True


class ChunkedBody:
    """Chunks, each with its length before it, then trailers that nobody reads."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_overrun = False
        self._left = 0
        """Of the content of the chunk that is being read."""
        self._is_content_read = False
        """The line break behind a chunk's content comes next."""
        self._is_in_trailers = False
        self._trailer_bytes = 0
        self._line = b""
        """A line whose end has not come."""

    def feed(self, data: bytes) -> bytes:
        """See Body.feed."""
        if self._line:
            data, self._line = self._line + data, b""
        contents: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.is_over:
            if self._left:
                content = data[at : at + self._left]
                at += len(content)
                self._left -= len(content)
                self._is_content_read = self._left == 0
                contents.append(content)
                continue
            if not self._is_content_read and not self._is_in_trailers:
                at = _take_whole_chunks(data, at, contents)
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            self._take_line(data[at:end])
            at = end + 2
        self.is_overrun = self.is_overrun or (self.is_over and at < size)
        return contents[0] if len(contents) == 1 else b"".join(contents)

    def end(self) -> None:
        """See Body.end."""
        if not self.is_over:
            raise BadBody("it broke off in the middle")

    def _keep(self, unfinished: bytes) -> None:
        if len(unfinished) > LINE_BYTES_MAX:
            raise BadBody("a line without an end")
        self._line = unfinished

    def _take_line(self, line: bytes) -> None:
        if self._is_content_read:
            if line:
                raise BadBody("a chunk that is longer than it said")
            self._is_content_read = False
        elif self._is_in_trailers:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > TRAILERS_BYTES_MAX:
                raise BadBody("too many trailers")
            self.is_over = not line
        else:
            digits = line.partition(b";")[0].rstrip(b" \t")
            if not 0 < len(digits) <= _SIZE_DIGITS_MAX or not _HEX_DIGITS.issuperset(digits):
                raise BadBody("a chunk without a length")
            self._left = int(digits, 16)
            self._is_in_trailers = self._left == 0


def _take_whole_chunks(data: bytes, at: int, contents: list[bytes]) -> int:
    """Those that stand here from their length to their line break, as nearly all do; where they end."""
    while (length := _LENGTH_LINE.match(data, at)) is not None:
        begin = length.end()
        end = begin + int(length[1], 16)
        if end == begin or data[end : end + 2] != b"\r\n":
            return at
        contents.append(data[begin:end])
        at = end + 2
    return at


class Inflater:
    """Takes gzip or deflate away, a bounded amount at a time."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: the header of either
        self._compressed = b""

    def feed(self, data: bytes) -> None:
        """Take compressed bytes; called when `more` gave nothing."""
        self._compressed = data

    def more(self) -> bytes:
        """Return the next piece of what was fed, inflated. Raises BadBody."""
        try:
            inflated = self._stream.decompress(self._compressed, INFLATED_BYTES_MAX)
        except zlib.error as error:
            raise BadBody(f"compressed bytes that are none: {error}") from error
        self._compressed = self._stream.unconsumed_tail
        return inflated
