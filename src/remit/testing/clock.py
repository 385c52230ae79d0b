"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq

_START_US = 1_800_000_000_000_000


class FakeClock:
    """`Clock` for tests: time passes only by `advance`, which wakes sleepers in the order of their times."""

    def __init__(self, start_us: int = _START_US) -> None:
        self._start_us = start_us
        self._elapsed_us = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = 0
        self._changed = asyncio.Event()

    def now_us(self) -> int:
        return self._start_us + self._elapsed_us

    def monotonic(self) -> float:
        return self._elapsed_us / 1_000_000

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self._elapsed_us + round(seconds * 1_000_000), self._number, sleeper))
        self._changed.set()
        await sleeper

    @property
    def sleeper_count(self) -> int:
        """Return how many tasks sleep now."""
        return sum(1 for _, _, sleeper in self._sleepers if not sleeper.done())

    def jump(self, seconds: float) -> None:
        """Move time without letting anyone run; sleepers whose time has come wake at the caller's next await."""
        self._move_to(self._elapsed_us + round(seconds * 1_000_000))

    async def advance(self, seconds: float) -> None:
        """Let this much time pass: each sleeper wakes at its own time, and runs before the next one wakes."""
        target_us = self._elapsed_us + round(seconds * 1_000_000)
        while (next_us := self._next_us()) is not None and next_us <= target_us:
            self._move_to(next_us)
            await _let_others_run()
        self._move_to(target_us)
        await _let_others_run()

    async def wait_for_sleepers(self, count: int) -> None:
        """Return when at least this many tasks sleep."""
        while self.sleeper_count < count:
            self._changed.clear()
            await self._changed.wait()

    def _next_us(self) -> int | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _move_to(self, elapsed_us: int) -> None:
        self._elapsed_us = max(self._elapsed_us, elapsed_us)
        while (next_us := self._next_us()) is not None and next_us <= self._elapsed_us:
            heapq.heappop(self._sleepers)[2].set_result(None)


_ROUNDS_TO_SETTLE = 20
"""Turns of the loop that woken tasks get before the next sleeper wakes. Enough for chains of plain awaits; whatever
waits for a thread or a socket is waited for by its own event."""


async def _let_others_run() -> None:
    for _ in range(_ROUNDS_TO_SETTLE):
        await asyncio.sleep(0)
