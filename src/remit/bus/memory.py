"""The live bus of one process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import msgspec

from remit.values import LiveItem

ALL_STREAMS = "*"
ITEMS_MAX = 1_000
BYTES_MAX = 8 << 20
"""In one reader's queue; a larger item finds a place while the queue is empty."""


class MemorySubscription:
    """One reader's queue. Not for several tasks at once."""

    def __init__(self, limit: int) -> None:
        self.is_lagging = False
        self._limit = limit
        self._items: deque[tuple[LiveItem, int]] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> LiveItem:
        while not self._items:
            assert self._waiter is None, "two tasks wait on one subscription"
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item, size_bytes = self._items.popleft()
        self._bytes -= size_bytes
        return item

    def drain(self) -> Sequence[LiveItem]:
        items = [item for item, _ in self._items]
        self._items.clear()
        self._bytes = 0
        return items

    def put(self, item: LiveItem, size_bytes: int) -> None:
        """Put an item into the queue of the subscription; the bus calls this."""
        is_full = len(self._items) >= self._limit or self._bytes + size_bytes > BYTES_MAX
        if self._items and is_full:
            self.is_lagging = True
            return
        self._items.append((item, size_bytes))
        self._bytes += size_bytes
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class MemoryBus:
    """`LiveBus` within one event loop. The reader clears `is_lagging` when it has read the log."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, dict[MemorySubscription, None]] = {}

    def publish(self, item: LiveItem) -> None:
        of_stream = self._subscriptions.get(item.stream_id, ())
        of_all = self._subscriptions.get(ALL_STREAMS, ())
        if not of_stream and not of_all:
            return
        size_bytes = _size_bytes(item)
        for subscription in of_stream:
            subscription.put(item, size_bytes)
        is_hint = item.frame is None
        if is_hint or item.rows or item.is_deleted:
            hint = item if is_hint else msgspec.structs.replace(item, frame=None, frame_type=None)
            for subscription in of_all:
                subscription.put(hint, _size_bytes(hint))

    @asynccontextmanager
    async def subscribe(
        self, stream_id: str, *, limit: int = ITEMS_MAX
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

    def read_streams(self) -> Sequence[str]:
        """The streams that have readers."""
        return list(self._subscriptions)

    def subscriber_count(self, stream_id: str) -> int:
        return len(self._subscriptions.get(stream_id, ()))


def _size_bytes(item: LiveItem) -> int:
    return sum(len(row.body) for row in item.rows) + (0 if item.frame is None else len(item.frame))
