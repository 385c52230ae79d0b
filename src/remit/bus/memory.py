"""The live bus of one process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import msgspec

from remit.values import LiveItem

ALL_STREAMS = "*"


class MemorySubscription:
    """One reader's queue. Not for several tasks at once."""

    def __init__(self, limit: int) -> None:
        self.is_lagging = False
        self._limit = limit
        self._items: deque[LiveItem] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> LiveItem:
        while not self._items:
            assert self._waiter is None, "two tasks wait on one subscription"
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    def drain(self) -> Sequence[LiveItem]:
        items = list(self._items)
        self._items.clear()
        return items

    def put(self, item: LiveItem) -> None:
        """Called by the bus."""
        if len(self._items) >= self._limit:
            self.is_lagging = True
            return
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class MemoryBus:
    """`LiveBus` within one event loop. The reader clears `is_lagging` when it has read the log."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, dict[MemorySubscription, None]] = {}

    def publish(self, item: LiveItem) -> None:
        for subscription in self._subscriptions.get(item.stream_id, ()):
            subscription.put(item)
        of_all = self._subscriptions.get(ALL_STREAMS)
        if not of_all:
            return
        is_hint = item.frame is None
        if is_hint or item.rows or item.is_deleted:
            hint = item if is_hint else msgspec.structs.replace(item, frame=None, frame_type=None)
            for subscription in of_all:
                subscription.put(hint)

    @asynccontextmanager
    async def subscribe(
        self, stream_id: str, *, limit: int = 1000
    ) -> AsyncGenerator[MemorySubscription, None]:
        subscription = MemorySubscription(limit)
        self._subscriptions.setdefault(stream_id, {})[subscription] = None
        try:
            yield subscription
        finally:
            of_stream = self._subscriptions[stream_id]
            del of_stream[subscription]
            if not of_stream:
                del self._subscriptions[stream_id]

    def subscriber_count(self, stream_id: str) -> int:
        return len(self._subscriptions.get(stream_id, ()))
