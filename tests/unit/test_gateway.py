"""The gateway on a real ledger, with the scripted model: what is held, settled, retried and refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.clock import SystemClock
from remit.errors import HoldRefused, LeaseLost, ModelCallFailed, ModelUnavailable, Unpriced
from remit.gateway.gateway import Gateway
from remit.gateway.retry_plan import RetrySettings
from remit.gateway.routing import ModelRouter
from remit.ids import Ids
from remit.ledger.accounts import HoldKey, LedgerRows, account_key, apply_effects, hold_key
from remit.ledger.prices import PriceOverride, PriceTable
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.scripted import (
    ModelScript,
    ScriptedFault,
    ScriptedProvider,
    ScriptedUsage,
    ScriptStep,
)
from remit.testing.clock import FakeClock
from remit.testing.model_server import ModelServer, ServedAnswer
from remit.values import (
    Account,
    CallAttempt,
    CallEnded,
    Effect,
    HoldRow,
    JsonObject,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    Principal,
    Purpose,
    Usage,
)
from support.raw_server import Exchange, raw_server

pytestmark = pytest.mark.anyio

DOLLAR = 1_000_000_000
PRICE = PriceOverride(input_per_million_usd=1.0, output_per_million_usd=5.0)
SOMEONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")


class LedgerRecorder:
    """A `CallRecorder` that books on real ledger arithmetic and checks the budget after every append."""

    purpose: Purpose = "work"

    def __init__(self, *, usd: float | None = None, tokens: int | None = None) -> None:
        self._accounts = {
            account_key(account): account
            for account in (
                Account(stream_id="sesn_one", unit="nano_usd", purpose="work", cap=_nano(usd)),
                Account(stream_id="sesn_one", unit="tokens", purpose="work", cap=tokens),
            )
        }
        self.holds: dict[HoldKey, HoldRow] = {}
        self.attempts: list[CallAttempt] = []
        self.endings: list[tuple[CallAttempt, CallEnded]] = []
        self.text = ""
        self.failure_of_start: Exception | None = None
        self.failure_of_finish: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.is_appending = asyncio.Event()

    async def accounts(self) -> Sequence[Account]:
        return tuple(self._accounts.values())

    async def waits(self, limit: str, ahead: int) -> None:
        pass

    async def started(self, attempt: CallAttempt) -> None:
        await self._wait_at_the_gate()
        if self.failure_of_start is not None:
            raise self.failure_of_start
        self._apply(attempt.holds)
        self.attempts.append(attempt)

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        await anyio.lowlevel.checkpoint()
        if self.failure_of_finish is not None:
            raise self.failure_of_finish
        self._apply(ended.settlements)
        self.endings.append((attempt, ended))

    def thinking(self, attempt: CallAttempt) -> None:
        pass

    def delta(self, attempt: CallAttempt, text: str) -> None:
        assert attempt in self.attempts
        self.text += text

    def account(self, unit: str) -> Account:
        return next(account for account in self._accounts.values() if account.unit == unit)

    async def _wait_at_the_gate(self) -> None:
        self.is_appending.set()
        if self.gate is not None:
            await self.gate.wait()
        await anyio.lowlevel.checkpoint()

    def _apply(self, effects: Sequence[Effect]) -> None:
        view = LedgerRows(accounts=tuple(self._accounts.values()), holds=tuple(self.holds.values()))
        changed = apply_effects(view, effects, stream_id="sesn_one", seq=1, now_us=1)
        self._accounts |= {account_key(account): account for account in changed.accounts}
        self.holds |= {hold_key(hold): hold for hold in changed.holds}
        for account in self._accounts.values():
            fits = account.cap is None or account.spent + account.held <= account.cap
            assert fits or account.is_stopped, account


def _nano(usd: float | None) -> int | None:
    return None if usd is None else round(usd * DOLLAR)


def make_gateway(
    clock: FakeClock,
    *steps: ScriptStep,
    retries: RetrySettings | None = None,
    price: PriceOverride | None = PRICE,
) -> Gateway:
    provider = ScriptedProvider({"demo": ModelScript(steps=steps)}, clock=clock)
    return Gateway(
        router=ModelRouter({"scripted": provider}, aliases={}),
        prices=PriceTable({} if price is None else {"scripted/demo": price}, clock=clock),
        clock=clock,
        ids=Ids(clock),
        retries=retries or RetrySettings(),
        random_fraction=lambda: 1.0,
    )


def ask(text: str = "hello", *, max_tokens: int = 1000, model: str = "scripted/demo") -> ModelRequest:
    return ModelRequest(
        model=model, messages=({"role": "user", "content": text},), max_tokens=max_tokens, system="Be brief."
    )


def fault(kind: str, *, times: int = 1, after_chunks: int = 0) -> ScriptedFault:
    return msgspec.convert({"kind": kind, "times": times, "after_chunks": after_chunks}, ScriptedFault)


async def run_until_done(clock: FakeClock, gateway: Gateway, request: ModelRequest, recorder: LedgerRecorder):
    """The call's answer, with as much fake time as its pauses need."""
    task = asyncio.ensure_future(gateway.call(SOMEONE, request, recorder))
    while not task.done():
        await clock.advance(1)
    return task.result()


async def test_an_answer_is_held_before_and_settled_after_at_its_real_cost(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1, tokens=50_000)
    step = ScriptStep(text="hi there", usage=ScriptedUsage(input_tokens=100, output_tokens=10))

    response = await make_gateway(clock, step).call(SOMEONE, ask(), recorder)

    assert response.content == ({"type": "text", "text": "hi there"},)
    assert recorder.text == "hi there"
    ((attempt, ended),) = recorder.endings
    assert [hold.unit for hold in attempt.holds] == ["nano_usd", "tokens"]
    assert ended.cost_nano_usd == 100 * 1000 + 10 * 5000 == recorder.account("nano_usd").spent
    assert recorder.account("tokens").spent == 110
    assert recorder.account("nano_usd").held == recorder.account("tokens").held == 0
    assert all(
        hold.amount > settled.amount for hold, settled in zip(attempt.holds, ended.settlements, strict=True)
    )


async def test_a_refused_start_never_touches_the_provider(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    recorder.failure_of_start = LeaseLost("the epoch is stale")

    with pytest.raises(LeaseLost):
        await make_gateway(clock, ScriptStep(text="never")).call(SOMEONE, ask(), recorder)

    assert recorder.text == ""
    assert recorder.endings == []


async def test_a_call_that_cannot_fit_is_refused_with_worst_case_and_rest(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=0.001)

    with pytest.raises(HoldRefused) as refused:
        await make_gateway(clock, ScriptStep(text="never")).call(SOMEONE, ask(), recorder)

    assert "was not made" in refused.value.message
    assert "$0.001 remain" in refused.value.message
    assert recorder.attempts == []


async def test_a_call_is_made_smaller_to_fit(clock: FakeClock) -> None:
    recorder = LedgerRecorder(tokens=1000)

    await make_gateway(clock, ScriptStep(text="ok")).call(SOMEONE, ask(max_tokens=4000), recorder)

    (attempt,) = recorder.attempts
    assert 256 <= attempt.request.max_tokens < 1000
    assert sum(hold.amount for hold in attempt.holds if hold.unit == "tokens") == 1000


async def test_a_call_that_another_one_crowded_out_is_planned_anew(clock: FakeClock) -> None:
    recorder = LedgerRecorder(tokens=2_000)
    gateway = make_gateway(clock, ScriptStep(text="ok", delay_ms=1_000))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gateway.call, SOMEONE, ask(max_tokens=1_000), recorder)
            tasks.start_soon(gateway.call, SOMEONE, ask(max_tokens=1_000), recorder)
            await clock.wait_for_sleepers(2)
            assert recorder.account("tokens").held == 2_000
            await clock.advance(1)

    first, second = recorder.attempts
    assert first.request.max_tokens == 1_000
    assert 256 <= second.request.max_tokens < 1_000


async def test_a_lost_lease_at_the_end_stops_the_call(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    recorder.failure_of_finish = LeaseLost("the epoch is stale")

    with pytest.raises(LeaseLost):
        await make_gateway(clock, ScriptStep(text="x", fault=fault("overloaded"))).call(
            SOMEONE, ask(), recorder
        )

    assert len(recorder.attempts) == 1


async def test_a_cancellation_stays_one_when_its_end_cannot_be_recorded(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    recorder.failure_of_finish = LeaseLost("the epoch is stale")
    gateway = make_gateway(clock, ScriptStep(text="slow", delay_ms=60_000))

    with anyio.fail_after(5):
        task = asyncio.ensure_future(gateway.call(SOMEONE, ask(), recorder))
        await clock.wait_for_sleepers(1)
        task.cancel()
        await asyncio.wait([task])

    assert task.cancelled()


async def test_a_provider_that_asks_for_a_longer_pause_than_allowed_is_not_waited_for(
    clock: FakeClock,
) -> None:
    recorder = LedgerRecorder(usd=1)
    gateway = make_gateway(
        clock, ScriptStep(text="x", fault=fault("rate_limited")), retries=RetrySettings(wait_seconds_max=0.5)
    )

    with pytest.raises(ModelCallFailed):
        await gateway.call(SOMEONE, ask(), recorder)

    assert not recorder.endings[-1][1].will_retry


async def test_an_unpriced_model_cannot_serve_a_dollar_cap(clock: FakeClock) -> None:
    provider = ScriptedProvider({"demo": ModelScript()}, clock=clock)
    gateway = Gateway(
        router=ModelRouter({"homemade": provider}, aliases={}),
        prices=PriceTable({}, clock=clock),
        clock=clock,
        ids=Ids(clock),
        retries=RetrySettings(),
    )

    with pytest.raises(Unpriced, match=r'\[prices."homemade/demo"\]'):
        await gateway.call(SOMEONE, ask(model="homemade/demo"), LedgerRecorder(usd=1))


async def test_a_zero_price_model_is_booked_in_tokens(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1, tokens=10_000)

    await make_gateway(clock, ScriptStep(text="ok"), price=None).call(SOMEONE, ask(), recorder)

    assert recorder.account("nano_usd").spent == 0
    assert recorder.account("tokens").spent > 0


@pytest.mark.parametrize("kind", ["overloaded", "rate_limited"])
async def test_what_was_refused_before_any_work_costs_nothing_and_is_tried_again(
    clock: FakeClock, kind: str
) -> None:
    recorder = LedgerRecorder(usd=1)
    gateway = make_gateway(clock, ScriptStep(text="at last", fault=fault(kind, times=2)))

    with anyio.fail_after(5):
        await run_until_done(clock, gateway, ask(), recorder)

    assert [ended.error_reason for _, ended in recorder.endings] == [kind, kind, None]
    assert [ended.will_retry for _, ended in recorder.endings] == [True, True, False]
    assert [ended.cost_nano_usd for _, ended in recorder.endings][:2] == [0, 0]
    assert [attempt.number for attempt in recorder.attempts] == [1, 2, 3]
    assert len({attempt.call_id for attempt in recorder.attempts}) == 3


async def test_a_cut_answer_is_assumed_to_cost_its_hold(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    gateway = make_gateway(clock, ScriptStep(text="one two three", fault=fault("cut", after_chunks=2)))

    with anyio.fail_after(5):
        await run_until_done(clock, gateway, ask(), recorder)

    (cut_attempt, cut), (_, answered) = recorder.endings
    assert cut.is_assumed
    assert cut.cost_nano_usd == cut_attempt.holds[0].amount
    assert recorder.account("nano_usd").spent == cut_attempt.holds[0].amount + (answered.cost_nano_usd or 0)
    assert {hold.state for hold in recorder.holds.values()} == {"assumed", "settled"}


async def test_attempts_of_unknown_cost_are_fewer(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    gateway = make_gateway(clock, ScriptStep(text="x", fault=fault("cut", times=9)))

    with anyio.fail_after(5), pytest.raises(ModelCallFailed) as failed:
        await run_until_done(clock, gateway, ask(), recorder)

    assert failed.value.reason == "cut"
    assert len(recorder.endings) == RetrySettings().assumed_attempts_max
    assert not recorder.endings[-1][1].will_retry


async def test_retries_end_at_the_named_limit(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    gateway = make_gateway(
        clock,
        ScriptStep(text="x", fault=fault("overloaded", times=99)),
        retries=RetrySettings(attempts_max=3),
    )

    with anyio.fail_after(5), pytest.raises(ModelCallFailed):
        await run_until_done(clock, gateway, ask(), recorder)

    assert len(recorder.endings) == 3
    assert recorder.account("nano_usd").spent == 0


async def test_a_bad_request_is_not_tried_again(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)

    with pytest.raises(ModelCallFailed, match="no script 'other'"):
        await make_gateway(clock).call(SOMEONE, ask(model="scripted/other"), recorder)

    assert len(recorder.endings) == 1


async def test_an_interrupt_settles_at_the_hold(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    gateway = make_gateway(clock, ScriptStep(text="slow", delay_ms=60_000))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gateway.call, SOMEONE, ask(), recorder)
            await clock.wait_for_sleepers(1)
            tasks.cancel_scope.cancel()

    ((attempt, ended),) = recorder.endings
    assert (ended.error_reason, ended.is_assumed) == ("interrupted", True)
    assert recorder.account("nano_usd").spent == attempt.holds[0].amount


@pytest.mark.parametrize("is_native", [True, False])
async def test_a_cancellation_while_the_start_is_appended_costs_nothing(
    clock: FakeClock, is_native: bool
) -> None:
    recorder = LedgerRecorder(usd=1)
    recorder.gate = asyncio.Event()
    gateway = make_gateway(clock, ScriptStep(text="never"))
    scope = anyio.CancelScope()

    async def call() -> None:
        with scope:
            await gateway.call(SOMEONE, ask(), recorder)

    with anyio.fail_after(5):
        task = asyncio.ensure_future(call())
        await recorder.is_appending.wait()
        if is_native:
            task.cancel()
        else:
            scope.cancel()
        await anyio.lowlevel.checkpoint()
        recorder.gate.set()
        await asyncio.wait([task])

    ((_, ended),) = recorder.endings
    assert (ended.error_reason, ended.is_assumed, ended.cost_nano_usd) == ("interrupted", False, 0)
    assert recorder.text == ""
    assert recorder.account("nano_usd").held == 0


async def test_a_cost_above_the_hold_is_booked_in_full_and_stops_the_account(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    dear = ScriptStep(text="x", usage=ScriptedUsage(input_tokens=2_000_000, output_tokens=1))
    gateway = make_gateway(clock, dear, dear)

    await gateway.call(SOMEONE, ask(), recorder)

    assert recorder.endings[0][1].is_overrun
    assert recorder.account("nano_usd").spent == 2_000_000 * 1000 + 5000
    with pytest.raises(HoldRefused, match="stopped"):
        await gateway.call(SOMEONE, ask(), recorder)


class Unreporting:
    """A model server that reports no usage, or counts that cannot be."""

    def __init__(self, usage: Usage | None = None) -> None:
        self._usage = usage

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        yield ModelResponse(
            content=({"type": "text", "text": "hm"},),
            stop_reason="end_turn",
            usage=self._usage or Usage(),
            model=request.model,
            is_usage_known=self._usage is not None,
        )

    async def models(self) -> Sequence[ModelInfo]:
        return []

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    "usage", [None, Usage(input_tokens=900, output_tokens=-1000), Usage(input_tokens=10**18, output_tokens=1)]
)
async def test_an_answer_without_usage_or_with_less_than_none_is_assumed_to_cost_its_hold(
    clock: FakeClock, usage: Usage | None
) -> None:
    recorder = LedgerRecorder(tokens=5000)
    gateway = Gateway(
        router=ModelRouter({"local": Unreporting(usage)}, aliases={"mine": "local/qwen"}),
        prices=PriceTable({}, clock=clock),
        clock=clock,
        ids=Ids(clock),
        retries=RetrySettings(),
    )

    response = await gateway.call(SOMEONE, ask(model="mine"), recorder)

    assert response.content[0]["text"] == "hm"
    ((attempt, ended),) = recorder.endings
    assert ended.is_assumed
    assert ended.response is response
    assert response.usage == Usage()
    assert recorder.account("tokens").spent == attempt.holds[1].amount


SAID = "data: " + json.dumps({"choices": [{"delta": {"content": "hm"}, "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    ("reported", "per_call"),
    [
        ({"total_tokens": 5000}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": "4000", "completion_tokens": "1000"}, None),
        ({"prompt_tokens": 4000, "completion_tokens": 1000, "total_tokens": 4500}, None),
        (None, None),
        ({"prompt_tokens": 4000.0, "completion_tokens": 1000.0}, 5000),
        ({"prompt_tokens": 4000, "total_tokens": 5000}, 5000),
        (
            {
                "prompt_tokens": 1000,
                "completion_tokens": 50,
                "total_tokens": 5050,
                "completion_tokens_details": {"reasoning_tokens": 4000},
            },
            5050,
        ),
    ],
)
@pytest.mark.parametrize("price", [None, PRICE], ids=["tokens", "dollars"])
async def test_a_budget_binds_whatever_the_provider_reports(
    clock: FakeClock, reported: object, per_call: int | None, price: PriceOverride | None
) -> None:
    async def answer(exchange: Exchange) -> bool:
        usage = "data: " + json.dumps({"choices": [], "usage": reported})
        head = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        await exchange.send(head + f"{SAID}\n\n{usage}\n\ndata: [DONE]\n\n".encode())
        return False

    recorder = LedgerRecorder(tokens=None if price else 20_000, usd=0.05 if price else None)
    with anyio.fail_after(10):
        async with raw_server(answer) as server:
            driver = OpenAIChatProvider(api_key=None, base_url=server.url, name="local")
            gateway = Gateway(
                router=ModelRouter({"local": driver}, aliases={}),
                prices=PriceTable({} if price is None else {"local/m": price}, clock=clock),
                clock=clock,
                ids=Ids(clock),
                retries=RetrySettings(),
            )
            with pytest.raises(HoldRefused):
                await _call_for_ever(gateway, recorder)
            await driver.close()
    for attempt, ended in recorder.endings:
        hold = next(hold for hold in attempt.holds if hold.unit == ("nano_usd" if price else "tokens"))
        assert ended.is_assumed == (per_call is None)
        if per_call is None:
            assert ended.settlements[attempt.holds.index(hold)].amount == hold.amount
        else:
            assert ended.usage.total_tokens == per_call
    assert recorder.account("nano_usd" if price else "tokens").spent > 0


async def _call_for_ever(gateway: Gateway, recorder: LedgerRecorder) -> None:
    for _ in range(100):
        await gateway.call(SOMEONE, ask(model="local/m"), recorder)


async def test_a_real_driver_is_paid_at_list_price_after_its_failures(clock: FakeClock) -> None:
    recorder = LedgerRecorder(usd=1)
    usage = Usage(input_tokens=100, output_tokens=10, cache_read_input_tokens=1_000)
    server = ModelServer(
        [
            ServedAnswer(status=529, error_type="overloaded_error"),
            ServedAnswer(chunks=("half",), fault="cut"),
            ServedAnswer(chunks=("whole",), usage=usage),
        ]
    )
    with anyio.fail_after(5):
        async with server.serving():
            driver = AnthropicProvider(api_key="k", base_url=server.url)
            gateway = Gateway(
                router=ModelRouter({"anthropic": driver}, aliases={}),
                prices=PriceTable({}, clock=SystemClock()),
                clock=clock,
                ids=Ids(clock),
                retries=RetrySettings(),
            )
            response = await run_until_done(clock, gateway, ask(model="claude-opus-5-5"), recorder)
            await driver.close()

    assert response.content[0]["text"] == "whole"
    assert [ended.error_reason for _, ended in recorder.endings] == ["overloaded", "cut", None]
    cut_hold = recorder.attempts[1].holds[0].amount
    listed = 100 * 4_000 + 10 * 20_000 + 1_000 * 200
    assert recorder.account("nano_usd").spent == cut_hold + listed
    assert [request.body["model"] for request in server.requests] == ["claude-opus-5-5"] * 3


async def test_a_model_that_nobody_serves_names_every_way_to_get_one(clock: FakeClock) -> None:
    with pytest.raises(ModelUnavailable) as unavailable:
        await make_gateway(clock).call(SOMEONE, ask(model="claude-opus-5-5"), LedgerRecorder())

    for way in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "REMIT_OPENAI_BASE_URL", "scripted/"):
        assert way in unavailable.value.message


steps = st.builds(
    ScriptStep,
    text=st.text(max_size=60),
    usage=st.none()
    | st.builds(ScriptedUsage, input_tokens=st.integers(0, 300), output_tokens=st.integers(0, 200)),
    fault=st.none()
    | st.builds(
        ScriptedFault,
        kind=st.sampled_from(["overloaded", "rate_limited", "cut", "silence", "garbage", "refusal"]),
        times=st.integers(1, 3),
        after_chunks=st.integers(0, 3),
    ),
    delay_ms=st.sampled_from([0, 0, 5_000]),
)


@settings(max_examples=60, deadline=None)
@given(
    script=st.lists(steps, min_size=1, max_size=5),
    cancel_after=st.lists(st.none() | st.integers(0, 12), min_size=5, max_size=5),
    usd=st.floats(0.0005, 0.02),
    tokens=st.integers(500, 20_000),
)
async def test_spent_and_held_never_exceed_the_cap(
    script: list[ScriptStep], cancel_after: list[int | None], usd: float, tokens: int
) -> None:
    """Over random usage, faults and cancellations; the recorder itself asserts the budget after every append."""
    clock = FakeClock()
    recorder = LedgerRecorder(usd=usd, tokens=tokens)
    gateway = make_gateway(clock, *script)
    for index in range(len(script)):
        exchange: tuple[JsonObject, ...] = (
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "y"},
        )
        history: tuple[JsonObject, ...] = (*exchange * index, {"role": "user", "content": "go on"})
        request = ModelRequest(model="scripted/demo", messages=history, max_tokens=600)
        task = asyncio.ensure_future(gateway.call(SOMEONE, request, recorder))
        rounds = 0
        while not task.done():
            if rounds == cancel_after[index]:
                task.cancel()
            rounds += 1
            await (clock.advance(1) if rounds % 2 else asyncio.sleep(0))
        if not task.cancelled():
            assert task.exception() is None or isinstance(task.exception(), HoldRefused | ModelCallFailed)

    assert [attempt for attempt, _ in recorder.endings] == recorder.attempts
    assert all(hold.state != "open" for hold in recorder.holds.values())
    assert all(account.held == 0 for account in await recorder.accounts())
