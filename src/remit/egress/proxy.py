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
from .bindings import BoundPlace, Place
from .exchange import Exchanges, answers, next_head, send_body
from .heads import HEAD_BYTES_MAX, BadMessage, Request, lines, parse_inner_request, parse_request
from .limits import Limits
from .pace import Pace, Turns
from .policy import Guard, Policy
from .reach import Dial, Reach, Resolve, Streams
from .relay import BadBody, Counter, Idle, pump
from .scrubbing import BadEncoding
from .stops import Stop, stop
from .telling import Lines
from .tls import as_client, as_server

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
    """What one sandbox's requests carry without its seeing it."""

    places: Mapping[Place, BoundPlace]
    pem: str = field(repr=False)
    """The certificates with which the proxy stands for those places, and their key."""


class Proxy:
    """Serves any number of sandboxes, each on a listener of its own with a policy of its own."""

    def __init__(
        self,
        guard: Guard,
        report: Callable[[dict[str, Any]], None],
        *,
        limits: Limits | None = None,
        resolve: Resolve | None = None,
        dial: Dial | None = None,
        is_own: Callable[[Address], bool] = is_own,
    ) -> None:
        self._guard = guard
        self._report = report
        self._limits = limits or Limits()
        self._reach = Reach(guard, self._limits, resolve=resolve, dial=dial, is_own=is_own)
        self._client_tls: ssl.SSLContext | None = None
        self._doors: dict[str, _Door] = {}

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
        pace = Pace(self._limits.connections_per_second, self._limits.connections_at_once)
        door = _Door(policy, lookups, credentials, Lines(sandbox_id, self._report), pace)
        self._doors[sandbox_id] = door
        listener.setblocking(False)
        # What is accepted inherits it; asyncio sets it only where it knows the protocol's number.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        door.accepting = asyncio.create_task(self._accept(door, listener))

    async def forget(self, sandbox_id: str) -> None:
        """Close the listener and what came through it. Idempotent."""
        door = self._doors.pop(sandbox_id, None)
        if door is None:
            return
        door.is_closed = True
        assert door.accepting is not None
        ending = (door.accepting, *door.tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        door.lines.finish()

    async def close(self) -> None:
        """Forget all."""
        for sandbox_id in list(self._doors):
            await self.forget(sandbox_id)

    # --------------------------------------------------------------------------------------- one connection

    async def _accept(self, door: _Door, listener: socket.socket) -> None:
        """At the door's pace and while there is room: what waits in the listener costs the others nothing."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                await asyncio.sleep(door.pace.take())
                await door.has_room(2 * self._limits.connections)
                try:
                    accepted, _ = await loop.sock_accept(listener)
                    await loop.connect_accepted_socket(lambda: self._protocol(door), accepted)
                except OSError:  # gone again, or no descriptors are left
                    await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)

    def _protocol(self, door: _Door) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=self._limits.buffer_bytes)
        return asyncio.StreamReaderProtocol(reader, lambda reader, writer: self._serve(door, reader, writer))

    async def _serve(self, door: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if door.is_closed:
            writer.close()
            return
        visit = _Visit(door, Counter(self._limits.idle_seconds))
        door.tasks.add(task)
        try:
            await self._visit(visit, reader, writer)
        except Stop as ending:
            visit.decision, visit.reason = ending.decision, ending.refusal.reason
            await self._say(writer, ending)
        except Idle:
            visit.reason = "idle"
            writer.transport.abort()
        except (OSError, EOFError, BadBody, BadEncoding, asyncio.LimitOverrunError) as error:
            visit.reason = type(error).__name__
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            visit.reason = "closed"  # by `forget` or the end of the process; there is nobody to tell it on to
        finally:
            try:
                await self._leave(writer)
            finally:
                door.tasks.discard(task)
                door.one_left.set()
                door.lines.put(visit.fields())

    async def _visit(self, visit: _Visit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(visit.door.tasks) > self._limits.connections:
            raise stop(
                503,
                "refused",
                f"more than {self._limits.connections} connections",
                "Close some, or use fewer at a time.",
            )
        request = await self._read_request(reader)
        visit.asked(request)
        for refusal in (
            visit.door.policy.refusal(request.host),
            self._guard.port_refusal(request.host, request.port, None),
        ):
            if refusal is not None:
                raise Stop(403, "refused", refusal)
        bound = visit.door.bound(request)
        upstream = await self._reach.connect(request.host, request.port, visit.door.lookups)
        visit.decision = "allowed"
        client = (reader, writer)
        try:
            if bound is not None:
                await self._serve_bound(visit, request, bound, client, upstream)
            elif request.is_tunnel:
                writer.write(_ESTABLISHED)
                await visit.counter.while_moving(
                    pump(reader, upstream[1], visit.counter.went_up),
                    pump(upstream[0], writer, visit.counter.went_down),
                )
            else:
                await visit.counter.while_moving(self._forward(visit, request, client, upstream))
        finally:
            await self._leave(upstream[1])

    async def _serve_bound(
        self, visit: _Visit, request: Request, place: BoundPlace, client: Streams, server: Streams
    ) -> None:
        """To a place that credentials belong to. A tunnel is opened: we are the host towards the client."""
        exchanges = Exchanges(
            place,
            client,
            server,
            visit.counter,
            answer_seconds=self._limits.answer_seconds,
            turns=visit.door.turns,
        )
        visit.exchanges = exchanges
        if not request.is_tunnel:
            await visit.counter.while_moving(exchanges.pass_on(request))
            return
        await self._prove(request.host, server[1])
        client[1].write(_ESTABLISHED)
        assert visit.door.tls is not None
        await client[1].start_tls(visit.door.tls, ssl_handshake_timeout=self._limits.head_seconds)
        await visit.counter.while_moving(self._serve_inside(request, exchanges, client, server))

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

    async def _forward(self, visit: _Visit, request: Request, client: Streams, server: Streams) -> None:
        """One plain request and its answer; then both connections end, so nothing can be smuggled behind it."""
        counter, head = visit.counter, request.head()
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


class _Door:
    """One sandbox's listener."""

    def __init__(
        self,
        policy: Policy,
        lookups: asyncio.Semaphore,
        credentials: Credentials | None,
        lines: Lines,
        pace: Pace,
    ) -> None:
        self.lines = lines
        self.pace = pace
        self.turns = Turns()
        self.policy = policy
        self.lookups = lookups
        self._places: Mapping[Place, BoundPlace] = {} if credentials is None else credentials.places
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
        return self._places.get(Place(is_tls=request.is_tunnel, host=request.host, port=request.port))


class _Visit:
    """One connection, as it will be reported: whom it wanted, what became of it. No paths, no headers."""

    def __init__(self, door: _Door, counter: Counter) -> None:
        self.door = door
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
            told = {"credentials": dict(exchanges.uses), "scrubbed": exchanges.scrubbed}
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
    """As it goes to the server."""
    return json.dumps(fields).encode()
