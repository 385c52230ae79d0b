"""An event stream that survives its connection: it goes on after the last event it gave, from its cursor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

import httpx2
import msgspec

from remit.client.errors import ConnectionLost, RateLimitError, ServerError, stream_error
from remit.clock import Clock

RECONNECTS_MAX = 8
"""Attempts in a row without one event; then the stream gives up with ConnectionLost."""
BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 5.0

EVENT_BYTES_MAX = 64 << 20

JsonObject = Mapping[str, Any]  # Any: JSON as the server sent it; new fields are no error
Open = Callable[[str | None], AbstractAsyncContextManager[httpx2.Response]]
"""Opens the stream after a cursor; raises ApiError for an error answer."""


class EventStream:
    """Iterate over it once, inside `async with`. `cursor` is where another stream would have to begin.

    `after=None` is "from now on". Such a stream cannot be resumed before its first event, and says so.
    Raises ApiError when the server refuses, ConnectionLost when it stays away.
    """

    def __init__(
        self,
        open: Open,
        *,
        after: str | None,
        clock: Clock,
        reconnects_max: int,
        last_types: Sequence[str] = (),
    ) -> None:
        """`last_types` are those of the operation."""
        self._open = open
        self._clock = clock
        self._reconnects_max = reconnects_max
        self._last_types = frozenset(last_types)
        self.cursor = after
        self._events = self._follow()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[JsonObject]:
        return self._events.__anext__()

    async def aclose(self) -> None:
        """Leave the stream."""
        await self._events.aclose()

    async def _follow(self) -> AsyncGenerator[JsonObject]:
        failures, is_over = 0, False
        while True:
            cause: Exception | None = None
            try:
                async with self._open(self.cursor) as response:
                    async for frame in httpx2.EventSource(response, max_event_size=EVENT_BYTES_MAX):
                        if frame.event == "ping" or not frame.data:
                            continue
                        event = _decode(frame)
                        failures = 0
                        # Before the event is handed out: a reader that stops here has had it.
                        self.cursor = frame.id or self.cursor
                        is_over = event.get("type") in self._last_types
                        yield event
            except (httpx2.TransportError, RateLimitError, ServerError) as error:
                cause = error
            if is_over:
                return
            failures += 1
            if self.cursor is None:
                raise ConnectionLost("The stream broke off before its first event.") from cause
            if failures > self._reconnects_max:
                raise ConnectionLost(
                    f"The event stream broke off and could not be resumed in {self._reconnects_max} attempts."
                ) from cause
            await self._clock.sleep(min(BACKOFF_SECONDS * 2 ** (failures - 1), BACKOFF_SECONDS_MAX))


def _decode(frame: httpx2.ServerSentEvent) -> JsonObject:
    event = msgspec.json.decode(frame.data, type=dict[str, Any])
    if frame.event == "error":
        raise stream_error(event)
    return event
