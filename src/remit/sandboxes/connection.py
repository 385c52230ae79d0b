"""The host's end of a sandbox's control socket: calls by number, answers as futures."""

from __future__ import annotations

import asyncio
import socket
from typing import Any  # an answer's header is checked where it is used

import msgspec

from remit.errors import SandboxLost, SandboxRefused
from remit.sandboxes.guest.frames import FrameError, FrameReader, pack
from remit.values import JsonObject

ANSWER_SECONDS = 20.0
"""A daemon that does not answer a ping for so long is lost."""


class GuestAnswer(msgspec.Struct, frozen=True):
    """The guest's answer to a request."""

    header: dict[str, Any]
    payload: bytes


class GuestConnection(asyncio.Protocol):
    """One control socket. Everything fails with SandboxLost once it has closed."""

    def __init__(self, sandbox_id: str) -> None:
        self._sandbox_id = sandbox_id
        self._reader = FrameReader()
        self._number = 0
        self._waiting: dict[int, asyncio.Future[GuestAnswer]] = {}
        self._transport: asyncio.Transport | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._lost = asyncio.Event()

    @classmethod
    async def open(cls, sandbox_id: str, control: socket.socket) -> GuestConnection:
        """Take over the socket."""
        control.setblocking(False)
        loop = asyncio.get_running_loop()
        connection = cls(sandbox_id)
        await loop.create_connection(lambda: connection, sock=control)
        return connection

    async def call(
        self, operation: str, fields: JsonObject, payload: bytes = b"", *, patience_seconds: float
    ) -> GuestAnswer:
        """Ask and wait. After `patience_seconds` the daemon is pinged from time to time; silent, it is lost.

        Raises SandboxLost, SandboxRefused.
        """
        self._number += 1
        number = self._number
        answer: asyncio.Future[GuestAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._send(pack(msgspec.json.encode({"id": number, "op": operation, **fields}), payload))
            while not answer.done():
                await asyncio.wait({answer}, timeout=patience_seconds)
                if not answer.done() and operation != "ping":
                    await self._ping()
                elif not answer.done():
                    raise self._mourn()
            return _checked(answer.result(), self._sandbox_id)
        finally:
            self._waiting.pop(number, None)

    @property
    def is_lost(self) -> bool:
        """Return whether the connection has ended."""
        return self._lost.is_set()

    async def wait_lost(self) -> None:
        """Return when the connection has ended."""
        await self._lost.wait()

    def close(self) -> None:
        """End it; the daemon kills everything and leaves."""
        if self._transport is not None:
            self._transport.abort()

    async def _ping(self) -> None:
        await self.call("ping", {}, patience_seconds=ANSWER_SECONDS)

    async def _send(self, frame: bytes) -> None:
        await self._can_write.wait()
        if self._transport is None or self._lost.is_set():
            raise self._mourn()
        self._transport.write(frame)

    def _mourn(self) -> SandboxLost:
        self.close()
        return SandboxLost(f"sandbox {self._sandbox_id!r} has died or does not answer")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for header, payload in self._reader.feed(data):
                answer = GuestAnswer(msgspec.json.decode(header, type=dict[str, Any]), payload)
                waiting = self._waiting.get(answer.header.get("id", 0))
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (FrameError, msgspec.DecodeError):
            self.close()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._can_write.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._mourn())
                waiting.exception()  # seen: a waiter that was cancelled will not look


def _checked(answer: GuestAnswer, sandbox_id: str) -> GuestAnswer:
    refused = answer.header.get("refused")
    if refused is not None:
        raise SandboxRefused(str(refused))
    failed = answer.header.get("failed")
    if failed is not None:
        raise SandboxRefused(f"sandbox {sandbox_id!r} could not do that: {failed}")
    return answer
