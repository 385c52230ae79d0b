"""How many calls of one provider key run at once: learnt from what the provider refuses, shared fairly among those who
wait.

Additive increase, multiplicative decrease: every answer while the limit was reached raises it a little, a refusal (429,
529) halves it, once for all calls that were under way together. `retry-after` closes the key until then. Who waits is
served in turns, first by workspace, then by stream, so that a workspace with a thousand calls delays another by one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from remit.clock import Clock
from remit.errors import ModelCallFailed
from remit.values import Value

QUEUE_SECONDS_MAX = 600.0
"""How long a call waits for its turn."""
QUEUE_FULL_RETRY_SECONDS = 5.0


class LimiterSettings(Value, frozen=True, kw_only=True):
    """The bounds within which the limit of one key moves."""

    first: int = 64
    least: int = 1
    most: int = 256
    queue_max: int = 1_024
    """Calls that wait; one more is refused with `retry-after`."""
    closed_seconds_max: float = 120.0
    """A key that asks to be left alone for longer is not waited for."""


class _Waiter:
    def __init__(self) -> None:
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Limiter:
    """Slots of one provider key (or of one route). Everything happens on the event loop, so no locks."""

    def __init__(self, name: str, *, clock: Clock, settings: LimiterSettings) -> None:
        self._name = name
        self._clock = clock
        self._settings = settings
        self._limit = float(settings.first)
        self._active = 0
        self._waiting = 0
        self._queues: OrderedDict[str, OrderedDict[str, deque[_Waiter]]] = OrderedDict()
        self._closed_until = 0.0
        self._lowered_at = -1.0

    @property
    def limit(self) -> int:
        """How many calls may run at once now."""
        return max(self._settings.least, int(self._limit))

    @property
    def active(self) -> int:
        """How many run."""
        return self._active

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    @property
    def closed_seconds(self) -> float:
        """How long the provider still asks to be left alone."""
        return max(0.0, round(self._closed_until - self._clock.monotonic(), 6))

    def try_take(self) -> bool:
        """A slot, if one is free and nobody waits for it."""
        if self._waiting or self._active >= self.limit or self.closed_seconds > 0:
            return False
        self._active += 1
        return True

    async def take(self, workspace_id: str, stream_id: str) -> None:
        """A slot, in this caller's turn. Raises ModelCallFailed when that would take too long."""
        if self.try_take():
            return
        closed = self.closed_seconds
        if closed > self._settings.closed_seconds_max:
            raise self._refusal(f"asks to be left alone for {closed:.0f} s", "rate_limited", closed)
        if self._waiting >= self._settings.queue_max:
            raise self._refusal(
                f"has {self._waiting} calls waiting already", "overloaded", QUEUE_FULL_RETRY_SECONDS
            )
        waiter = _Waiter()
        queue = self._queues.setdefault(workspace_id, OrderedDict()).setdefault(stream_id, deque())
        queue.append(waiter)
        self._waiting += 1
        try:
            await self._wait(waiter)
        except BaseException:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.give_back()  # it was our turn just when we stopped waiting
            else:
                self._leave(workspace_id, stream_id, waiter)
            raise

    def give_back(self) -> None:
        """The slot is free again."""
        self._active -= 1
        self._serve_waiting()

    def answered(self) -> None:
        """The provider bore this call: when all slots are in use, it may bear one more."""
        if self._active >= self.limit:
            self._limit = min(float(self._settings.most), self._limit + 1.0 / self._limit)

    def overloaded(self, *, started_at: float, retry_after_seconds: float | None) -> None:
        """The provider refused a call that was begun at `started_at` (monotonic)."""
        now = self._clock.monotonic()
        if started_at >= self._lowered_at:
            self._limit = max(float(self._settings.least), self._limit / 2)
            self._lowered_at = now
        if retry_after_seconds is not None:
            self._closed_until = max(self._closed_until, now + retry_after_seconds)

    async def _wait(self, waiter: _Waiter) -> None:
        deadline = self._clock.monotonic() + QUEUE_SECONDS_MAX
        while not waiter.turn.done():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise self._refusal(
                    f"had no place for the call in {QUEUE_SECONDS_MAX:.0f} s",
                    "overloaded",
                    QUEUE_FULL_RETRY_SECONDS,
                )
            alarm = asyncio.ensure_future(self._clock.sleep(min(left, self.closed_seconds or left)))
            try:
                await asyncio.wait((waiter.turn, alarm), return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting and self._active < self.limit and self.closed_seconds == 0:
            self._active += 1
            self._next().turn.set_result(None)

    def _next(self) -> _Waiter:
        """The next one's turn: the workspace goes to the end of its line, and so does the stream within it."""
        workspace_id, streams = next(iter(self._queues.items()))
        stream_id, queue = next(iter(streams.items()))
        waiter = queue.popleft()
        self._waiting -= 1
        streams.move_to_end(stream_id)
        self._queues.move_to_end(workspace_id)
        self._forget_empty(workspace_id, stream_id)
        return waiter

    def _leave(self, workspace_id: str, stream_id: str, waiter: _Waiter) -> None:
        self._queues[workspace_id][stream_id].remove(waiter)
        self._waiting -= 1
        self._forget_empty(workspace_id, stream_id)

    def _forget_empty(self, workspace_id: str, stream_id: str) -> None:
        streams = self._queues[workspace_id]
        if not streams[stream_id]:
            del streams[stream_id]
        if not streams:
            del self._queues[workspace_id]

    def _refusal(self, what: str, reason: str, retry_after_seconds: float) -> ModelCallFailed:
        return ModelCallFailed(
            f"the call was not made: {self._name} {what}; try again later",
            reason=reason,
            billed="no",
            is_retryable=True,
            retry_after_seconds=retry_after_seconds,
        )
