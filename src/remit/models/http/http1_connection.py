"""One connection that speaks HTTP/1.1, and the answer that comes over it.

h11 reads heads, `http1_body` the rest. There is no task, no timer and no lock per piece: a reader takes everything that
has come since it last looked, so the busier the process is, the less a piece costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

import h11

from remit.models.http.http1_body import BadBody, Body, Inflater, LengthBody, body_of
from remit.models.http.transport import TransportFailed
from remit.values import Reach

HEAD_BYTES_MAX = 64 << 10
UNREAD_BYTES_MAX = 64 << 10
"""What is kept for a reader that does not read before the sender is stopped (one more read of the socket may come)."""
SWITCHING_PROTOCOLS = 101


class Http1Connection(asyncio.BufferedProtocol):
    """A connection, and the answer that comes over it now; implements `transport.Answer`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        buffer: memoryview,
        on_free: Callable[[Http1Connection], None],
        on_lost: Callable[[Http1Connection], None],
    ) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._loop = loop
        self._buffer = buffer
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._head: h11.Connection | None = None
        """Reads the head, until it is there."""
        self._body: Body = LengthBody(0)
        self._can_be_kept = False
        self._pieces: list[bytes] = []
        self._unread_bytes = 0
        self._inflater: Inflater | None = None
        self._is_in_use = False
        self._is_over = False
        self._is_paused = False
        self._failure: TransportFailed | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._silence_seconds = 0.0
        self._moved_at = 0.0
        """When a byte came or went, or somebody began to wait for one."""
        self._unsent_bytes = 0
        self._is_unsent = False
        """Some of the request still waits to leave. Once a connection breaks, its transport no longer says so."""
        self._is_heard = False

    # ------------------------------------------------------------------------------------ one exchange

    @property
    def is_usable(self) -> bool:
        """Return whether the connection can carry another request."""
        return not self._transport.is_closing()

    @property
    def unread_bytes(self) -> int | None:
        """See Answer.unread_bytes. A sender that was stopped may have filled what is in between."""
        return None if self._is_paused or self._inflater is not None else self._unread_bytes

    @property
    def reach(self) -> Reach:
        """Return how far the request that was begun has come."""
        if self.status != 0:
            return "answered"
        if self._is_heard:
            return "heard"
        return "unsent" if self._is_unsent else "sent"

    def begin(self, request: h11.Request, body: bytes, *, deadline: float, silence_seconds: float) -> None:
        """Send a request. Raises h11.LocalProtocolError."""
        self._head = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        head = self._head.send(request) or b""
        self._is_in_use, self._is_over = True, False
        self._is_heard = False
        self._inflater = None
        self.status = 0
        self._deadline, self._silence_seconds = deadline, silence_seconds
        self._moved_at = self._loop.time()
        self._transport.write(head + body)
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._set_alarm(min(deadline, self._moved_at + silence_seconds))

    async def head(self) -> None:
        """Return when status and headers are there. Raises TransportFailed."""
        while self.status == 0:
            if self._failure is not None:
                raise self._failure
            await self._wait()
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._inflater = Inflater()
        elif encoding not in ("", "identity"):
            raise TransportFailed("broken", f"the content-encoding {encoding!r}, which was not asked for")

    def be_patient(self, silence_seconds: float) -> None:
        """See Answer.be_patient."""
        self._silence_seconds = silence_seconds
        if not self._is_over and self.is_usable:
            self._set_alarm(min(self._deadline, self._moved_at + silence_seconds))

    async def read(self) -> bytes:
        """See Answer.read."""
        while True:
            if self._inflater is not None and (inflated := self._inflated(self._inflater)):
                return inflated
            if self._pieces:
                piece = self._taken()
                if self._inflater is None:
                    return piece
                self._inflater.feed(piece)
            elif self._failure is not None:
                raise self._failure
            elif self._is_over:
                return b""
            else:
                await self._wait()

    def _inflated(self, inflater: Inflater) -> bytes:
        try:
            return inflater.more()
        except BadBody as error:
            raise TransportFailed("broken", str(error)) from error

    async def close(self) -> None:
        """See Answer.close."""
        is_clean = self._is_over and not self._pieces and not self._body.is_overrun
        is_sent = self._transport.get_write_buffer_size() == 0
        if self._can_be_kept and is_clean and is_sent and self.is_usable:
            self._on_free(self)
        else:
            self.abort()

    def rest(self, seconds: float) -> None:
        """Wait so long for another request."""
        self._is_in_use = False
        self._set_alarm(self._loop.time() + seconds)

    def abort(self) -> None:
        """Drop it now."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._transport.abort()

    def _taken(self) -> bytes:
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._unread_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    async def _wait(self) -> None:
        assert self._waiter is None, "an answer has one reader"
        self._moved_at = self._loop.time()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: TransportFailed) -> None:
        if self._failure is None:
            self._failure = failure
        self.abort()
        self._wake()

    # ------------------------------------------------------------------------------------ time

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """The one timer of a connection: it looks now and then what has moved, so that no piece has to set one."""
        self._alarm = None
        now = self._loop.time()
        if not self._is_in_use:
            self._transport.abort()
        elif now >= self._deadline:
            self._fail(TransportFailed("late"))
        else:
            unsent_bytes = self._transport.get_write_buffer_size()
            if self._waiter is None or unsent_bytes != self._unsent_bytes:
                self._moved_at = now
            self._unsent_bytes = unsent_bytes
            silent_at = self._moved_at + self._silence_seconds
            if now >= silent_at:
                self._fail(TransportFailed("silent"))
            else:
                self._set_alarm(min(self._deadline, silent_at))

    # ------------------------------------------------------------------------------------ asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Cast: what create_connection makes can be written to; pyright knows only the base.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(
            high=1, low=0
        )  # the next two are to be told of every byte that waits

    def pause_writing(self) -> None:
        self._is_unsent = True

    def resume_writing(self) -> None:
        self._is_unsent = False

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._is_in_use or self._is_over:
            self.abort()  # nobody asked for anything
            return
        self._moved_at = self._loop.time()
        try:
            self._take(bytes(self._buffer[:nbytes]))
        except (h11.RemoteProtocolError, BadBody) as error:
            self._is_heard = True
            self._fail(TransportFailed("broken", str(error)))
        if self._unread_bytes > UNREAD_BYTES_MAX and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        # The end of an answer without a length, and a break of any other.
        if not self._is_in_use or self._is_over or self._head is not None:
            return
        try:
            self._body.end()
            self._is_over = True
            self._wake()
        except BadBody as error:
            self._fail(TransportFailed("broken", str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)
        if self._is_in_use and not self._is_over:
            self._fail(TransportFailed("broken", str(exc or "closed")))
        elif self._alarm is not None:
            self._alarm.cancel()

    def _take(self, data: bytes) -> None:
        if self._head is not None:
            behind = self._take_head(self._head, data)
            if behind is None:
                return
            self._head, data = None, behind
        content = self._body.feed(data)
        self._is_over = self._body.is_over
        if content:
            self._pieces.append(content)
            self._unread_bytes += len(content)

    def _take_head(self, reader: h11.Connection, data: bytes) -> bytes | None:
        """What stands behind the head, once it is whole."""
        reader.receive_data(data)
        while isinstance(event := reader.next_event(), h11.InformationalResponse):
            if event.status_code == SWITCHING_PROTOCOLS:
                raise h11.RemoteProtocolError("it changes the protocol")
        if not isinstance(event, h11.Response):
            return None
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self.headers = headers
        self.status = event.status_code
        self._body = body_of(self.status, self.headers)
        says_close = "close" in self.headers.get("connection", "").lower()
        self._can_be_kept = event.http_version == b"1.1" and not says_close
        return reader.trailing_data[0]
