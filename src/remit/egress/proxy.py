"""The proxy itself: takes connections on listeners that lie inside sandboxes, and makes those that are allowed.

Every name is resolved once, here; every address is judged, and the very address that was judged is connected to.
Standard library only: it runs in a process of its own, away from the server and its keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any  # reports are JSON

from .addresses import Address, is_own
from .bindings import BoundPlace, CredentialPlace
from .connector import Connector, Dial, Resolve, Streams
from .exchange import Exchanges, answers, next_head, send_body
from .http_heads import HEAD_BYTES_MAX, BadMessage, Request, lines, parse_inner_request, parse_request
from .limits import EgressLimits
from .policy import Guard, Policy
from .rate_limited_log import RateLimitedLog
from .redaction import BadEncoding
from .relay import BadRelayedBody, Counter, Idle, pump
from .stops import Stop, stop
from .tls import as_client, as_server
from .token_bucket import TokenBucket, Turns

_MARK = "X-Remit-Egress"
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_ACCEPT_AGAIN_SECONDS = 0.1
_REASONS = {
    400: "Bad Request",
    403: "Forbidden by Remit",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The credentials that one sandbox's requests carry without its seeing them."""

    places: Mapping[CredentialPlace, BoundPlace]
    pem: str = field(repr=False)
    """The certificates with which the proxy stands for those places, and their key."""


class Proxy:
    """Serves any number of sandboxes, each on a listener of its own with a policy of its own."""

    def __init__(
        self,
        guard: Guard,
        report: Callable[[dict[str, Any]], None],
        *,
        limits: EgressLimits | None = None,
        resolve: Resolve | None = None,
        dial: Dial | None = None,
        is_own: Callable[[Address], bool] = is_own,
    ) -> None:
        self._guard = guard
        self._report = report
        self._limits = limits or EgressLimits()
        self._connector = Connector(guard, self._limits, resolve=resolve, dial=dial, is_own=is_own)
        self._client_tls: ssl.SSLContext | None = None
        self._served: dict[str, _ServedSandbox] = {}

    def trust(self, roots: str) -> None:
        """Certificates that prove servers to which credentials go; the first are kept."""
        if self._client_tls is None:
            self._client_tls = as_client(roots)

    async def open(
        self,
        sandbox_id: str,
        policy: Policy,
        listener: socket.socket,
        credentials: Credentials | None = None,
    ) -> None:
        """Serve on this listener until `forget`."""
        await self.forget(sandbox_id)
        lookups = asyncio.Semaphore(self._limits.lookups)
        bucket = TokenBucket(self._limits.connections_per_second, self._limits.connections_at_once)
        served = _ServedSandbox(
            policy, lookups, credentials, RateLimitedLog(sandbox_id, self._report), bucket
        )
        self._served[sandbox_id] = served
        listener.setblocking(False)
        # What is accepted inherits it; asyncio sets it only where it knows the protocol's number.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served.accepting = asyncio.create_task(self._accept(served, listener))

    async def forget(self, sandbox_id: str) -> None:
        """Close the listener and what came through it. Idempotent."""
        served = self._served.pop(sandbox_id, None)
        if served is None:
            return
        served.is_closed = True
        assert served.accepting is not None
        ending = (served.accepting, *served.tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        served.lines.finish()

    async def close(self) -> None:
        """Forget all."""
        for sandbox_id in list(self._served):
            await self.forget(sandbox_id)

    # --------------------------------------------------------------------------------------- one connection

    async def _accept(self, served: _ServedSandbox, listener: socket.socket) -> None:
        """At the sandbox's rate and while there is room: what waits in the listener costs the others nothing."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                await asyncio.sleep(served.bucket.take())
                await served.has_room(2 * self._limits.connections)
                try:
                    accepted, _ = await loop.sock_accept(listener)
                    await loop.connect_accepted_socket(lambda: self._protocol(served), accepted)
                except OSError:  # gone again, or no descriptors are left
                    await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)

    def _protocol(self, served: _ServedSandbox) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=self._limits.buffer_bytes)
        return asyncio.StreamReaderProtocol(
            reader, lambda reader, writer: self._serve(served, reader, writer)
        )

    async def _serve(
        self, served: _ServedSandbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if served.is_closed:
            writer.close()
            return
        connection = _Connection(served, Counter(self._limits.idle_seconds))
        served.tasks.add(task)
        try:
            await self._handle(connection, reader, writer)
        except Stop as ending:
            connection.decision, connection.reason = ending.decision, ending.refusal.reason
            await self._say(writer, ending)
        except Idle:
            connection.reason = "idle"
            writer.transport.abort()
        except (OSError, EOFError, BadRelayedBody, BadEncoding, asyncio.LimitOverrunError) as error:
            connection.reason = type(error).__name__
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            connection.reason = (
                "closed"  # by `forget` or the end of the process; there is nobody to tell it on to
            )
        finally:
            try:
                await self._leave(writer)
            finally:
                served.tasks.discard(task)
                served.one_left.set()
                served.lines.put(connection.fields())

    async def _handle(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(connection.served.tasks) > self._limits.connections:
            raise stop(
                503,
                "refused",
                f"more than {self._limits.connections} connections",
                "Close some, or use fewer at a time.",
            )
        request = await self._read_request(reader)
        connection.asked(request)
        for refusal in (
            connection.served.policy.refusal(request.host),
            self._guard.port_refusal(request.host, request.port, None),
        ):
            if refusal is not None:
                raise Stop(403, "refused", refusal)
        bound = connection.served.bound(request)
        upstream = await self._connector.connect(request.host, request.port, connection.served.lookups)
        connection.decision = "allowed"
        client = (reader, writer)
        try:
            if bound is not None:
                await self._serve_bound(connection, request, bound, client, upstream)
            elif request.is_tunnel:
                writer.write(_ESTABLISHED)
                await connection.counter.while_moving(
                    pump(reader, upstream[1], connection.counter.went_up),
                    pump(upstream[0], writer, connection.counter.went_down),
                )
            else:
                await connection.counter.while_moving(self._forward(connection, request, client, upstream))
        finally:
            await self._leave(upstream[1])

    async def _serve_bound(
        self, connection: _Connection, request: Request, place: BoundPlace, client: Streams, server: Streams
    ) -> None:
        """To a place that credentials belong to. A tunnel is opened: we are the host towards the client."""
        exchanges = Exchanges(
            place,
            client,
            server,
            connection.counter,
            answer_seconds=self._limits.answer_seconds,
            turns=connection.served.turns,
        )
        connection.exchanges = exchanges
        if not request.is_tunnel:
            await connection.counter.while_moving(exchanges.pass_on(request))
            return
        await self._prove(request.host, server[1])
        client[1].write(_ESTABLISHED)
        assert connection.served.tls is not None
        await client[1].start_tls(connection.served.tls, ssl_handshake_timeout=self._limits.head_seconds)
        await connection.counter.while_moving(self._serve_inside(request, exchanges, client, server))

    async def _prove(self, host: str, server: asyncio.StreamWriter) -> None:
        """TLS with the server, before anything is said to it. Raises Stop."""
        assert self._client_tls is not None
        try:
            await server.start_tls(
                self._client_tls,
                server_hostname=host,
                ssl_handshake_timeout=self._limits.connect_seconds,
            )
        except ssl.SSLCertVerificationError as error:
            raise stop(
                502,
                "failed",
                f"{host} does not prove its name: {error.verify_message}",
                "A credential goes only to a host whose certificate this machine trusts.",
            ) from error
        except OSError as error:  # an SSLError is one
            raise stop(502, "failed", f"{host} makes no TLS", "Is it an HTTPS server?") from error

    async def _serve_inside(
        self, request: Request, exchanges: Exchanges, client: Streams, server: Streams
    ) -> None:
        """One request after the other, for as long as client and server want more."""
        while True:
            try:
                data = await next_head(client[0], server[0])
            except asyncio.LimitOverrunError as error:
                raise _head_too_large() from error
            if data is None:
                return
            inner = _parsed(data, lambda head: parse_inner_request(head, request.host, request.port))
            if not await exchanges.pass_on(inner):
                return

    async def _leave(self, writer: asyncio.StreamWriter) -> None:
        """Close, and wait a while for the other end to take what is still to be sent."""
        if writer.transport.is_closing():  # broken already, perhaps in the middle of a TLS handshake
            writer.transport.abort()
            return
        writer.close()
        try:
            async with asyncio.timeout(self._limits.linger_seconds):
                await writer.wait_closed()
        except OSError:  # a TimeoutError is one
            return
        finally:
            writer.transport.abort()

    async def _read_request(self, reader: asyncio.StreamReader) -> Request:
        try:
            async with asyncio.timeout(self._limits.head_seconds):
                data = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError as error:
            raise stop(400, "refused", "the request took too long", "State it at once.") from error
        except asyncio.LimitOverrunError as error:
            raise _head_too_large() from error
        return _parsed(data, parse_request)

    async def _forward(
        self, connection: _Connection, request: Request, client: Streams, server: Streams
    ) -> None:
        """One plain request and its answer; then both connections end, so nothing can be smuggled behind it."""
        counter, head = connection.counter, request.head()
        server[1].write(head)
        counter.went_up(len(head))
        upload = asyncio.ensure_future(send_body(request.body, client[0], server[1], counter))
        try:
            async for answer in answers(server[0], request.host, self._limits.answer_seconds):
                closing = [] if answer.status < 200 else [(b"Connection", b"close")]
                head = answer.first + b"\r\n" + lines([*answer.headers, *closing])
                client[1].write(head)
                await client[1].drain()
                counter.went_down(len(head))
            await pump(server[0], client[1], counter.went_down)
        finally:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)

    async def _say(self, writer: asyncio.StreamWriter, ending: Stop) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.head_seconds):
                writer.write(_said(ending))
                await writer.drain()
                if writer.can_write_eof():  # TLS cannot
                    writer.write_eof()


class _ServedSandbox:
    """One sandbox's listener."""

    def __init__(
        self,
        policy: Policy,
        lookups: asyncio.Semaphore,
        credentials: Credentials | None,
        lines: RateLimitedLog,
        bucket: TokenBucket,
    ) -> None:
        self.lines = lines
        self.bucket = bucket
        self.turns = Turns()
        self.policy = policy
        self.lookups = lookups
        self._places: Mapping[CredentialPlace, BoundPlace] = {} if credentials is None else credentials.places
        self.tls = as_server(credentials.pem) if credentials is not None else None
        self.accepting: asyncio.Task[None] | None = None
        self.is_closed = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.one_left = asyncio.Event()

    async def has_room(self, connections_max: int) -> None:
        """Wait until there are fewer."""
        while len(self.tasks) >= connections_max:
            self.one_left.clear()
            await self.one_left.wait()

    def bound(self, request: Request) -> BoundPlace | None:
        """The credentials that belong exactly there."""
        return self._places.get(
            CredentialPlace(is_tls=request.is_tunnel, host=request.host, port=request.port)
        )


class _Connection:
    """One connection, as it will be reported: whom it wanted, what became of it. No paths, no headers."""

    def __init__(self, served: _ServedSandbox, counter: Counter) -> None:
        self.served = served
        self.counter = counter
        self.decision = "refused"
        self.reason: str | None = None
        self.exchanges: Exchanges | None = None
        self.host: str | None = None
        self._port: int | None = None
        self._is_tunnel = False
        self._began = time.monotonic()

    def asked(self, request: Request) -> None:
        """The client has said what it wants."""
        self.host, self._port, self._is_tunnel = request.host, request.port, request.is_tunnel

    def fields(self) -> dict[str, Any]:
        """For the log."""
        exchanges = self.exchanges
        told: dict[str, Any] = {}
        if exchanges is not None:
            told = {"credentials": dict(exchanges.uses), "scrubbed": exchanges.redacted}
        return told | {
            "host": self.host,
            "port": self._port,
            "is_tunnel": self._is_tunnel,
            "decision": self.decision,
            "reason": self.reason,
            "bytes_up": self.counter.up,
            "bytes_down": self.counter.down,
            "seconds": round(time.monotonic() - self._began, 3),
        }


def _parsed(data: bytes, parse: Callable[[bytes], Request]) -> Request:
    if len(data) > HEAD_BYTES_MAX:
        raise _head_too_large()
    try:
        return parse(data)
    except BadMessage as error:
        raise stop(400, "refused", str(error), "Send plain HTTP/1.1.") from error


def _said(ending: Stop) -> bytes:
    """As an answer; the reason stands in the status line, where clients show it."""
    refusal = ending.refusal
    text = f"Remit's egress proxy: {refusal.reason}. {refusal.mend}\n".encode()
    head = (
        f"HTTP/1.1 {ending.status} {_REASONS[ending.status]}: {refusal.reason}\r\n{_MARK}: {ending.decision}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii", "replace") + text


def _head_too_large() -> Stop:
    return stop(431, "refused", "the request's head is too large", f"At most {HEAD_BYTES_MAX} bytes.")


def encode_report(fields: dict[str, Any]) -> bytes:
    """Encode a report as it goes to the server."""
    return json.dumps(fields).encode()
