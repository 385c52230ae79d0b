"""Server-sent events of any stream: replay from the log, then live, without a gap and without a duplicate.

The reader is registered on the bus before the log is read and before the headers go out. From then on `position` is the
last row accounted for; a hint that does not follow on it sends the reader to the log. A row's bytes are sent as they
were encoded at append.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from typing import TypeVar

import anyio
import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from remit.errors import NotFound, RateLimited, RemitError
from remit.interfaces import LiveSubscription
from remit.schema.events import EventsAfter
from remit.server.edge.auth import authenticate
from remit.server.edge.errors import answer
from remit.server.operations.requests import until_left
from remit.server.operations.router import Call
from remit.server.operations.services import Services
from remit.server.streams.cursors import StreamCursors
from remit.streams.reading import read_on
from remit.values import EventRow, LiveItem

RECHECK_SECONDS = 5.0
"""How late an event may be whose hint was lost: the bus may lose things, the log does not."""
READERS_PER_STREAM_MAX = 1_000
FULL_RETRY_SECONDS = 5.0
WRITE_BYTES = 256 << 10
"""Frames that are ready together are written together, up to this much at once."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

A = TypeVar("A", bound=EventsAfter)
_log = structlog.get_logger(__name__)

Selects = Callable[[str], bool]
"""Whether events of this type are shown."""


def every_type(type: str) -> bool:
    """Show all."""
    return True


async def stream_response(
    services: Services,
    call: Call[None, A],
    stream_id: str,
    *,
    last_types: Collection[str],
    went_on_at_seq: int = 0,
    selects: Selects = every_type,
    deltas: Collection[str] = (),
) -> EventStreamResponse:
    """The answer to a stream request: reads `after` and `Last-Event-ID` (which wins: it is newer when a browser
    reconnects). Ends after an event of `last_types`, unless it stands before `went_on_at_seq`: the
    stream was opened again there. Raises NotFound, InvalidRequest before any header."""
    principal = call.principal
    await services.sessions.head(principal, stream_id)
    if services.bus.subscriber_count(stream_id) >= READERS_PER_STREAM_MAX:
        raise RateLimited(
            f"{stream_id!r} has {READERS_PER_STREAM_MAX} readers already; try again when some have left.",
            retry_after_seconds=FULL_RETRY_SECONDS,
        )
    after = call.request.headers.get("last-event-id") or call.query.after
    cursors = StreamCursors(stream_id)
    after_seq = await cursors.resolve(after, services.sessions, principal) if after is not None else None
    return EventStreamResponse(
        services,
        call,
        stream_id,
        cursors=cursors,
        after_seq=after_seq,
        last_types=frozenset(last_types),
        went_on_at_seq=went_on_at_seq,
        selects=selects,
        deltas=frozenset(deltas),
    )


class EventStreamResponse:
    """An ASGI response that follows one stream until its last event or until the reader leaves."""

    def __init__(
        self,
        services: Services,
        call: Call[None, A],
        stream_id: str,
        *,
        cursors: StreamCursors,
        after_seq: int | None,
        last_types: frozenset[str],
        went_on_at_seq: int,
        selects: Selects,
        deltas: frozenset[str],
    ) -> None:
        self._services = services
        self._headers = call.request.headers
        self._principal = call.principal
        self._request_id = call.request_id
        self._stream_id = stream_id
        self._cursors = cursors
        self._after_seq = after_seq
        self._last_types = last_types
        self._went_on_at_seq = went_on_at_seq
        self._selects = selects
        self._previews = FollowedPreviews(deltas)
        self._position = 0
        self._is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": b""})
            return
        async with self._services.bus.subscribe(self._stream_id) as subscription:
            head = await self._services.sessions.head(self._principal, self._stream_id)
            self._position = head.seq if self._after_seq is None else self._after_seq
            writer = SseWriter(send)
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            # A first byte at once: readers know that they are registered.
            await writer.write([b": open\n\n"])
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(until_left, receive, tasks.cancel_scope)
                tasks.start_soon(self._beat, writer, tasks.cancel_scope)
                await self._follow(subscription, writer)
                await writer.close()
                tasks.cancel_scope.cancel()

    async def _follow(self, subscription: LiveSubscription, writer: SseWriter) -> None:
        try:
            if self._after_seq is not None:
                await self._catch_up(writer)
            while not self._is_over:
                items: list[LiveItem] = []
                with anyio.move_on_after(RECHECK_SECONDS):
                    items = [await subscription.next(), *subscription.drain()]
                if not items:
                    await self._catch_up(writer)
                    continue
                is_lagging, subscription.is_lagging = subscription.is_lagging, False
                await self._take(items, writer)
                if is_lagging:
                    self._previews.forget()
                    await self._catch_up(writer)
        except NotFound:
            # Deleted before the log was read: what the bus still holds, the last event among it, is all there is.
            frames: list[bytes] = []
            for item in subscription.drain():
                self._add_rows(item.rows, frames)
            await writer.write(frames)
        except Exception as error:
            # The headers are out: the failure goes as the stream's own error event, and the reader comes again.
            if not isinstance(error, RemitError):
                _log.exception("stream_failed", request_id=self._request_id, stream_id=self._stream_id)
            await self._say_failure(error, writer)

    async def _say_failure(self, error: Exception, writer: SseWriter) -> None:
        body = answer(error, self._request_id).body
        await writer.write([b"event: error\ndata: " + body + b"\n\n"])

    async def _take(self, items: Sequence[LiveItem], writer: SseWriter) -> None:
        frames: list[bytes] = []
        for item in items:
            last_seq = item.rows[-1].seq if item.rows else None
            is_news = last_seq is None or last_seq > self._position
            if item.rows and item.rows[0].seq <= self._position + 1:
                self._add_rows(item.rows, frames)
            elif item.rows or (item.frame is None and not item.is_deleted):
                await writer.write(frames)
                frames = []
                await self._catch_up(writer)
                self._position = max(self._position, last_seq or 0)
            if item.frame is not None and is_news:
                self._add_live(item, frames)
            if item.is_deleted:
                self._is_over = True
            if self._is_over:
                break
        await writer.write(frames)

    async def _catch_up(self, writer: SseWriter) -> None:
        """Send every public row after `position` that is durable now."""
        pieces = read_on(
            self._services.sessions,
            self._principal,
            self._stream_id,
            after_seq=self._position,
            visibility="public",
        )
        async with aclosing(pieces):
            async for rows in pieces:
                frames: list[bytes] = []
                self._add_rows(rows, frames)
                await writer.write(frames)
                if self._is_over:
                    return

    def _add_rows(self, rows: Sequence[EventRow], frames: list[bytes]) -> None:
        for row in rows:
            if row.seq <= self._position or self._is_over:
                continue
            self._position = row.seq
            if row.visibility != "public":
                continue
            self._previews.ended(row)
            self._is_over = row.type in self._last_types and row.seq >= self._went_on_at_seq
            if self._selects(row.type):
                frames.append(
                    b"event: %b\nid: %b\ndata: %b\n\n"
                    % (row.type.encode(), self._cursors.encode(row.seq), row.body)
                )

    def _add_live(self, item: LiveItem, frames: list[bytes]) -> None:
        assert item.frame is not None
        assert item.frame_type is not None  # a frame has a type
        if item.frame_type in PREVIEW_TYPES:
            if not self._previews.wants(item.frame_type, item.frame):
                return
        elif not self._selects(item.frame_type):
            return
        # No id: what is live only is no place to come back to.
        frames.append(b"event: %b\ndata: %b\n\n" % (item.frame_type.encode(), item.frame))

    async def _beat(self, writer: SseWriter, stream: anyio.CancelScope) -> None:
        """Signs of life, for as long as the reader's key opens the API: one that was revoked or has expired ends it."""
        services = self._services
        while True:
            await services.clock.sleep(services.settings.heartbeat_seconds)
            try:
                await authenticate(self._headers, services.catalog, services.clock)
            except RemitError as error:
                await self._say_failure(error, writer)
                await writer.close()
                stream.cancel()
                return
            await writer.write([b": heartbeat\n\n"])


class SseWriter:
    """Writes frames of concurrent tasks whole, many at a time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        # Not anyio's: that lets the whole loop run once before each write.
        self._lock = asyncio.Lock()

    async def write(self, frames: Iterable[bytes]) -> None:
        """Returns when the connection has taken them."""
        whole = b"".join(frames)
        async with self._lock:
            for start in range(0, len(whole), WRITE_BYTES):
                body = whole[start : start + WRITE_BYTES]
                await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def close(self) -> None:
        """End the body."""
        async with self._lock:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


PREVIEW_TYPES = frozenset({"event_start", "event_delta"})


class _Named(msgspec.Struct):
    type: str
    id: str


class _PreviewFrame(msgspec.Struct):
    event: _Named | None = None
    event_id: str | None = None


class FollowedPreviews:
    """The previews that this reader follows: those whose start it saw, of the types it asked for."""

    def __init__(self, types: frozenset[str]) -> None:
        self._types = types
        self._open: set[str] = set()

    def wants(self, frame_type: str, frame: bytes) -> bool:
        """Return whether to pass this frame on."""
        if not self._types:
            return False
        preview = msgspec.json.decode(frame, type=_PreviewFrame)
        if frame_type == "event_start" and preview.event is not None and preview.event.type in self._types:
            self._open.add(preview.event.id)
            return True
        return preview.event_id in self._open

    def ended(self, row: EventRow) -> None:
        """End a preview: its event is there, or its model call ended without one."""
        self._open.discard(row.event_id)
        if row.type == "span.model_request_end":
            self._open.clear()

    def forget(self) -> None:
        """Frames may have been lost: a preview with a hole is worse than none."""
        self._open.clear()
