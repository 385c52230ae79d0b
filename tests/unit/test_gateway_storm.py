"""A storm of refusals in fake time: every call recovers, none comes back in step with the others, the money adds up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import anyio
import pytest

from remit.errors import ModelCallFailed
from remit.gateway.gateway import Gateway
from remit.gateway.retry_plan import RetrySettings
from remit.gateway.routing import ModelRouter
from remit.ids import Ids
from remit.ledger.prices import PriceTable
from remit.testing.clock import FakeClock
from remit.values import (
    Account,
    CallAttempt,
    CallEnded,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    Principal,
    Purpose,
    Usage,
)

pytestmark = pytest.mark.anyio
CALLS = 300
STORM_SECONDS = 60.0
ANSWER_SECONDS = 0.5


class Weather:
    """A provider that refuses all until the storm is over."""

    def __init__(self, clock: FakeClock, *, retry_after_seconds: float | None) -> None:
        self.arrivals: list[float] = []
        self._clock = clock
        self._retry_after_seconds = retry_after_seconds

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        self.arrivals.append(self._clock.monotonic())
        if self._clock.monotonic() < STORM_SECONDS:
            raise ModelCallFailed(
                "overloaded",
                reason="overloaded",
                billed="no",
                is_retryable=True,
                retry_after_seconds=self._retry_after_seconds,
            )
        await self._clock.sleep(ANSWER_SECONDS)
        yield ModelResponse(
            content=({"type": "text", "text": "hi"},),
            stop_reason="end_turn",
            usage=Usage(input_tokens=1, output_tokens=1),
            model=request.model,
        )

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        pass


class Recorder:
    """Of one session's calls; counts what is held."""

    purpose: Purpose = "work"

    def __init__(self, stream_id: str) -> None:
        self.open: set[str] = set()
        self.waited_at: list[tuple[str, int]] = []
        self._account = Account(stream_id=stream_id, unit="nano_usd", purpose="work", cap=None)

    async def accounts(self) -> Sequence[Account]:
        return (self._account,)

    async def waits(self, limit: str, ahead: int) -> None:
        self.waited_at.append((limit, ahead))

    async def started(self, attempt: CallAttempt) -> None:
        assert not self.open, "a call is made again only when the attempt before it is settled"
        self.open.add(attempt.call_id)

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        self.open.remove(attempt.call_id)

    def thinking(self, attempt: CallAttempt) -> None:
        pass

    def delta(self, attempt: CallAttempt, text: str) -> None:
        pass


async def weather_through(retry_after_seconds: float | None) -> tuple[Weather, list[Recorder], float]:
    """A storm over so many sessions' calls; what came to the provider, the recorders, and when all was answered."""
    clock = FakeClock()
    weather = Weather(clock, retry_after_seconds=retry_after_seconds)
    gateway = Gateway(
        router=ModelRouter({"scripted": weather}, aliases={}),
        prices=PriceTable({}, clock=clock),
        clock=clock,
        ids=Ids(clock),
        retries=RetrySettings(),
        random_fraction=random.Random(7).random,
    )
    recorders = [Recorder(f"sesn_{number}") for number in range(CALLS)]
    request = ModelRequest(
        model="scripted/x", messages=({"role": "user", "content": "hello"},), max_tokens=10, system=""
    )
    calls = [
        asyncio.ensure_future(
            gateway.call(
                Principal(workspace_id="wrkspc_one", actor="worker_1", kind="worker"), request, recorder
            )
        )
        for recorder in recorders
    ]
    with anyio.fail_after(50):
        while not all(call.done() for call in calls):
            await clock.advance(0.25)
    for call in calls:
        call.result()
    return weather, recorders, clock.monotonic()


@pytest.mark.parametrize("retry_after_seconds", [None, 5.0])
async def test_every_call_gets_through_a_minute_of_refusals(retry_after_seconds: float | None) -> None:
    weather, recorders, ended_at = await weather_through(retry_after_seconds)
    assert all(not recorder.open for recorder in recorders)
    assert ended_at < STORM_SECONDS + 60
    # Nobody comes in step: the provider is not met by all at once again.
    later = Counter(int(at * 10) for at in weather.arrivals if at > 1)
    assert max(later.values()) <= CALLS // 4


async def test_who_waits_long_for_its_turn_says_so_in_its_log() -> None:
    _, recorders, _ = await weather_through(5.0)
    told = [recorder.waited_at[0] for recorder in recorders if recorder.waited_at]
    assert len(told) > CALLS // 2
    limit, ahead = told[-1]
    assert "the limit of scripted" in limit
    assert ahead > 0
