"""Time, as everything in Remit sees it. Tests use `remit.testing.clock.FakeClock`."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for limits, and a way to wait that tests can drive."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC. May jump; never use it to measure a lease."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellation is normal."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SET_BACK_US = 100_000
"""Smaller steps back are waited out."""


class SteadyClock:
    """A machine's clock whose wall time never goes back while the process lives: when somebody sets it back, it goes on
    from where it was. What was to be done at once would else wait until the old time comes round again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known_us = clock.now_us()
        self._known_monotonic = clock.monotonic()

    def now_us(self) -> int:
        with self._lock:
            wall_us, monotonic = self._clock.now_us(), self._clock.monotonic()
            passed_us = int((monotonic - self._known_monotonic) * 1_000_000)
            if wall_us < self._known_us + passed_us - SET_BACK_US:
                return self._known_us + passed_us
            self._known_us, self._known_monotonic = max(wall_us, self._known_us), monotonic
            return self._known_us

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


def is_wait_over(*, since_us: int, until_us: int, now_us: int) -> bool:
    """Return whether what was told at `since_us` to wait until `until_us` may go on. A clock that has not
    come to `since_us` yet was set back between two processes: how much of the wait has passed nobody knows,
    and it is over. `since_us` is when its row was made, by the store's clock; the time in an event never goes
    back, and may be of before that."""
    return now_us >= until_us or now_us < since_us - SET_BACK_US


def rfc3339(time_us: int) -> str:
    """Microseconds since the epoch as RFC 3339 in UTC, always with six decimals and `Z`."""
    return f"{_second(time_us // 1_000_000)}.{time_us % 1_000_000:06d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(
    maxsize=256
)  # rows that were made together carry the same time, and each is read by more than one fold
def parse_rfc3339(text: str) -> int:
    """The inverse of `rfc3339`; a time without zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + moment.microsecond
