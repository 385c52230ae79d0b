"""multipart/form-data as it arrives: one part after the other, never whole in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from remit.errors import InvalidRequest, TooLarge

BOUNDARY_LENGTH_MAX = 200
HEADERS_PER_PART_MAX = 8
HEADER_BYTES_MAX = 4_096
PARTS_MAX = 16
FIELD_BYTES_MAX = 4_096


class PartStart(NamedTuple):
    """A part begins."""

    name: str
    filename: str | None
    content_type: str | None


class PartData(NamedTuple):
    """Bytes of the part that began last."""

    content: bytes


class PartEnd(NamedTuple):
    """The part is complete."""


PartEvent = PartStart | PartData | PartEnd


class Multipart:
    """The parts of one body. Take a part with `next_part`, then its bytes with `content` or `field`, then the next."""

    def __init__(self, content_type: str, chunks: AsyncGenerator[bytes]) -> None:
        self._events = _read(_boundary(content_type), chunks)
        self._part: PartStart | None = None
        self._count = 0

    async def next_part(self) -> PartStart | None:
        """The next part; None at the end. Raises InvalidRequest."""
        assert self._part is None, "the part before was not read"
        async for event in self._events:
            assert isinstance(event, PartStart)  # parts do not nest
            self._count += 1
            if self._count > PARTS_MAX:
                raise InvalidRequest(f"The body has more than {PARTS_MAX} parts; send fewer.")
            self._part = event
            return event
        return None

    async def content(self) -> AsyncIterator[bytes]:
        """The bytes of the part, in pieces. Raises InvalidRequest when the body breaks off."""
        async for event in self._events:
            if isinstance(event, PartEnd):
                self._part = None
                return
            assert isinstance(event, PartData)
            yield event.content
        raise _broken()

    async def field(self) -> str:
        """The part as short text. Raises InvalidRequest, TooLarge."""
        assert self._part is not None
        name, content = self._part.name, b""
        async for piece in self.content():
            content += piece
            if len(content) > FIELD_BYTES_MAX:
                raise TooLarge(f"`{name}`: is longer than {FIELD_BYTES_MAX} bytes; send less.")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"`{name}`: is not UTF-8; send text.") from error

    async def close(self) -> None:
        """Let go of the body."""
        await self._events.aclose()


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise InvalidRequest(
            f"`content-type`: must be multipart/form-data, not {kind.decode('latin-1') or 'missing'!r}."
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= BOUNDARY_LENGTH_MAX:
        raise InvalidRequest("`content-type`: its boundary is missing or too long; let your client make it.")
    return boundary


async def _read(boundary: bytes, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[PartEvent]:
    events: deque[PartEvent] = deque()
    parser = _Parser(boundary, events)
    async with aclosing(chunks):
        async for chunk in chunks:
            try:
                parser.feed(chunk)
            except MultipartParseError as error:
                raise InvalidRequest(f"The body is not valid multipart/form-data: {error}.") from error
            while events:
                yield events.popleft()
    if not parser.is_complete:
        raise _broken()


class _Parser:
    """The library's callbacks as events."""

    def __init__(self, boundary: bytes, events: deque[PartEvent]) -> None:
        self.is_complete = False
        self._events = events
        self._headers: dict[str, str] = {}
        self._name = b""
        self._value = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=HEADERS_PER_PART_MAX,
            max_header_size=HEADER_BYTES_MAX,
        )

    def feed(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _on_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition"))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise InvalidRequest("A part of the body has no `content-disposition: form-data` with a name.")
        filename = options.get(b"filename")
        self._events.append(
            PartStart(
                name=name.decode(errors="replace"),
                # Browsers and HTTP clients escape quotes in names this way, and nothing else.
                filename=(
                    filename.decode(errors="replace").replace("%22", '"') if filename is not None else None
                ),
                content_type=self._headers.get("content-type"),
            )
        )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(PartEnd())

    def _on_end(self) -> None:
        self.is_complete = True


def _broken() -> InvalidRequest:
    return InvalidRequest("The body ends before its last part is complete; send it again.")
