"""The proxy itself: takes connections on listeners that lie inside sandboxes, and makes those that are allowed.

Every name is resolved once, here; every address is judged, and the very address that was judged is connected to.
Standard library only: it runs in a process of its own, away from the server and its keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any  # reports are JSON

from .addresses import Address, is_own
from .heads import HEAD_BYTES_MAX, BadMessage, Request, parse_answer, parse_request
from .policy import Guard, Policy, Refusal
from .relay import BadBody, Counter, Idle, pump, pump_chunks, pump_exactly

_MARK = "X-Remit-Egress"
_REASONS = {
    400: "Bad Request",
    403: "Forbidden by Remit",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

Resolve = Callable[[str], Awaitable[Sequence[Address]]]
Dial = Callable[[Address, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one sandbox may use of the proxy."""

    connections: int = 128
    lookups: int = 16
    """Names being resolved at one time."""
    addresses: int = 4
    """Of one name, tried one after the other."""
    buffer_bytes: int = 65_536
    """Per connection and direction, twice at most."""
    head_seconds: float = 15.0
    """For a client to state its request."""
    lookup_seconds: float = 15.0
    connect_seconds: float = 10.0
    answer_seconds: float = 300.0
    """For a server to state its answer's head."""
    idle_seconds: float = 300.0
    linger_seconds: float = 5.0
    """For the other end to take the last bytes."""


class _Stop(Exception):
    """This connection ends with an answer of the proxy's own."""

    def __init__(self, status: int, decision: str, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.status = status
        self.decision = decision
        self.refusal = refusal


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
        self._resolve_name = resolve or resolve_name
        self._dial = dial or self._connect
        self._is_own = is_own
        self._doors: dict[str, _Door] = {}

    async def open(self, sandbox_id: str, policy: Policy, listener: socket.socket) -> None:
        """Serve on this listener until `forget`."""
        await self.forget(sandbox_id)
        door = _Door(sandbox_id, policy, asyncio.Semaphore(self._limits.lookups))
        self._doors[sandbox_id] = door
        listener.setblocking(False)
        door.server = await asyncio.start_server(
            lambda reader, writer: self._serve(door, reader, writer),
            sock=listener,
            limit=self._limits.buffer_bytes,
        )

    async def forget(self, sandbox_id: str) -> None:
        """Close the listener and what came through it. Idempotent."""
        door = self._doors.pop(sandbox_id, None)
        if door is None:
            return
        if door.server is not None:
            door.server.close()
        for task in door.tasks:
            task.cancel()
        await asyncio.gather(*door.tasks, return_exceptions=True)

    async def close(self) -> None:
        """Forget all."""
        for sandbox_id in list(self._doors):
            await self.forget(sandbox_id)

    # --------------------------------------------------------------------------------------- one connection

    async def _serve(self, door: _Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._doors.get(door.sandbox_id) is not door:
            writer.close()
            return
        door.tasks.add(task)
        visit = _Visit(door, Counter(self._limits.idle_seconds))
        try:
            await self._visit(visit, reader, writer)
        except _Stop as stop:
            visit.decision, visit.reason = stop.decision, stop.refusal.reason
            await self._say(writer, stop)
        except Idle:
            visit.reason = "idle"
            writer.transport.abort()
        except (OSError, EOFError, BadMessage, BadBody, asyncio.LimitOverrunError) as error:
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
                self._report(visit.fields())

    async def _visit(self, visit: _Visit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(visit.door.tasks) > self._limits.connections:
            raise _stop(
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
                raise _Stop(403, "refused", refusal)
        upstream = await self._reach(visit.door, request)
        visit.decision = "allowed"
        try:
            if request.is_tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await visit.counter.while_moving(
                    pump(reader, upstream[1], visit.counter.went_up),
                    pump(upstream[0], writer, visit.counter.went_down),
                )
            else:
                await visit.counter.while_moving(self._forward(visit, request, (reader, writer), upstream))
        finally:
            await self._leave(upstream[1])

    async def _leave(self, writer: asyncio.StreamWriter) -> None:
        """Close, and wait a while for the other end to take what is still to be sent."""
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
            raise _stop(400, "refused", "the request took too long", "State it at once.") from error
        except asyncio.LimitOverrunError as error:
            raise _head_too_large() from error
        if len(data) > HEAD_BYTES_MAX:
            raise _head_too_large()
        try:
            return parse_request(data)
        except BadMessage as error:
            raise _stop(400, "refused", str(error), "Send plain HTTP/1.1.") from error

    async def _reach(self, door: _Door, request: Request) -> Streams:
        """Resolve, judge, connect to what was judged."""
        addresses = await self._addresses(door, request.host)
        refusal: Refusal | None = None
        failure: BaseException | None = None
        for address in addresses[: self._limits.addresses]:
            judged = self._guard.address_refusal(
                request.host, request.port, address, is_own=self._is_own(address)
            )
            if judged is not None:
                refusal = judged
                continue
            try:
                async with asyncio.timeout(self._limits.connect_seconds):
                    return await self._dial(address, request.port)
            except OSError as error:  # a TimeoutError is one
                failure = error
        if failure is None and refusal is not None:
            raise _Stop(403, "refused", refusal)
        is_timeout = isinstance(failure, TimeoutError)
        raise _stop(
            504 if is_timeout else 502,
            "failed",
            f"{request.host} {'does not answer' if is_timeout else 'refused the connection'}",
            "It may be down; try again later.",
        ) from failure

    async def _addresses(self, door: _Door, host: str) -> Sequence[Address]:
        with contextlib.suppress(ValueError):
            return [ipaddress.ip_address(host)]
        try:
            async with asyncio.timeout(self._limits.lookup_seconds):
                await door.lookups.acquire()
                lookup = asyncio.ensure_future(self._resolve_name(host))
                # A thread that resolves cannot be stopped: it counts until it has ended.
                lookup.add_done_callback(
                    lambda done: (door.lookups.release(), done.cancelled() or done.exception())
                )
                return await asyncio.shield(lookup)
        except TimeoutError as error:
            raise _stop(504, "failed", f"{host} could not be resolved in time", "Try again later.") from error
        except OSError as error:
            raise _stop(502, "failed", f"{host} cannot be resolved", "Check the name.") from error

    async def _connect(self, address: Address, port: int) -> Streams:
        return await asyncio.open_connection(str(address), port, limit=self._limits.buffer_bytes)

    async def _forward(self, visit: _Visit, request: Request, client: Streams, server: Streams) -> None:
        """One plain request and its answer; then both connections end, so nothing can be smuggled behind it."""
        counter = visit.counter
        server[1].write(request.head)
        counter.went_up(len(request.head))
        upload = asyncio.ensure_future(self._send_body(request, client[0], server[1], counter))
        try:
            answer = await self._read_answer(visit, server[0])
            while answer.status < 200:
                client[1].write(answer.head)
                answer = await self._read_answer(visit, server[0])
            client[1].write(answer.head)
            counter.went_down(len(answer.head))
            await pump(server[0], client[1], counter.went_down)
        finally:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)

    async def _send_body(
        self,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        counter: Counter,
    ) -> None:
        try:
            if request.body is None:
                await pump_chunks(reader, writer, counter.went_up)
            else:
                await pump_exactly(reader, writer, request.body, counter.went_up)
        except (EOFError, BadBody, asyncio.LimitOverrunError):
            writer.transport.abort()  # half a body must not look like a whole one
        except OSError:
            return  # the server wants no more of it; its answer says why

    async def _read_answer(self, visit: _Visit, reader: asyncio.StreamReader) -> Any:
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return parse_answer(await reader.readuntil(b"\r\n\r\n"))
        except TimeoutError as error:
            raise _stop(504, "failed", f"{visit.host} does not answer", "Try again later.") from error
        except (OSError, EOFError, BadMessage, asyncio.LimitOverrunError) as error:
            raise _stop(
                502, "failed", f"{visit.host} gave no HTTP answer", "Is it an HTTP server?"
            ) from error

    async def _say(self, writer: asyncio.StreamWriter, stop: _Stop) -> None:
        refusal = stop.refusal
        reason = f"{_REASONS[stop.status]}: {refusal.reason}"
        text = f"Remit's egress proxy: {refusal.reason}. {refusal.mend}\n".encode()
        head = (
            f"HTTP/1.1 {stop.status} {reason}\r\n{_MARK}: {stop.decision}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.head_seconds):
                writer.write(head.encode("ascii", "replace") + text)
                await writer.drain()
                writer.write_eof()


class _Door:
    """One sandbox's listener."""

    def __init__(self, sandbox_id: str, policy: Policy, lookups: asyncio.Semaphore) -> None:
        self.sandbox_id = sandbox_id
        self.policy = policy
        self.lookups = lookups
        self.server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()


class _Visit:
    """One connection, as it will be reported: whom it wanted, what became of it. No paths, no headers."""

    def __init__(self, door: _Door, counter: Counter) -> None:
        self.door = door
        self.counter = counter
        self.decision = "refused"
        self.reason: str | None = None
        self.host: str | None = None
        self._port: int | None = None
        self._is_tunnel = False
        self._began = time.monotonic()

    def asked(self, request: Request) -> None:
        """The client has said what it wants."""
        self.host, self._port, self._is_tunnel = request.host, request.port, request.is_tunnel

    def fields(self) -> dict[str, Any]:
        """For the log."""
        return {
            "sandbox_id": self.door.sandbox_id,
            "host": self.host,
            "port": self._port,
            "is_tunnel": self._is_tunnel,
            "decision": self.decision,
            "reason": self.reason,
            "bytes_up": self.counter.up,
            "bytes_down": self.counter.down,
            "seconds": round(time.monotonic() - self._began, 3),
        }


def _stop(status: int, decision: str, reason: str, mend: str) -> _Stop:
    return _Stop(status, decision, Refusal(reason=reason, mend=mend))


def _head_too_large() -> _Stop:
    return _stop(431, "refused", "the request's head is too large", f"At most {HEAD_BYTES_MAX} bytes.")


async def resolve_name(host: str) -> Sequence[Address]:
    """The machine's own resolver, in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A zone ("fe80::1%eth0") is no part of what is judged, and such an address is refused anyway.
    texts = [str(entry[4][0]).partition("%")[0] for entry in found]
    return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]


def encode_report(fields: dict[str, Any]) -> bytes:
    """As it goes to the server."""
    return json.dumps(fields).encode()
