"""Limits on concurrent calls of one provider key: learnt from what the provider refuses, shared fairly among
those who wait.

Additive increase, multiplicative decrease: every answer while the limit was reached raises it a little, a refusal (429,
529) halves it, once for all calls that were under way together. After a storm of refusals it grows fast again up to half
of what was borne before. `retry-after` closes the key until then. Who waits is served in turns (`fair_queue`).
"""

from __future__ import annotations

import asyncio

from remit.clock import Clock
from remit.errors import ModelCallFailed
from remit.fair_queue import FairQueue, QueuePlace
from remit.shielded import first_of
from remit.values import Value

QUEUE_SECONDS_MAX = 600.0
"""How long a user's own call waits for its turn."""
TURN_QUEUE_SECONDS_MAX = 86_400.0
"""How long a session's call waits: nobody is there to make it again."""
EACH_PERCENT = 75
"""Of the queue: what one workspace can fill."""
QUEUE_FULL_RETRY_SECONDS = 5.0
GROWS_TIMES_MAX = 4
"""How many times the first limit one may become."""


class LimiterSettings(Value, frozen=True, kw_only=True):
    """The bounds within which the limit of one key moves."""

    first: int = 64
    least: int = 1
    most: int = 256
    queue_max: int = 1_024
    """Calls that wait; one more of a user's own is refused with `retry-after`. Those of sessions are not refused: the
    worker bounds them."""
    closed_seconds_max: float = 120.0
    """A key that asks to be left alone for longer is not waited for."""

    @classmethod
    def beginning_with(cls, calls: int) -> LimiterSettings:
        """Make settings that begin with so many calls, and leave room to grow."""
        return cls(first=calls, most=calls * GROWS_TIMES_MAX)


class Limiter:
    """Slots of one provider key (or of one route). Everything happens on the event loop, so no locks."""

    def __init__(self, name: str, *, clock: Clock, settings: LimiterSettings) -> None:
        self._name = name
        self._clock = clock
        self._settings = settings
        self._limit = float(settings.first)
        self._active = 0
        self._queue = FairQueue()
        self.refused = 0
        """Calls that found no place in the queue."""
        self._sure = 0.0
        """Half of what was borne before the refusals began: up to there it grows by one with each answer."""
        self._is_storm = False
        """Nothing was answered since the last refusal."""
        self._closed_until = 0.0
        self._lowered_at = -1.0

    @property
    def limit(self) -> int:
        """Return how many calls may run at once now."""
        return max(self._settings.least, int(self._limit))

    @property
    def active(self) -> int:
        """Return how many calls run."""
        return self._active

    @property
    def waiting(self) -> int:
        """Return how many calls wait."""
        return len(self._queue)

    @property
    def closed_seconds(self) -> float:
        """Return how many seconds the provider still asks to be left alone."""
        return max(0.0, round(self._closed_until - self._clock.monotonic(), 6))

    @property
    def words(self) -> str:
        """Describe the limit for people."""
        closed = self.closed_seconds
        asks = f", and it asks to be left alone for {closed:.0f} s" if closed else ""
        return f"the limit of {self._name} ({self.limit} at once{asks})"

    def try_take(self) -> bool:
        """Take a slot if one is free and nobody waits; return whether there was one."""
        if self._queue or self._active >= self.limit or self.closed_seconds > 0:
            return False
        self._active += 1
        return True

    async def take(self, workspace_id: str, stream_id: str, *, is_turn: bool = False) -> None:
        """Take a slot, in this caller's turn; with `is_turn` it is a session that asks. Raises
        ModelCallFailed when that would take too long."""
        if self.try_take():
            return
        closed = self.closed_seconds
        if closed > self._settings.closed_seconds_max:
            raise self._refusal(f"asks to be left alone for {closed:.0f} s", "rate_limited", closed)
        if not is_turn:
            self._require_room(workspace_id)
        place = self._queue.join(workspace_id, stream_id)
        try:
            await self._wait(place, TURN_QUEUE_SECONDS_MAX if is_turn else QUEUE_SECONDS_MAX)
        except BaseException:
            if place.was_served:
                self.give_back()  # it was our turn just when we stopped waiting
            else:
                self._queue.leave(place)
                self._post_watch()
            raise

    def give_back(self) -> None:
        """Give back the slot."""
        self._active -= 1
        self._serve_waiting()

    def answered(self) -> None:
        """Note that the provider bore this call: when all slots are in use, it may bear one more."""
        if self._active >= self.limit:
            step = 1.0 if self._limit < self._sure else 1.0 / self._limit
            self._limit = min(float(self._settings.most), self._limit + step)
        self._is_storm = False

    def overloaded(self, *, started_at: float, retry_after_seconds: float | None) -> None:
        """Note that the provider refused a call that was begun at `started_at` (monotonic)."""
        now = self._clock.monotonic()
        if not self._is_storm:
            self._sure, self._is_storm = self._limit / 2, True
        if started_at >= self._lowered_at:
            self._limit = max(float(self._settings.least), self._limit / 2)
            self._lowered_at = now
        if retry_after_seconds is not None:
            self._closed_until = max(self._closed_until, now + retry_after_seconds)
            self._post_watch()

    def _require_room(self, workspace_id: str) -> None:
        most = self._settings.queue_max
        if len(self._queue) < most and self._queue.waiting_of(workspace_id) < most * EACH_PERCENT / 100:
            return
        raise self._refusal(
            f"has {len(self._queue)} calls waiting already", "overloaded", QUEUE_FULL_RETRY_SECONDS
        )

    async def _wait(self, place: QueuePlace, seconds_max: float) -> None:
        deadline = self._clock.monotonic() + seconds_max
        while not place.turn.done():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise self._refusal(
                    f"had no place for the call in {seconds_max:.0f} s",
                    "overloaded",
                    QUEUE_FULL_RETRY_SECONDS,
                )
            place.news.clear()
            await first_of(
                asyncio.wait([place.turn]),
                self._clock.sleep(min(left, self.closed_seconds or left)),
                place.news.wait(),
            )
            self._serve_waiting()

    def _post_watch(self) -> None:
        """Whoever is next looks when a closed key opens: those who wait may have come before it was closed."""
        if self._queue and self.closed_seconds > 0:
            self._queue.first.news.set()

    def _serve_waiting(self) -> None:
        while self._queue and self._active < self.limit and self.closed_seconds == 0:
            self._active += 1
            self._queue.serve()

    def _refusal(self, what: str, reason: str, retry_after_seconds: float) -> ModelCallFailed:
        self.refused += 1
        return ModelCallFailed(
            f"the call was not made: {self._name} {what}; try again later",
            reason=reason,
            billed="no",
            is_retryable=True,
            retry_after_seconds=retry_after_seconds,
        )
