"""A small web site on a loopback port: answers byte for byte what a test says, and remembers who asked for what."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """The site and what it was asked."""

    port: int = 0
    pages: dict[str, Answer] = field(default_factory=dict[str, Answer])
    """By the path before the query."""
    heads: list[str] = field(default_factory=list[str])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """The last visitor has hung up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [head.split(" ", 2)[1] for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            self.asked.set()
            path = head.split(" ", 2)[1].partition("?")[0]
            answer = self.pages.get(path, page("Not here.", status="404 Not Found"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.left.set()
            writer.close()


@asynccontextmanager
async def site(
    pages: Mapping[str, Answer] | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Site]:
    """Open while the block runs."""
    made = Site(pages=dict(pages or {}))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()


def page(
    body: str | bytes,
    *,
    type: str | None = "text/html; charset=utf-8",
    status: str = "200 OK",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A whole answer."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close"]
    if type is not None:
        lines.append(f"Content-Type: {type}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def redirect(to: str) -> bytes:
    """Elsewhere."""
    return page("", status="302 Found", headers={"Location": to})


async def silence(writer: asyncio.StreamWriter) -> None:
    """The beginning of an answer, and then nothing."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nIt begins")
    await writer.drain()
