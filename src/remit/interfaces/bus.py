"""What is heard at once, and may be missed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from remit.values import LiveItem


class LiveBus(Protocol):
    """Hints and live-only frames. Lossy by contract: readers close gaps from the log."""

    def publish(self, item: LiveItem) -> None:
        """Never blocks, never raises. Only after what it tells of is durable."""
        ...

    def subscribe(
        self, stream_id: str, *, limit: int = 1000
    ) -> AbstractAsyncContextManager[LiveSubscription]:
        """Registered when entered. `stream_id="*"`: hints of all streams (without frames)."""
        ...

    def subscriber_count(self, stream_id: str) -> int:
        """Return how many readers this process has for the stream."""
        ...


class LiveSubscription(Protocol):
    """One reader's bounded queue. When it overflows, items are dropped and `is_lagging` is set: read the log."""

    is_lagging: bool

    async def next(self) -> LiveItem:
        """Wait for the next item."""
        ...

    def drain(self) -> Sequence[LiveItem]:
        """Return the items that are there now, without waiting."""
        ...
