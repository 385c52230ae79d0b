"""Snapshots off the turn's path: wishes are coalesced, one is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class SnapshotTaker:
    """Takes a snapshot soon after it is wanted. `run` is the background task; `settled` waits until none is due."""

    def __init__(self, take: Callable[[], Awaitable[None]]) -> None:
        self._take = take
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    def want(self) -> None:
        """Ask for a snapshot of now or later."""
        self._settled.clear()
        self._wanted.set()

    async def run(self) -> None:
        """Serve wishes until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._take()
            if not self._wanted.is_set():
                self._settled.set()

    @property
    def is_settled(self) -> bool:
        """Whether every wish so far has been served."""
        return self._settled.is_set()

    async def settled(self) -> None:
        """Return when every wish so far has been served."""
        await self._settled.wait()
