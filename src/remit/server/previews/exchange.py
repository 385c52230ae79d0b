"""One HTTP exchange with a service in a sandbox, over a socket that was made inside it. Nothing of ours goes in: no key,
no cookie; and nothing comes out that could act on our origin."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from socket import socket
from urllib.parse import urlsplit

import h11
from starlette.types import Message, Receive, Send

from remit.errors import TooLarge

HEAD_SECONDS = 60.0
"""For the service to begin its answer."""
IDLE_SECONDS = 600.0
"""Without a byte from the service, once it has begun: event streams say something now and then."""
HEAD_BYTES_MAX = 65_536
PIECE_BYTES = 65_536

POLICY = "sandbox allow-scripts allow-forms"
"""A page of an agent's gets an origin of its own, that nobody trusts: our cookies and pages are out of its reach."""
_KEPT_ANSWER_HEADERS = frozenset(
    (
        "accept-ranges", "age", "cache-control", "content-disposition", "content-encoding", "content-language",
        "content-length", "content-range", "content-type", "etag", "expires", "last-modified", "retry-after",
        "vary",
    )
)  # fmt: skip
_DROPPED_REQUEST_HEADERS = frozenset(
    (
        "authorization", "connection", "content-length", "cookie", "expect", "forwarded", "host", "http2-settings",
        "keep-alive", "referer", "te", "trailer", "transfer-encoding", "upgrade", "via", "x-api-key",
        # What a proxy in front of us says of who is asking, some of it signed: worth stealing.
        "true-client-ip", "x-access-token", "x-client-ip", "x-email", "x-id-token", "x-real-ip", "x-user",
    )
)  # fmt: skip
_DROPPED_PREFIXES = (
    "anthropic-", "proxy-", "x-forwarded-", "x-remit-", "sec-websocket-",
    "cf-", "fly-", "remote-", "tailscale-", "x-amzn-", "x-appengine-", "x-auth-", "x-authentik-", "x-envoy-",
    "x-goog-", "x-ms-", "x-pomerium-", "x-vercel-", "x-webauth-",
)  # fmt: skip
_FOR_CACHES = frozenset(("age", "cache-control", "expires"))
"""Dropped where a key opens the address: a cache on the way would answer the next one without a key."""
Headers = list[tuple[bytes, bytes]]


class NotHttp(Exception):
    """The service does not speak HTTP, or broke off."""


class ClientGone(Exception):
    """Whoever asked has left."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The target of a request, and how its place looks from outside."""

    method: str
    path: bytes
    """With the query, as it came."""
    headers: Headers
    port: int
    prefix: str
    """What stands before a path of the service in our own addresses."""
    is_open: bool
    """The address itself is the permission, so any origin may read it; a sandboxed page's own requests need that."""
    body_bytes_max: int


async def exchange(connected: socket, target: Target, receive: Receive, send: Send) -> None:
    """Carry it out. Raises NotHttp (nothing has been sent), TooLarge (likewise), ClientGone."""
    reader, writer = await asyncio.open_connection(sock=connected)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    try:
        writer.write(connection.send(_request(target)) or b"")
        async with asyncio.TaskGroup() as group:
            up = group.create_task(_send_body(target, connection, writer, receive))
            try:
                await _pass_answer(target, connection, reader, send)
            finally:
                up.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    finally:
        writer.transport.abort()


def _request(target: Target) -> h11.Request:
    headers: Headers = [(b"host", b"localhost:%d" % target.port)]
    given = dict(target.headers)
    for name, value in target.headers:
        text = name.decode("latin-1").lower()
        if text not in _DROPPED_REQUEST_HEADERS and not text.startswith(_DROPPED_PREFIXES):
            headers.append((name, value))
    if b"content-length" in given:
        headers.append((b"content-length", given[b"content-length"]))
    elif b"transfer-encoding" in given:
        headers.append((b"transfer-encoding", b"chunked"))
    headers.append((b"connection", b"close"))
    return h11.Request(method=target.method, target=target.path, headers=headers)


async def _send_body(
    target: Target, connection: h11.Connection, writer: asyncio.StreamWriter, receive: Receive
) -> None:
    """The body, within its limit; then listen whether the client stays."""
    size = 0
    has_more = True
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if not has_more:
            continue
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > target.body_bytes_max:
            raise TooLarge(f"A request to a preview has at most {target.body_bytes_max} bytes.")
        has_more = message.get("more_body", False)
        data = connection.send(h11.Data(data=piece)) if piece else b""
        if not has_more:
            data = (data or b"") + (connection.send(h11.EndOfMessage()) or b"")
        with contextlib.suppress(OSError):  # it wants no more of it; its answer says why
            writer.write(data or b"")
            await writer.drain()


async def _pass_answer(
    target: Target, connection: h11.Connection, reader: asyncio.StreamReader, send: Send
) -> None:
    events = _events(connection, reader)
    try:
        async for event in events:
            if isinstance(event, h11.Response):
                _check_framing(event)
                await send(_start(target, event))
            elif isinstance(event, h11.Data):
                await send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await events.aclose()


async def _events(connection: h11.Connection, reader: asyncio.StreamReader) -> AsyncGenerator[h11.Event]:
    has_begun = False
    while True:
        try:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(IDLE_SECONDS if has_begun else HEAD_SECONDS):
                    connection.receive_data(await reader.read(PIECE_BYTES))
                continue
        except (h11.RemoteProtocolError, OSError) as error:
            raise NotHttp(str(error) or "it does not answer") from error
        if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            return
        has_begun = has_begun or isinstance(event, h11.Response)
        assert isinstance(event, h11.Event)
        yield event


def _check_framing(answer: h11.Response) -> None:
    """Raises NotHttp where the answer's end is said in two ways: whoever reads it next may believe the other one."""
    names = {bytes(name).lower() for name, _ in answer.headers}
    if {b"content-length", b"transfer-encoding"} <= names:
        raise NotHttp("its answer has both a Content-Length and a Transfer-Encoding; it may have one of them")


def _start(target: Target, answer: h11.Response) -> Message:
    headers: Headers = [
        (b"content-security-policy", POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
    ]
    if target.is_open:
        headers.append((b"access-control-allow-origin", b"*"))
    names: set[str] = set()
    for name, value in answer.headers:
        text = name.decode("latin-1").lower()
        if text in _KEPT_ANSWER_HEADERS and (target.is_open or text not in _FOR_CACHES):
            names.add(text)
            headers.append((name, value))
        elif text == "location" and (location := _location(target, value.decode("latin-1"))) is not None:
            headers.append((name, location.encode("latin-1")))
    if "cache-control" not in names:
        headers.append((b"cache-control", b"no-store"))
    return {"type": "http.response.start", "status": answer.status_code, "headers": headers}


def _location(target: Target, location: str) -> str | None:
    """Of a redirect: the service's own addresses as they look from outside; None for what is no address."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return None
    is_own = parts.scheme == "http" and parts.netloc in (
        f"localhost:{target.port}",
        f"127.0.0.1:{target.port}",
    )
    if is_own or (not parts.netloc and location.startswith("/")):
        query = f"?{parts.query}" if parts.query else ""
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        return f"{target.prefix}{parts.path or '/'}{query}{fragment}"
    return location
