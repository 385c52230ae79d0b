"""A server of HTTP that does exactly what a test says, right or wrong, over real sockets."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Exchange:
    """One request, and the connection to answer it over."""

    head: bytes
    body: bytes
    connection: int
    """Connections are numbered as they come."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    """For a test to set, where its answer waits for it."""

    async def send(self, *pieces: bytes) -> None:
        """Each piece by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def until_gone(self) -> None:
        """Return when the other side has closed."""
        while await self.reader.read(65_536):
            pass


Answering = Callable[[Exchange], Awaitable[bool]]
"""Answers a request; whether the connection goes on."""


@dataclass
class RawServer:
    """Where it is, and what has come."""

    port: int = 0
    requests: list[Exchange] = field(default_factory=list[Exchange])
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody has closed a connection."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def raw_server(
    answer: Answering, *, tls: ssl.SSLContext | None = None, reads_bodies: bool = True
) -> AsyncGenerator[RawServer]:
    """Serve while the block runs."""
    served = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        served.connections += 1
        number = served.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                size = int(length[1]) if length is not None and reads_bodies else 0
                exchange = Exchange(head, await reader.readexactly(size), number, reader, writer)
                served.requests.append(exchange)
                if not await answer(exchange):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        finally:
            served.gone.set()
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def chunked(*contents: bytes) -> bytes:
    """A body of chunks, with its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in contents) + b"0\r\n\r\n"
