"""Moving bytes between two connections, with bounded buffers, until both ends are done or nothing moves any more."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

PIECE_BYTES = 65_536
CHUNK_LINE_BYTES_MAX = 256
TRAILER_LINES_MAX = 64
LAST_CHUNK = b"0\r\n\r\n"
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n]*)?\r\n")

Length = int | Literal["chunks", "end"]
"""Of a body: so many bytes, chunks, or until the connection's end."""


class Idle(Exception):
    """Nothing moved on a connection for too long."""


class BadRelayedBody(Exception):
    """The chunks of a body are malformed."""


class Counter:
    """Bytes moved each way, and the time at which the connection counts as idle."""

    def __init__(self, idle_seconds: float) -> None:
        self.up = 0
        self.down = 0
        self._idle_seconds = idle_seconds
        self._bound: asyncio.Timeout | None = None

    def went_up(self, count: int) -> None:
        """Towards the server."""
        self.up += count
        self._moved()

    def went_down(self, count: int) -> None:
        """Towards the sandbox."""
        self.down += count
        self._moved()

    async def while_moving(self, *work: Awaitable[object]) -> None:
        """Do all of it; raises Idle when nothing has moved for the idle time."""
        try:
            async with asyncio.timeout(self._idle_seconds) as self._bound, asyncio.TaskGroup() as group:
                for each in work:
                    group.create_task(_run(each))
        except TimeoutError as error:
            raise Idle from error
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        finally:
            self._bound = None

    def _moved(self) -> None:
        if self._bound is not None and not self._bound.expired():
            self._bound.reschedule(asyncio.get_running_loop().time() + self._idle_seconds)


async def _run(work: Awaitable[object]) -> None:
    await work


async def pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[int], None]
) -> None:
    """Copy bytes until the reader's end, which is passed on."""
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
        moved(len(piece))
    with contextlib.suppress(OSError):  # the other end is gone already
        writer.write_eof()


async def pump_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: Length, moved: Callable[[int], None]
) -> None:
    """Pass on a whole body; chunks are said again in their plainest form. Raises IncompleteReadError,
    BadRelayedBody."""
    async for piece in pieces_of(reader, length):
        writer.write(as_chunk(piece) if length == "chunks" else piece)
        await writer.drain()
        moved(len(piece))
    if length == "chunks":
        writer.write(LAST_CHUNK)
        await writer.drain()


def as_chunk(piece: bytes) -> bytes:
    """Frame a piece of a chunked body; not an empty one, which would end it."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)


async def pieces_of(reader: asyncio.StreamReader, length: Length) -> AsyncIterator[bytes]:
    """A body as it comes, without chunk lines and trailers. Raises IncompleteReadError, BadRelayedBody."""
    if length == "end":
        while piece := await reader.read(PIECE_BYTES):
            yield piece
    elif length == "chunks":
        while (size := await _chunk_size(reader)) > 0:
            async for piece in _exactly(reader, size):
                yield piece
            if await reader.readexactly(2) != b"\r\n":
                raise BadRelayedBody
        await _skip_trailers(reader)
    else:
        async for piece in _exactly(reader, length):
            yield piece


async def _exactly(reader: asyncio.StreamReader, count: int) -> AsyncIterator[bytes]:
    left = count
    while left:
        piece = await reader.read(min(left, PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readuntil(b"\r\n")
    found = _CHUNK.fullmatch(line) if len(line) <= CHUNK_LINE_BYTES_MAX else None
    if found is None:
        raise BadRelayedBody
    return int(found[1], 16)


async def _skip_trailers(reader: asyncio.StreamReader) -> None:
    for _ in range(TRAILER_LINES_MAX):
        if await reader.readuntil(b"\r\n") == b"\r\n":
            return
    raise BadRelayedBody
