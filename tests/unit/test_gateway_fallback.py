"""Routes with several models: who answers when one is overloaded, and what is held and said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest

from remit.errors import HoldRefused, InvalidRequest, ModelCallFailed, ModelUnavailable
from remit.gateway.gateway import Gateway
from remit.gateway.retry_plan import RetrySettings
from remit.gateway.routing import ModelRouter, parse_routes
from remit.ids import Ids
from remit.ledger.prices import PriceOverride, PriceTable
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

SOMEONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
HELLO = ModelRequest(model="main", messages=({"role": "user", "content": "hello"},), max_tokens=300)
CHEAP = PriceOverride(input_per_million_usd=1.0, output_per_million_usd=1.0)
DEAR = PriceOverride(input_per_million_usd=1_000.0, output_per_million_usd=1_000.0)


class Playing:
    """A provider that fails or answers as told, in turn; the last of these again and again."""

    def __init__(self, *turns: ModelCallFailed | str, gate: anyio.Event | None = None) -> None:
        self._turns = list(turns)
        self._gate = gate
        self.calls = 0
        self.is_called = anyio.Event()
        self.takes_fields = False

    def takes(self, field: str) -> bool:
        return self.takes_fields

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        turn = self._turns[min(self.calls, len(self._turns) - 1)]
        self.calls += 1
        self.is_called.set()
        if isinstance(turn, ModelCallFailed):
            if turn.reason == "cut":
                yield ModelDelta(texts=("Good ",))
            raise turn
        if self._gate is not None:
            await self._gate.wait()
        yield ModelDelta(texts=(turn,))
        yield ModelResponse(
            content=({"type": "text", "text": turn},),
            stop_reason="end_turn",
            usage=Usage(input_tokens=1, output_tokens=1),
            model=request.model,
        )

    async def models(self) -> Sequence[ModelInfo]:
        return []

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        pass


class Noting:
    """A recorder that remembers."""

    purpose: Purpose = "work"

    def __init__(self, cap: int | None = None) -> None:
        self.starts: list[CallAttempt] = []
        self.ends: list[CallEnded] = []
        self._cap = cap

    async def accounts(self) -> Sequence[Account]:
        return [Account(stream_id="sesn_one", unit="nano_usd", purpose="work", cap=self._cap)]

    async def waits(self, limit: str, ahead: int) -> None:
        pass

    async def started(self, attempt: CallAttempt) -> None:
        self.starts.append(attempt)

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        self.ends.append(ended)

    def thinking(self, attempt: CallAttempt) -> None:
        pass

    def delta(self, attempt: CallAttempt, text: str) -> None:
        pass


def overloaded(retry_after_seconds: float | None = None) -> ModelCallFailed:
    return ModelCallFailed(
        "overloaded",
        reason="overloaded",
        billed="no",
        is_retryable=True,
        retry_after_seconds=retry_after_seconds,
    )


def refused() -> ModelCallFailed:
    return ModelCallFailed("no such block here", reason="invalid", billed="no", is_retryable=False)


def cut() -> ModelCallFailed:
    return ModelCallFailed("cut", reason="cut", billed="unknown", is_retryable=True)


def make_gateway(
    clock: FakeClock, a: Playing, b: Playing, *, price_b: PriceOverride = CHEAP, **route: Any
) -> Gateway:
    routes = parse_routes({"main": {"targets": ["a/m", "b/m"], **route}})
    return Gateway(
        router=ModelRouter({"a": a, "b": b}, aliases={}, routes=routes),
        prices=PriceTable({"a/m": CHEAP, "b/m": price_b}, clock=clock),
        clock=clock,
        ids=Ids(clock),
        retries=RetrySettings(),
    )


async def test_the_next_model_answers_without_a_pause_and_each_attempt_has_its_own_hold() -> None:
    clock, recorder = FakeClock(), Noting()
    a, b = Playing(overloaded(60.0)), Playing("Good day")
    response = await make_gateway(clock, a, b).call(SOMEONE, HELLO, recorder)
    assert response.content[0]["text"] == "Good day"
    assert clock.monotonic() == 0, "nobody slept"
    assert [(start.request.model, start.served_model) for start in recorder.starts] == [
        ("main", "a/m"),
        ("main", "b/m"),
    ]
    assert len({start.holds[0].hold_id for start in recorder.starts}) == 2
    assert [end.will_retry for end in recorder.ends] == [True, False]
    assert (a.calls, b.calls) == (1, 1)


async def test_a_key_that_asked_to_be_left_alone_is_passed_over_by_the_next_call() -> None:
    clock = FakeClock()
    a, b = Playing(overloaded(60.0), "from a"), Playing("from b")
    gateway = make_gateway(clock, a, b)
    await gateway.call(SOMEONE, HELLO, Noting())
    await gateway.call(SOMEONE, HELLO, Noting())
    assert (a.calls, b.calls) == (1, 2)
    clock.jump(60)
    response = await gateway.call(SOMEONE, HELLO, Noting())
    assert response.content[0]["text"] == "from a"


async def test_nothing_falls_back_once_an_answer_has_begun() -> None:
    clock, recorder = FakeClock(), Noting()
    a, b = Playing(cut(), "Good day"), Playing("from b")
    gateway = make_gateway(clock, a, b)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gateway.call, SOMEONE, HELLO, recorder)
            await clock.wait_for_sleepers(1)
            await clock.advance(2)
    assert (a.calls, b.calls) == (2, 0)


async def test_what_somebody_has_seen_a_part_of_is_not_made_again() -> None:
    a = Playing(cut(), "Good day")
    seen: list[str] = []

    async def see(attempt: CallAttempt, delta: ModelDelta) -> None:
        seen.extend(delta.texts)

    with pytest.raises(ModelCallFailed, match="cut"):
        await make_gateway(FakeClock(), a, Playing("from b")).call(SOMEONE, HELLO, Noting(), on_delta=see)
    assert (seen, a.calls) == (["Good "], 1)


@pytest.mark.parametrize("why", ["it has no words for it", "it is too dear", "it does not take a field"])
async def test_a_stand_in_that_cannot_be_asked_leaves_the_call_to_the_first(why: str) -> None:
    clock, recorder = FakeClock(), Noting(cap=100_000_000)
    a = Playing(overloaded(), "from a")
    b = Playing(refused() if why == "it has no words for it" else "from b")
    a.takes_fields = True
    request = _with_top_k() if why == "it does not take a field" else HELLO
    gateway = make_gateway(clock, a, b, price_b=DEAR if why == "it is too dear" else CHEAP)
    results: list[ModelResponse] = []

    async def call() -> None:
        results.append(await gateway.call(SOMEONE, request, recorder))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await clock.wait_for_sleepers(1)
            await clock.advance(5)
    assert results[0].content[0]["text"] == "from a"


def _with_top_k() -> ModelRequest:
    return ModelRequest(
        model=HELLO.model, messages=HELLO.messages, max_tokens=HELLO.max_tokens, fields={"top_k": 5}
    )


async def test_the_first_model_that_does_not_fit_is_an_error_as_ever() -> None:
    gateway = make_gateway(FakeClock(), Playing("a"), Playing("b"))
    with pytest.raises(HoldRefused):
        await gateway.call(SOMEONE, HELLO, Noting(cap=1))


async def test_a_target_without_its_key_is_passed_over() -> None:
    routes = parse_routes({"main": {"targets": ["missing/m", "b/m"]}, "none": {"targets": ["missing/m"]}})
    router = ModelRouter({"b": Playing("b")}, aliases={}, routes=routes)
    assert [route.provider_name for route in (await router.plan("main")).targets] == ["b"]
    with pytest.raises(ModelUnavailable, match="'none'"):
        await router.plan("none")


async def test_a_route_may_stand_in_front_of_the_model_it_is_named_after() -> None:
    routes = parse_routes({"claude-a": {"targets": ["claude-a", "b/m"]}})
    router = ModelRouter(
        {"anthropic": Playing("a"), "b": Playing("b")}, aliases={"small": "claude-a"}, routes=routes
    )
    plan = await router.plan("small")
    assert [route.priced_as for route in plan.targets] == ["anthropic/claude-a", "b/m"]


async def test_a_routes_own_limit_makes_the_rest_wait() -> None:
    clock, gate = FakeClock(), anyio.Event()
    a = Playing("Good day", gate=gate)
    gateway = make_gateway(clock, a, Playing("b"), concurrent_max=1)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(gateway.call, SOMEONE, HELLO, Noting())
            await clock.wait_for_sleepers(2)
            await a.is_called.wait()
            assert a.calls == 1
            gate.set()
    assert a.calls == 3


async def test_a_call_that_takes_for_ever_holds_no_other_up() -> None:
    clock, never = FakeClock(), anyio.Event()
    slow, quick = Playing("late", gate=never), Playing("from b")
    gateway = Gateway(
        router=ModelRouter({"a": slow, "b": quick}, aliases={}),
        prices=PriceTable({"a/m": CHEAP, "b/m": CHEAP}, clock=clock),
        clock=clock,
        ids=Ids(clock),
        retries=RetrySettings(),
    )
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            slow_request = _asking("a/m")
            tasks.start_soon(gateway.call, SOMEONE, slow_request, Noting())
            await slow.is_called.wait()
            for _ in range(100):
                await gateway.call(SOMEONE, _asking("b/m"), Noting())
            tasks.cancel_scope.cancel()
    assert quick.calls == 100


def _asking(model: str) -> ModelRequest:
    return ModelRequest(model=model, messages=HELLO.messages, max_tokens=300)


@pytest.mark.parametrize(
    "table", [{"targets": []}, {"targets": ["a/m"], "dorp": ["x"]}, {"targets": ["a/m"], "concurrent_max": 0}]
)
async def test_a_route_that_is_not_right_is_explained(table: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r'routes\."main"'):
        parse_routes({"main": table})
