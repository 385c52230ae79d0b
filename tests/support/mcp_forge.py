"""A real MCP server, made with the official library: over HTTP, over the older HTTP+SSE, or as a program (`python
mcp_forge.py`)."""

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ImageContent, ToolListChangedNotification

Scope = MutableMapping[str, Any]


def forge() -> MCPServer:
    """A server with a handful of tools."""
    server = MCPServer("forge", log_level="CRITICAL")
    kept: dict[str, str] = {}

    @server.tool(description="Add two numbers.")
    def add(a: int, b: int) -> str:
        return str(a + b)

    @server.tool(description="Keep a word for as long as the server lives with this client.")
    def keep(key: str, word: str) -> str:
        kept[key] = word
        return "kept"

    @server.tool(description="The word that was kept.")
    def recall(key: str) -> str:
        return kept.get(key, "nothing")

    @server.tool(description="So many lines.")
    def lines(count: int) -> str:
        return "\n".join(f"line {number}" for number in range(count))

    @server.tool(description="So many bytes.")
    def bytes_of(count: int) -> str:
        return "y" * count

    @server.tool(description="A picture.")
    def picture() -> ImageContent:
        return ImageContent(type="image", data=base64.b64encode(_png()).decode(), mime_type="image/png")

    @server.tool(description="Fails.")
    def fail() -> str:
        raise ValueError("the anvil is cold")

    @server.tool(description="Never answers.")
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    @server.tool(description="Write a file where the program runs.")
    def write(path: str, text: str) -> str:
        Path(path).write_text(text)
        return "written"

    @server.tool(description="What the request carried.")
    def echo_headers(ctx: Context) -> str:
        request: Any = ctx.request_context.request
        return str(dict(request.headers))

    @server.tool(description="Learn a new tool, and say so.")
    async def learn(word: str, ctx: Context) -> str:
        server.add_tool(lambda: f"{word} is done", name=word, description="Learnt.")
        await ctx.session.send_notification(ToolListChangedNotification(), ctx.request_id)
        return "learnt"

    @server.tool(description="Ends the program.")
    def die() -> str:
        import os

        os._exit(3)

    return server


def _png() -> bytes:
    def part(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0\0")
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", body) + part(b"IEND", b"")


@dataclass
class Served:
    """Where the server is, and what it was asked."""

    port: int
    path: str
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    """Method and headers of each."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


@asynccontextmanager
async def serving_forge(
    server: MCPServer | None = None, *, kind: str = "http", token: str | None = None, port: int = 0
) -> AsyncGenerator[Served]:
    """Open on a loopback port while the block runs; with `token` it asks for one."""
    server = server or forge()
    app = server.sse_app() if kind == "sse" else server.streamable_http_app()
    served = Served(port=port, path="/sse" if kind == "sse" else "/mcp")

    async def watched(
        scope: Scope,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            served.requests.append((scope["method"], headers))
            if token is not None and headers.get("authorization") != f"Bearer {token}":
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await app(scope, receive, send)

    config = uvicorn.Config(
        watched, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.005)
        if task.done():
            task.result()
    served.port = running.servers[0].sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        running.should_exit = True
        running.force_exit = True
        await task


if __name__ == "__main__":
    forge().run("stdio")
