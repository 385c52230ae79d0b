"""Snapshots off the turn's path: wishes are coalesced, one is in flight, and none is begun in the midst of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from remit.clock import Clock

QUIET_SECONDS = 0.1
"""A snapshot waits until for so long no other is wanted, …"""
QUIET_PERIODS_MAX = 10
"""… but not longer than so many times that."""


class SnapshotTaker:
    """Takes a snapshot soon after it is wanted. `run` is the background task; `settled` waits until none is due."""

    def __init__(self, take: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def want(self) -> None:
        """Ask for a snapshot of now or later."""
        self._idle.clear()
        self._wanted.set()

    async def run(self) -> None:
        """Serve wishes until cancelled."""
        while True:
            await self._wanted.wait()
            for _ in range(QUIET_PERIODS_MAX):
                self._wanted.clear()
                await self._clock.sleep(QUIET_SECONDS)
                if not self._wanted.is_set():
                    break
            self._wanted.clear()
            await self._take()
            if not self._wanted.is_set():
                self._idle.set()

    @property
    def is_idle(self) -> bool:
        """Return whether every wish so far has been served."""
        return self._idle.is_set()

    async def until_idle(self) -> None:
        """Return when every wish so far has been served."""
        await self._idle.wait()
