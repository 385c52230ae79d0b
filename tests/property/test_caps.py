"""Caps per period: whoever spends at once, whatever is set meanwhile, when the period ends or a process dies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.clock import Clock
from remit.errors import HoldRefused, SequenceConflict
from remit.gateway.caps import Caps
from remit.gateway.direct_calls import DirectCalls
from remit.gateway.gateway import Gateway
from remit.gateway.retry_plan import RetrySettings
from remit.gateway.routing import ModelRouter
from remit.ids import Ids
from remit.interfaces import SessionStore
from remit.ledger.caps import PERIODS, WORKSPACE, CapName, Period, begins_anew, is_cap, label
from remit.ledger.prices import PriceOverride, PriceTable
from remit.models.drivers.scripted import (
    ModelScript,
    ScriptedFault,
    ScriptedProvider,
    ScriptedUsage,
    ScriptStep,
)
from remit.orchestrator.workspace_handler import WorkspaceHandler
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.faulty_store import Crash, CrashPlan, FaultyStore
from remit.testing.store_checks.given import given_stream
from remit.values import Append, Appended, ModelRequest, Principal, Unit

pytestmark = pytest.mark.anyio

PRICE = PriceOverride(input_per_million_usd=1.0, output_per_million_usd=5.0)
KEYS = ("apikey_a", "apikey_b")
STREAM = "wrkspc_one"
DAY_SECONDS = 86_400


class WatchedStore(MemorySessionStore):
    """After every append, nothing that is capped has more spent and held than its cap."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        appended = await super().append(principal, append)
        if append.stream_id == STREAM:
            for account in await self.accounts(principal, STREAM):
                used = account.spent + account.held + account.granted
                assert account.cap is None or used <= account.cap, account
        return appended


class World:
    """One store, several keys, calls that last as long as the clock says."""

    def __init__(
        self,
        clock: Clock,
        store: MemorySessionStore,
        steps: Sequence[ScriptStep] = (),
        *,
        faulty: SessionStore | None = None,
    ) -> None:
        ids = Ids(clock)
        self.store = store
        self.caps = Caps(store=faulty or store, clock=clock)
        provider = ScriptedProvider(
            {"demo": ModelScript(steps=(), default=steps[0] if steps else ScriptStep(text="Hi"))}, clock=clock
        )
        gateway = Gateway(
            router=ModelRouter({"scripted": provider}, aliases={}),
            prices=PriceTable({"scripted/demo": PRICE}, clock=clock),
            clock=clock,
            ids=ids,
            retries=RetrySettings(attempts_max=2, backoff_first_seconds=0.01),
            caps=self.caps,
        )
        self.calls = DirectCalls(gateway=gateway, store=faulty or store, clock=clock, ids=ids, server="one")
        self.clock = clock
        self.refused = self.spending = 0

    async def spend(self, key: str, *, max_tokens: int = 400) -> None:
        request = ModelRequest(
            model="scripted/demo", messages=({"role": "user", "content": "hello"},), max_tokens=max_tokens
        )
        self.spending += 1
        try:
            await self.calls.call(principal(key), request)
        except HoldRefused:
            self.refused += 1
        finally:
            self.spending -= 1

    async def look(self) -> None:
        """What a worker does when the workspace's stream is due; nobody else makes calls."""
        handler = WorkspaceHandler(
            store=self.store, clock=self.clock, calls=self.calls, caps=self.caps, owns_store=True
        )
        for lease in await self.store.claim("worker", kinds=("workspace",), lease_seconds=5, limit=1):
            result = await handler.run(lease, lambda: False)
            await self.store.release(lease, seen_seq=result.seen_seq, wake_at_us=result.wake_at_us)


def principal(key: str) -> Principal:
    return Principal(workspace_id=STREAM, actor=key)


subjects = st.sampled_from([WORKSPACE, *KEYS])
amounts = st.integers(min_value=1, max_value=6_000)
actions = st.one_of(
    st.tuples(st.just("spend"), st.sampled_from(KEYS), st.integers(min_value=1, max_value=900)),
    st.tuples(st.just("wait"), st.sampled_from([1, 40, 3_600, DAY_SECONDS]), st.none()),
    st.tuples(st.just("set"), subjects, st.tuples(st.sampled_from(PERIODS), amounts | st.none())),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(st.tuples(subjects, st.sampled_from(PERIODS), amounts), min_size=1, max_size=4),
    todo=st.lists(actions, max_size=14),
    output=st.integers(min_value=0, max_value=300),
    unit=st.sampled_from(["tokens", "nano_usd"]),
)
async def test_spent_and_held_are_never_above_any_cap(
    first: list[tuple[str, Period, int]], todo: list[tuple[str, str, object]], output: int, unit: Unit
) -> None:
    clock = FakeClock()
    usage = ScriptedUsage(input_tokens=20, output_tokens=output)
    store = WatchedStore(clock)
    world = World(clock, store, [ScriptStep(text="Good day", usage=usage, delay_ms=20_000)])
    scale = 1 if unit == "tokens" else 2_000

    async def set_cap(subject: str, period: Period, amount: int | None) -> None:
        wanted = None if amount is None else amount * scale
        await world.caps.set(principal("apikey_op"), CapName(subject, period), unit, wanted)

    for subject, period, amount in first:
        await set_cap(subject, period, amount)
    async with anyio.create_task_group() as tasks:
        for kind, what, how in todo:
            if kind == "spend":
                tasks.start_soon(world.spend, what)
            elif kind == "wait":
                await clock.advance(float(what))
            else:
                period, amount = cast("tuple[Period, int | None]", how)
                await set_cap(what, period, amount)
            await asyncio.sleep(0)
        while world.spending:
            await clock.advance(30)
    assert not [hold for hold in await store.holds(principal("x"), STREAM) if hold.state == "open"]
    assert not world.caps.under_way
    # What every period has spent is what the calls that began in it were settled at.
    for account in await store.accounts(principal("x"), STREAM):
        if is_cap(account.purpose):
            holds = [
                h
                for h in await store.holds(principal("x"), STREAM)
                if (h.purpose, h.unit) == (account.purpose, account.unit)
            ]
            assert account.spent == sum(hold.settled or 0 for hold in holds)


async def test_a_refusal_names_the_cap_and_when_it_begins_anew_and_the_next_period_is_open(
    clock: FakeClock,
) -> None:
    world = World(clock, WatchedStore(clock))
    await world.caps.set(principal("apikey_op"), CapName("apikey_a", "day"), "tokens", 700)
    request = ModelRequest(
        model="scripted/demo", messages=({"role": "user", "content": "hello"},), max_tokens=400
    )
    await world.calls.call(principal("apikey_a"), request)

    async def spend_out() -> None:
        for _ in range(40):
            await world.calls.call(principal("apikey_a"), request)

    with pytest.raises(HoldRefused, match="cap of key 'apikey_a'") as refused:
        await spend_out()
    assert refused.value.code == "budget_reached"
    await world.calls.call(principal("apikey_b"), request)
    await clock.advance(DAY_SECONDS)
    await world.calls.call(principal("apikey_a"), request)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_a_process_dies_the_next_one_settles_what_it_held(when: str, clock: FakeClock) -> None:
    for at in range(1, 9):
        store = MemorySessionStore(clock)
        setter = World(clock, store)
        for subject in (WORKSPACE, "apikey_a"):
            await setter.caps.set(principal("apikey_op"), CapName(subject, "month"), "tokens", 100_000)
        dying = World(clock, store, faulty=FaultyStore(store, CrashPlan(at=at, when=when)).store)  # type: ignore[arg-type]
        try:
            await dying.spend("apikey_a")
            is_dead = False
        except Crash:
            is_dead = True
        await clock.advance(120)
        next_one = World(clock, store)
        await next_one.look()
        accounts = {(a.purpose, a.unit): a for a in await store.accounts(principal("x"), STREAM)}
        work = accounts["work", "tokens"]
        for subject in (WORKSPACE, "apikey_a"):
            cap = accounts.get((CapName(subject, "month").purpose_at(next_one.caps.now()), "tokens"))
            assert cap is not None
            assert (cap.held, work.held) == (0, 0)
            assert cap.spent == work.spent
        if not is_dead:
            assert at > 2
            return
    pytest.fail("no call was ever whole")


@pytest.mark.parametrize(
    ("stream_id", "spent"),
    [
        pytest.param("sesn_gone", 300, id="deleted"),
        pytest.param(STREAM, 0, id="there, and the call never began"),
    ],
)
async def test_what_a_deleted_session_held_on_caps_is_settled_as_if_it_was_spent(
    stream_id: str, spent: int, clock: FakeClock
) -> None:
    """The process died between the hold and the call's start, or the session went with all that it said of the call."""
    store = MemorySessionStore(clock)
    first = World(clock, store)
    month = CapName("apikey_a", "month")
    await first.caps.set(principal("apikey_op"), month, "tokens", 1_000)
    if stream_id != STREAM:
        created = await given_stream(store, stream_id, principal=principal("apikey_a"))
        await store.delete_stream(principal("apikey_a"), stream_id, expected_seq=created.head_seq)
    await first.caps.hold(principal("apikey_a"), "call_1", {"tokens": 300}, stream_id=stream_id)
    await clock.advance(120)
    next_one = World(clock, store)
    for _ in range(2):  # once and for all
        await next_one.look()
    (cap,) = await next_one.caps.of(principal("x"), ["apikey_a"])
    assert (cap.account.spent, cap.account.held) == (spent, 0)
    holds = [hold for hold in await store.holds(principal("x"), STREAM) if hold.hold_id.startswith("call_1")]
    assert [hold.state for hold in holds] == ["assumed" if spent else "settled"]


async def test_a_cap_below_what_is_spent_leaves_nothing_and_can_be_raised_again(clock: FakeClock) -> None:
    world = World(clock, WatchedStore(clock))
    name = CapName(WORKSPACE, "month")
    await world.caps.set(principal("apikey_op"), name, "tokens", 50_000)
    await world.spend("apikey_a")
    await world.caps.set(principal("apikey_op"), name, "tokens", 1)
    await world.spend("apikey_a")
    assert world.refused == 1
    await world.caps.set(principal("apikey_op"), name, "tokens", 60_000)
    await world.spend("apikey_a")
    await world.caps.set(principal("apikey_op"), name, "tokens", None)
    assert await world.caps.of(principal("x")) == []
    await world.spend("apikey_a")
    assert world.refused == 1


async def test_a_call_whose_stream_refuses_its_start_holds_nothing(clock: FakeClock) -> None:
    world = World(clock, WatchedStore(clock))
    await world.caps.set(principal("apikey_op"), CapName(WORKSPACE, "day"), "tokens", 50_000)
    request = ModelRequest(model="scripted/demo", messages=(), max_tokens=400)
    await world.calls.call(principal("apikey_a"), request, key="same")
    clash = ModelRequest(model="scripted/demo", messages=(), max_tokens=400)
    two = [world.calls.call(principal("apikey_a"), clash, key="new") for _ in range(2)]
    results = await asyncio.gather(*two, return_exceptions=True)
    assert sum(isinstance(result, SequenceConflict) for result in results) == 1
    assert not [hold for hold in await world.store.holds(principal("x"), STREAM) if hold.state == "open"]


@given(seconds=st.integers(min_value=0, max_value=7_000_000_000), period=st.sampled_from(PERIODS))
def test_a_period_ends_where_the_next_begins(seconds: int, period: Period) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    anew = begins_anew(period, at)
    assert at < anew <= at + timedelta(days=31)
    assert label(period, anew - timedelta(microseconds=1)) == label(period, at) != label(period, anew)


async def test_a_failed_call_gives_back_what_it_held_on_caps(clock: FakeClock) -> None:
    fault = ScriptedFault(kind="overloaded", times=9)
    world = World(clock, WatchedStore(clock), [ScriptStep(text="x", fault=fault)])
    await world.caps.set(principal("apikey_op"), CapName(WORKSPACE, "day"), "tokens", 50_000)
    with anyio.fail_after(5):
        task = asyncio.ensure_future(world.spend("apikey_a"))
        while not task.done():
            await clock.advance(1)
        await asyncio.gather(task, return_exceptions=True)
    (cap,) = await world.caps.of(principal("x"))
    assert (cap.account.spent, cap.account.held) == (0, 0)
