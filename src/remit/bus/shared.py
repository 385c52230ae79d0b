"""The live bus of a process among several: what others append is looked up, what this one does is told at once.

The streams that somebody here reads are asked for in one statement, ten times a second; none is asked while nobody reads.
A hint per event between processes (NOTIFY) would take a lock of the whole database at each commit. What takes long is
asked for less often, so that looking never costs more than a part of the time. Frames that are live only (deltas) stay in
their process: they are outside the guarantee, and a session is worked on where its sandbox is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from remit.bus.memory import ALL_STREAMS, ITEMS_MAX, MemoryBus, MemorySubscription
from remit.clock import Clock
from remit.errors import StoreUnavailable
from remit.values import LiveItem

LOOK_SECONDS = 0.1
LOOK_SECONDS_MAX = 2.0
PART = 20
"""Looking takes at most one part in so many of the time."""

_log = structlog.get_logger(__name__)


class Positions(Protocol):
    """Knows how far streams have come, whoever appended to them."""

    async def positions(self, stream_ids: Sequence[str]) -> Mapping[str, int]:
        """The last position of each; one that is deleted or unknown is left out."""
        ...


class SharedBus:
    """`LiveBus` over a store that several processes write to. `run` must be running."""

    def __init__(self, positions: Positions, clock: Clock) -> None:
        self._own = MemoryBus()
        self._positions = positions
        self._clock = clock
        self._known: dict[str, int] = {}
        """Of streams that are read here: the last position that was told."""

    def publish(self, item: LiveItem) -> None:
        if item.rows and item.stream_id in self._known:
            self._known[item.stream_id] = max(self._known[item.stream_id], item.rows[-1].seq)
        self._own.publish(item)

    def subscribe(
        self, stream_id: str, *, limit: int = ITEMS_MAX
    ) -> AbstractAsyncContextManager[MemorySubscription]:
        return self._own.subscribe(stream_id, limit=limit)

    def subscriber_count(self, stream_id: str) -> int:
        return self._own.subscriber_count(stream_id)

    async def run(self) -> None:
        """Look for news of other processes until cancelled."""
        while True:
            began = self._clock.monotonic()
            try:
                await self.look()
            except StoreUnavailable:
                _log.warning("bus.look_failed", exc_info=True)
            took = self._clock.monotonic() - began
            await self._clock.sleep(min(LOOK_SECONDS_MAX, max(LOOK_SECONDS, PART * took)))

    async def look(self) -> None:
        """Tell readers of what has come since the last look."""
        read = [stream_id for stream_id in self._own.read_streams() if stream_id != ALL_STREAMS]
        found: Mapping[str, int] = await self._positions.positions(read) if read else {}
        # Who began to read between two looks has read the log itself; the first hint may tell it what it knows.
        before, self._known = self._known, {}
        for stream_id in read:
            seq, known = found.get(stream_id), before.get(stream_id, 0)
            if seq is None:
                if stream_id in before:
                    self._own.publish(LiveItem(stream_id=stream_id, is_deleted=True))
                continue
            self._known[stream_id] = max(seq, known)
            if seq > known:
                self._own.publish(LiveItem(stream_id=stream_id))
