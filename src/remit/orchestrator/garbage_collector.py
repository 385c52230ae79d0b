"""The collection: what nobody needs or uses any more is removed, a while after a start and then every few hours.

Each collector knows one sort of things, and who may still need or use them: they work beside everything else. None of
them is asked for on the way of any request or turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from remit.clock import Clock
from remit.errors import StoreUnavailable
from remit.interfaces import Collector
from remit.values import Collected

START_SECONDS = 10.0
"""After a start others come first, and a short command is over before."""
EVERY_SECONDS = 6 * 3_600.0

_log = structlog.get_logger(__name__)


class GarbageCollector:
    """Runs collectors one after the other."""

    def __init__(self, collectors: Sequence[Collector], clock: Clock) -> None:
        self._collectors = collectors
        self._clock = clock

    async def run(self) -> None:
        """Collect from time to time until cancelled."""
        await self._clock.sleep(START_SECONDS)
        while True:
            await self.collect()
            await self._clock.sleep(EVERY_SECONDS)

    async def collect(self) -> Sequence[Collected]:
        """Run all collectors once. What cannot be collected now can be in the next round."""
        collected: list[Collected] = []
        for collector in self._collectors:
            try:
                collected += await collector.collect()
            except (StoreUnavailable, OSError):
                _log.exception("collection.failed", collector=type(collector).__name__)
        for one in collected:
            if one.count:
                _log.info("collection.removed", what=one.what, count=one.count, size_bytes=one.size_bytes)
        return collected
