"""A page kept up to date: server-sent patches, made from the event streams of the public API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

import anyio
import anyio.abc
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from remit.client.asgi import Receive, Send
from remit.client.client import AsyncClient
from remit.client.errors import ApiError, ConnectionLost
from remit.client.stream import EventStream
from remit.clock import Clock
from remit.console.transcript import Patch
from remit.console.views import View
from remit.schema.streams import REMIT
from remit.wording import Json

REFRESH_SECONDS = 0.3
"""At most so often is asked again for what events do not carry: money, verdicts."""
LIST_SECONDS = 2.0
"""How often a page without streams of its own is looked up again."""
LIVE_SECONDS_MAX = 300.0
"""Then the browser comes again, and must show a token that is still good."""
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 1_000
QUEUE_EVENTS = 256

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)

_Sender = MemoryObjectSendStream[tuple[str, Json]]
_Receiver = MemoryObjectReceiveStream[tuple[str, Json]]
_Write = Callable[[bytes], Awaitable[None]]


class Live:
    """One browser that watches. The view is loaded and followed by the token of its page."""

    def __init__(self, view: View, client: AsyncClient, clock: Clock, *, shown: Mapping[str, str]) -> None:
        self._view = view
        self._client = client
        self._clock = clock
        self._shown = shown
        self._sections: dict[str, str] = {}
        self._followed: set[str] = set()

    async def respond(self, receive: Receive, send: Send, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer the request, until the browser leaves, everything is over, or it is time to come again."""
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]})
        lock = anyio.Lock()

        async def write(frames: bytes) -> None:
            async with lock:
                await send({"type": "http.response.body", "body": frames, "more_body": True})

        with anyio.move_on_after(LIVE_SECONDS_MAX):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_watch_for_disconnect, receive, tasks.cancel_scope)
                tasks.start_soon(self._beat, write)
                await write(b"retry: %d\n\n" % RETRY_MILLISECONDS)
                await self._follow(write, tasks)
                tasks.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, write: _Write, tasks: anyio.abc.TaskGroup) -> None:
        sender, receiver = anyio.create_memory_object_stream[tuple[str, Json]](QUEUE_EVENTS)
        async with sender, receiver:
            try:
                await self._write(write, [*self._view.since(self._shown), *self._view.sections()])
                while not self._view.is_over:
                    self._start_readers(sender, tasks)
                    await self._write(write, await self._next(receiver))
                    await self._clock.sleep(REFRESH_SECONDS)
                    patches = self._drain(receiver)
                    patches += await self._view.refresh(self._client)
                    await self._write(write, [*patches, *self._view.sections()])
                # The last events of its sessions may still be on their way.
                await self._clock.sleep(REFRESH_SECONDS)
                await self._write(write, self._drain(receiver))
            except (ApiError, ConnectionLost):
                # Deleted, revoked, or the server is going: the browser comes again and is told by the page's status.
                return
            await write(b"event: over\ndata: {}\n\n")

    async def _next(self, receiver: _Receiver) -> list[Patch]:
        """Wait until something happened."""
        if not self._followed:
            await self._clock.sleep(LIST_SECONDS)
            return []
        stream_id, event = await receiver.receive()
        return [*self._view.take(stream_id, event), *self._drain(receiver)]

    def _drain(self, receiver: _Receiver) -> list[Patch]:
        patches: list[Patch] = []
        while receiver.statistics().current_buffer_used:
            stream_id, event = receiver.receive_nowait()
            patches += self._view.take(stream_id, event)
        return patches

    def _start_readers(self, sender: _Sender, tasks: anyio.abc.TaskGroup) -> None:
        for stream_id, cursor in self._view.cursors.items():
            if stream_id not in self._followed:
                self._followed.add(stream_id)
                tasks.start_soon(self._read, stream_id, cursor, sender, tasks.cancel_scope)

    async def _read(self, stream_id: str, cursor: str, sender: _Sender, scope: anyio.CancelScope) -> None:
        try:
            async with self._stream(stream_id, cursor) as stream:
                async for event in stream:
                    await sender.send((stream_id, event))
        except (ApiError, ConnectionLost):
            scope.cancel()  # the browser comes again

    def _stream(self, stream_id: str, cursor: str) -> EventStream:
        if REMIT.is_of(stream_id):
            return self._client.remits.stream(stream_id, after=cursor)
        return self._client.sessions.stream(stream_id, after=cursor)

    async def _write(self, write: _Write, patches: Sequence[Patch]) -> None:
        """Send what is news, with the place to come back to."""
        news = [patch for patch in patches if self._is_news(patch)]
        if not news:
            return
        frames = [
            b"event: patch\ndata: %b\n\n"
            % msgspec.json.encode({"id": patch.id, "into": patch.into, "html": str(patch.html)})
            for patch in news
        ]
        frames.append(b"id: %b\nevent: seen\ndata: {}\n\n" % encode_cursors(self._view.cursors).encode())
        await write(b"".join(frames))

    def _is_news(self, patch: Patch) -> bool:
        if patch.into is not None:
            return True
        is_news = self._sections.get(patch.id) != patch.html
        self._sections[patch.id] = patch.html
        return is_news

    async def _beat(self, write: _Write) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_SECONDS)
            await write(b": heartbeat\n\n")


def encode_cursors(cursors: Mapping[str, str]) -> str:
    """Encode cursors as an SSE id or a query parameter."""
    return "~".join(f"{stream_id}.{event_id}" for stream_id, event_id in cursors.items())


def decode_cursors(text: str) -> dict[str, str]:
    """Decode cursors, leaving out what cannot be read; a stream without one is shown from its beginning."""
    pairs = (part.partition(".") for part in text.split("~"))
    return {stream_id: event_id for stream_id, dot, event_id in pairs if dot}


async def _watch_for_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while cast("Json", await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
