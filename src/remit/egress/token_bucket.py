"""A token bucket, and turns. Standard library only: the proxy process imports it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TokenBucket:
    """A bucket that fills as time passes."""

    def __init__(
        self, per_second: float, at_once: float, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._now = now
        self._left = at_once
        self._filled_at = now()

    def try_take(self) -> bool:
        """Take one token if there is one; return whether there was."""
        self._fill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def take(self) -> float:
        """Take one token, perhaps of the future; return the seconds until it is due."""
        self._fill()
        self._left -= 1
        return max(0.0, -self._left / self._per_second)

    def _fill(self) -> None:
        now = self._now()
        self._left = min(self._at_once, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now


class Turns:
    """Work of one sandbox that takes the processor for a while: between two pieces of it, all the others go on."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self, work: Callable[[], T]) -> T:
        """Do it when those before it are done."""
        async with self._lock:
            done = work()
            await asyncio.sleep(0)
            return done
