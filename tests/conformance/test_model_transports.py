"""Both HTTP clients of the model drivers against servers that behave, and servers that do not."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from remit.errors import ModelCallFailed
from remit.models.http.endpoint import ModelEndpoint, ModelTimeouts
from remit.models.http.http1 import Http1Transport
from remit.models.http.httpx2_transport import Httpx2Transport, has_proxy
from remit.models.http.transport import HttpAnswer, Transport, TransportFailed
from support.certificates import certify
from support.raw_server import Answering, Exchange, RawServer, chunked, raw_server

pytestmark = pytest.mark.anyio

Make = Callable[[str], Transport]
SILENCE_SECONDS = 0.2
PLENTY_SECONDS = 30.0
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
LARGE = 32 << 20
"""More than sockets hold."""


@pytest.fixture(params=[Http1Transport, Httpx2Transport], ids=["http1", "httpx2"])
def make(request: pytest.FixtureRequest) -> Make:
    return lambda url: request.param(url, connect_seconds=2.0)


@asynccontextmanager
async def served(
    make: Make, answer: Answering, *, reads_bodies: bool = True
) -> AsyncGenerator[tuple[RawServer, Transport]]:
    with anyio.fail_after(20):
        async with raw_server(answer, reads_bodies=reads_bodies) as server:
            transport = make(server.url)
            try:
                yield server, transport
            finally:
                await transport.close()


async def ask(
    transport: Transport, *, body: bytes | None = b"{}", seconds: float = PLENTY_SECONDS, **headers: str
) -> HttpAnswer:
    return await transport.send(
        "POST",
        "/x?y=1",
        body,
        headers,
        deadline=time.monotonic() + seconds,
        silence_seconds=SILENCE_SECONDS,
    )


async def whole(transport: Transport, **options: Any) -> bytes:
    """The content of an answer that is read to its end."""
    answer = await ask(transport, **options)
    try:
        return await rest(answer)
    finally:
        await answer.close()


async def rest(answer: HttpAnswer) -> bytes:
    pieces: list[bytes] = []
    while piece := await answer.read():
        pieces.append(piece)
    return b"".join(pieces)


def saying(*pieces: bytes, goes_on: bool = True) -> Answering:
    """Answer every request with these."""

    async def answer(exchange: Exchange) -> bool:
        await exchange.send(*pieces)
        return goes_on

    return answer


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


# ------------------------------------------------------------------------------------------ what works


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNKED + chunked(b"one ", b"two ", b"three")],
        bytewise(CHUNKED + chunked(b"one ", b"two ", b"three")),
        [CHUNKED, b"4;name=value\r\none \r\n", b"9\r\ntwo three\r\n0\r\nTrailer: t\r\n\r\n"],
        bytewise(HEAD + b"content-length: 13\r\n\r\none two three"),
        [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + HEAD + b"Content-Length: 13\r\n\r\none two three"],
        [HEAD + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(*bytewise(gzip.compress(b"one two three")))],
    ],
    ids=["chunks", "chunks by bytes", "extensions and trailers", "length by bytes", "early hints", "gzip"],
)  # fmt: skip
async def test_a_body_arrives_however_it_is_cut(make: Make, pieces: list[bytes]) -> None:
    async with served(make, saying(*pieces)) as (server, transport):
        assert await whole(transport) == b"one two three"
        assert await whole(transport) == b"one two three"
        assert server.connections == 1, "a connection whose answer was read to the end is kept"


async def test_a_body_without_a_length_ends_with_its_connection(make: Make) -> None:
    async with served(make, saying(HEAD + b"\r\n", b"one ", b"two", goes_on=False)) as (server, transport):
        assert await whole(transport) == b"one two"
        assert await whole(transport) == b"one two"
        assert server.connections == 2


async def test_a_request_says_who_what_and_how_long(make: Make) -> None:
    async with served(make, saying(HEAD + b"content-length: 0\r\n\r\n")) as (server, _):
        transport = make(server.url.replace("://", "://user:p%40ss@") + "/base")
        await (await ask(transport, body=b'{"a":1}', authorization="")).close()
        await transport.close()

        head = server.requests[0].head.lower()
        assert head.startswith(b"post /base/x?y=1 http/1.1\r\n")
        assert b"host: 127.0.0.1:%d\r\n" % server.port in head
        assert b"content-length: 7\r\n" in head
        assert b"authorization: basic dxnlcjpwqhnz\r\n" in head
        assert server.requests[0].body == b'{"a":1}'


async def test_a_redirect_is_an_answer_and_is_not_followed(make: Make) -> None:
    head = b"HTTP/1.1 307 Elsewhere\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n"
    async with served(make, saying(head)) as (server, transport):
        answer = await ask(transport)

        assert (answer.status, answer.headers["location"]) == (307, "/there")
        assert await answer.read() == b""
        await answer.close()
        assert len(server.requests) == 1


async def test_calls_at_the_same_time_have_connections_of_their_own(make: Make) -> None:
    everyone = asyncio.Event()

    async def answer(exchange: Exchange) -> bool:
        if exchange.connection == 3:
            everyone.set()
        await everyone.wait()
        await exchange.send(CHUNKED + chunked(b"hello"))
        return True

    async with served(make, answer) as (server, transport):
        assert await asyncio.gather(*(whole(transport) for _ in range(3))) == [b"hello"] * 3
        assert server.connections == 3


# ------------------------------------------------------------------------------------------ what breaks


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200 OK\r\ncontent-le"],
        [CHUNKED, b"5\r\nhel"],
        [CHUNKED, b"5\r\nhello\r\n"],
        [HEAD + b"content-length: 10\r\n\r\nhello"],
        [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"],
        [CHUNKED, b"five\r\nhello\r\n"],
        [CHUNKED, b"-5\r\nhello\r\n"],
        [CHUNKED, b"5\r\nhello and more\r\n"],
        [HEAD + b"x: " + b"y" * (200 << 10) + b"\r\n\r\n"],
        [HEAD + b"content-length: many\r\n\r\n"],
        [HEAD + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"],
    ],
    ids=[
        "nothing", "half a head", "half a chunk", "no last chunk", "too short", "no HTTP", "a length in words",
        "a negative length", "a chunk that is too long", "a head without end", "a length that is none", "no gzip",
        "another protocol",
    ],
)  # fmt: skip
async def test_what_breaks_off_or_is_no_http_is_broken(make: Make, pieces: list[bytes]) -> None:
    async with served(make, saying(*pieces, goes_on=False)) as (_, transport):
        with pytest.raises(TransportFailed) as failed:
            await whole(transport)

    assert failed.value.cause == "broken"


async def test_what_came_before_a_break_is_given_out_first(make: Make) -> None:
    async with served(make, saying(CHUNKED, b"5\r\nhello\r\n", goes_on=False)) as (_, transport):
        answer = await ask(transport)
        assert await answer.read() == b"hello"
        with pytest.raises(TransportFailed):
            await answer.read()
        await answer.close()


async def test_nothing_is_sent_twice_when_a_kept_connection_breaks(make: Make) -> None:
    async def answer(exchange: Exchange) -> bool:
        is_first = len(server.requests) == 1
        if is_first:
            await exchange.send(CHUNKED + chunked(b"hello"))
        return is_first

    async with served(make, answer) as (server, transport):
        assert await whole(transport) == b"hello"
        with pytest.raises(TransportFailed) as failed:
            await whole(transport)

        assert failed.value.cause == "broken", "the provider may have worked"
        assert len(server.requests) == 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(make: Make) -> None:
    async with served(make, saying(CHUNKED + chunked(b"hello"), goes_on=False)) as (server, transport):
        assert await whole(transport) == b"hello"
        await server.gone.wait()
        await asyncio.sleep(0.01)  # for the news to cross the loopback
        assert await whole(transport) == b"hello"
        assert server.connections == 2


async def test_a_server_that_wants_to_close_is_not_asked_again_over_it(make: Make) -> None:
    head = HEAD + b"connection: close\r\ncontent-length: 5\r\n\r\nhello"
    async with served(make, saying(head)) as (server, transport):
        assert await whole(transport) == b"hello"
        assert await whole(transport) == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize("first", [b"", HEAD, CHUNKED + b"5\r\nhello\r\n"], ids=["head", "rest", "chunk"])
async def test_silence_has_an_end(make: Make, first: bytes) -> None:
    async def answer(exchange: Exchange) -> bool:
        await exchange.send(first)
        await exchange.until_gone()
        return False

    async with served(make, answer) as (server, transport):
        with pytest.raises(TransportFailed) as failed:
            await whole(transport)
        await server.gone.wait()

    assert failed.value.cause == "silent"


async def test_an_answer_that_is_never_silent_has_an_end_too(make: Make) -> None:
    async def answer(exchange: Exchange) -> bool:
        await exchange.send(CHUNKED)
        while True:
            await asyncio.sleep(0.01)
            await exchange.send(b"1\r\nx\r\n")

    async with served(make, answer) as (_, transport):
        with pytest.raises(TransportFailed) as failed:
            await whole(transport, seconds=0.3)

    assert failed.value.cause == "late"


async def test_a_server_that_is_not_there_is_unreachable(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    transport = make(f"http://127.0.0.1:{port}")
    with pytest.raises(TransportFailed) as failed:
        await ask(transport)
    await transport.close()

    assert failed.value.cause == "unreachable"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "http://", "http://h:port"])
async def test_what_is_no_address_is_unusable(make: Make, url: str) -> None:
    with pytest.raises(TransportFailed) as failed:
        await ask(make(url))

    assert failed.value.cause == "unusable"


async def test_a_key_that_http_cannot_carry_is_not_shown(make: Make) -> None:
    async with served(make, saying(HEAD + b"\r\n")) as (server, transport):
        with pytest.raises(TransportFailed) as failed:
            await ask(transport, authorization="sk-secret\nx: y")

        assert failed.value.cause == "unusable"
        assert "sk-secret" not in str(failed.value)
        assert not server.requests


# ------------------------------------------------------------------------------------------ leaving, and being slow


async def test_cancelling_a_wait_drops_the_connection(make: Make) -> None:
    asked = asyncio.Event()

    async def answer(exchange: Exchange) -> bool:
        asked.set()
        await exchange.until_gone()
        return False

    async with served(make, answer) as (server, transport):
        waiting = asyncio.ensure_future(ask(transport))
        await asked.wait()
        waiting.cancel()
        await server.gone.wait()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_closing_an_answer_that_goes_on_drops_the_connection(make: Make) -> None:
    async def answer(exchange: Exchange) -> bool:
        await exchange.send(CHUNKED, b"5\r\nhello\r\n")
        await exchange.until_gone()
        return False

    async with served(make, answer) as (server, transport):
        answered = await ask(transport)
        assert await answered.read() == b"hello"
        await answered.close()
        await server.gone.wait()


async def test_a_reader_that_does_not_read_stops_the_sender(make: Make) -> None:
    async def answer(exchange: Exchange) -> bool:
        exchange.writer.write(HEAD + b"content-length: %d\r\n\r\n" % LARGE + bytes(LARGE))
        await exchange.writer.drain()
        return True

    async with served(make, answer) as (server, transport):
        answered = await ask(transport)
        left = -1
        while left != (left := server.requests[0].writer.transport.get_write_buffer_size()):
            for _ in range(50):
                await asyncio.sleep(0)
        assert left > LARGE / 4, "the rest waits at the sender"
        assert len(await rest(answered)) == LARGE
        await answered.close()


# ------------------------------------------------------------------------------------------ what http1 alone can


def http1_alone(url: str) -> Transport:
    return Http1Transport(url, connect_seconds=2.0)


async def test_bytes_behind_an_answer_are_nobodys() -> None:
    answer = HEAD + b"content-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    async with served(http1_alone, saying(answer)) as (server, transport):
        assert await whole(transport) == b"hello"
        assert await whole(transport) == b"hello"
        assert server.connections == 2


async def test_an_answer_before_the_request_is_sent_is_taken() -> None:
    async def answer(exchange: Exchange) -> bool:
        await exchange.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await exchange.may_read.wait()
        await exchange.until_gone()
        return False

    async with served(http1_alone, answer, reads_bodies=False) as (server, transport):
        answered = await ask(transport, body=bytes(LARGE))
        assert answered.status == 413
        await answered.close()
        server.requests[0].may_read.set()
        await server.gone.wait()
        assert len(server.requests) == 1


async def test_kept_connections_are_dropped_before_servers_drop_them() -> None:
    def hasty(url: str) -> Transport:
        return Http1Transport(url, connect_seconds=2.0, keepalive_seconds=0.01)

    async with served(hasty, saying(CHUNKED + chunked(b"hello"))) as (server, transport):
        assert await whole(transport) == b"hello"
        await server.gone.wait()


async def test_a_transport_has_a_bounded_number_of_connections() -> None:
    both, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(exchange: Exchange) -> bool:
        if exchange.connection == 2:
            both.set()
        await may_answer.wait()
        await exchange.send(CHUNKED + chunked(b"hello"))
        return True

    def narrow(url: str) -> Transport:
        return Http1Transport(url, connect_seconds=2.0, connections_max=2)

    async with served(narrow, answer) as (_, transport):
        taken = [asyncio.ensure_future(whole(transport)) for _ in range(2)]
        await both.wait()
        with pytest.raises(TransportFailed) as failed:
            await ask(transport)
        may_answer.set()

        assert failed.value.cause == "unreachable"
        assert await asyncio.gather(*taken) == [b"hello", b"hello"]


# ------------------------------------------------------------------------------------------ TLS and proxies


async def test_a_certificate_counts_only_if_the_environment_trusts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = certify("localhost", tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    with anyio.fail_after(10):
        async with raw_server(saying(CHUNKED, chunked(b"hello")), tls=serving) as server:
            url = f"https://localhost:{server.port}"
            stranger = Http1Transport(url, connect_seconds=2.0)
            with pytest.raises(TransportFailed) as failed:
                await whole(stranger)
            assert failed.value.cause == "unreachable"
            assert not server.requests

            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            trusting = Http1Transport(url, connect_seconds=2.0)
            assert await whole(trusting) == b"hello"
            assert await whole(trusting) == b"hello"
            assert len({exchange.connection for exchange in server.requests}) == 1
            await trusting.close()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for one in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(one, raising=False)
    events = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    async with raw_server(saying(CHUNKED, chunked(events))) as proxy:
        monkeypatch.setenv(name, proxy.url.replace("://", "://me:secret@"))
        with anyio.fail_after(10):
            await _events("http://models.test/v1")

        assert proxy.requests[0].head.startswith(b"POST http://models.test/v1/messages HTTP/1.1\r\n")
        assert b"proxy-authorization: basic" in proxy.requests[0].head.lower()

        monkeypatch.setenv("NO_PROXY", "models.test")
        with pytest.raises(ModelCallFailed, match="cannot be reached"):
            await _events("http://models.test/v1")
        assert len(proxy.requests) == 1


async def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    assert has_proxy("http://models.test")
    assert not has_proxy("http://127.0.0.1:1234/v1")


async def _events(url: str) -> None:
    timeouts = ModelTimeouts(connect_seconds=2, silence_seconds=2)
    endpoint = ModelEndpoint(name="m", base_url=url, headers={}, timeouts=timeouts)
    events = endpoint.events("/messages", {}, outlook=lambda: "whole")
    try:
        async with aclosing(events):
            async for _ in events:
                pass
    finally:
        await endpoint.close()
