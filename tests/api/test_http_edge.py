"""The socket's edge: heads that come slowly or never whole, and requests that end in two ways."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import anyio
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from remit.server.edge.listening import listen_on_port, serving, url_of

pytestmark = pytest.mark.anyio
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.asynccontextmanager
async def connected(
    head_seconds: float = 0.1, body_seconds: float = 60.0, app: ASGIApp | None = None
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    listener = listen_on_port("127.0.0.1", 0)
    port = int(url_of("127.0.0.1", listener).rsplit(":", 1)[1])
    with anyio.fail_after(10):
        async with serving(
            app or PlainTextResponse("fine"), listener, head_seconds=head_seconds, body_seconds=body_seconds
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                yield reader, writer
            finally:
                writer.close()


async def answered(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4)


@pytest.mark.parametrize(
    "half",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", WHOLE[:-1], b"POST / HTTP/1.1\r\nA:"],
)
@pytest.mark.parametrize("before", [0, 1, 2])
async def test_half_a_head_is_answered_408_and_closed(half: bytes, before: int) -> None:
    async with connected() as (reader, writer):
        for _ in range(before):
            writer.write(WHOLE)
            assert (await answered(reader)).endswith(b"fine")
        writer.write(half)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_half_a_head_behind_a_whole_request_is_answered_408_and_closed() -> None:
    async with connected() as (reader, writer):
        writer.write(WHOLE + WHOLE[:-2])
        assert (await answered(reader)).endswith(b"fine")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_drips_has_no_longer() -> None:
    async with connected(0.3) as (reader, writer):

        async def drip() -> None:
            with contextlib.suppress(OSError):
                for byte in b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await anyio.sleep(0.01)

        async with anyio.create_task_group() as group:
            group.start_soon(drip)
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            group.cancel_scope.cancel()


async def test_a_connection_that_never_says_anything_is_closed_without_a_word() -> None:
    async with connected() as (reader, _):
        assert await reader.read() == b""


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    with contextlib.suppress(ClientDisconnect):
        size = len(await Request(scope, receive).body())
        await PlainTextResponse(f"{size:4}")(scope, receive, send)


SLOW_HEADS = [b"Content-Length: 100000", b"Transfer-Encoding: chunked"]


@pytest.mark.parametrize("head", SLOW_HEADS)
async def test_a_body_that_stops_is_answered_408_and_closed(head: bytes) -> None:
    async with connected(5.0, 0.2, reads) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n5\r\nhello")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("head", SLOW_HEADS)
@pytest.mark.parametrize("app", [reads, None], ids=["read", "answered without it"])
async def test_a_body_that_drips_has_no_longer(head: bytes, app: ASGIApp | None) -> None:
    async with connected(5.0, 0.2, app) as (reader, writer):

        async def drip() -> None:
            with contextlib.suppress(OSError):
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
                for _ in range(10_000):
                    writer.write(b"1\r\na\r\n")
                    await writer.drain()
                    await anyio.sleep(0.02)

        async with anyio.create_task_group() as group:
            group.start_soon(drip)
            said = b""
            with contextlib.suppress(ConnectionResetError):  # by what came after it was closed
                while piece := await reader.read(65_536):
                    said += piece
            assert said == b"" or b"HTTP/1.1 408 " in said if app else said.endswith(b"fine")
            group.cancel_scope.cancel()


async def test_a_body_that_goes_on_coming_may_take_its_time() -> None:
    async with connected(5.0, 1.0, reads) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 80000\r\n\r\n")
        for _ in range(8):
            writer.write(b"a" * 10_000)
            await writer.drain()
            await anyio.sleep(0.15)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(5) == b"80000"


async def test_between_requests_a_connection_may_be_idle_longer_than_a_head_may_take() -> None:
    async with connected(0.1) as (reader, writer):
        writer.write(WHOLE)
        assert (await answered(reader)).endswith(b"fine")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await reader.read(1)
        writer.write(WHOLE)
        assert (await answered(reader)).endswith(b"fine")


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "identity, chunked"])
@pytest.mark.parametrize("length", ["0", "5", "99"])
async def test_a_length_and_chunks_together_are_refused_and_nothing_behind_them_is_read(
    coding: str, length: str
) -> None:
    async with connected(5.0) as (reader, writer):
        head = (
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\ntransfer-encoding: {coding}\r\n\r\n"
        )
        writer.write(head.encode() + b"0\r\n\r\n" + WHOLE)
        said = await reader.read()
        assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
        assert b"fine" not in said
        assert said.count(b"HTTP/1.1") == 1
