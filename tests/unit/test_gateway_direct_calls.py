"""Model calls on the workspace's ledger, and what becomes of those whose process died."""

from __future__ import annotations

import msgspec
import pytest

from remit.clock import SystemClock
from remit.errors import HoldRefused
from remit.gateway.caps import Caps
from remit.gateway.direct_calls import LOOK_AFTER_SECONDS, DirectCalls
from remit.gateway.gateway import Gateway
from remit.gateway.retry_plan import RetrySettings
from remit.gateway.routing import ModelRouter
from remit.gateway.workspace_stream import create_workspace_stream
from remit.ids import Ids
from remit.interfaces import SessionStore
from remit.ledger.prices import PriceOverride, PriceTable
from remit.models.drivers.scripted import ModelScript, ScriptedProvider, ScriptStep
from remit.orchestrator.workspace_handler import WorkspaceHandler
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.faulty_store import Crash, CrashPlan, FaultyStore
from remit.values import ANSWER_SECONDS_MAX, Account, ModelRequest, Principal, SetCap
from remit.values import Append as AppendTo

pytestmark = pytest.mark.anyio

SOMEONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
HELLO = ModelRequest(model="scripted/demo", messages=({"role": "user", "content": "hello"},), max_tokens=300)
PRICE = PriceOverride(input_per_million_usd=1.0, output_per_million_usd=5.0)


class Desk:
    """A store, and processes that make calls on it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemorySessionStore(self.clock)

    def calls(self, server: str, store: SessionStore | None = None) -> DirectCalls:
        ids = Ids(self.clock)
        gateway = Gateway(
            router=ModelRouter(
                {
                    "scripted": ScriptedProvider(
                        {"demo": ModelScript(steps=(ScriptStep(text="Good day"),))}, clock=SystemClock()
                    )
                },
                aliases={},
            ),
            prices=PriceTable({"scripted/demo": PRICE}, clock=self.clock),
            clock=self.clock,
            ids=ids,
            retries=RetrySettings(),
        )
        return DirectCalls(
            gateway=gateway, store=store or self.store, clock=self.clock, ids=ids, server=server
        )

    async def die_in_a_call(self, server: str) -> None:
        """The start is durable and the process is gone."""
        calls = self.calls(server, FaultyStore(self.store, CrashPlan(at=2, when="before")).store)
        await create_workspace_stream(self.store, SOMEONE)
        with pytest.raises(Crash):
            await calls.call(SOMEONE, HELLO)

    async def look(self, calls: DirectCalls, *, owns_store: bool = True) -> None:
        """What a worker does when the workspace's stream is due."""
        caps = Caps(store=self.store, clock=self.clock)
        handler = WorkspaceHandler(
            store=self.store, clock=self.clock, calls=calls, caps=caps, owns_store=owns_store
        )
        for lease in await self.store.claim("worker", kinds=("workspace",), lease_seconds=5, limit=1):
            result = await handler.run(lease, lambda: False)
            await self.store.release(lease, seen_seq=result.seen_seq, wake_at_us=result.wake_at_us)

    async def states(self) -> list[str]:
        return [hold.state for hold in await self.store.holds(SOMEONE, "wrkspc_one")]

    async def dollars(self) -> Account:
        accounts = await self.store.accounts(SOMEONE, "wrkspc_one")
        return next(one for one in accounts if (one.unit, one.purpose) == ("nano_usd", "work"))


async def test_a_call_whose_process_died_is_settled_at_its_hold_by_the_next() -> None:
    desk = Desk()
    await desk.die_in_a_call("first")
    assert await desk.states() == ["open", "open"]
    held = (await desk.dollars()).held
    desk.clock.jump(LOOK_AFTER_SECONDS)
    await desk.look(desk.calls("second"))
    assert await desk.states() == ["assumed", "assumed"]
    assert ((await desk.dollars()).spent, (await desk.dollars()).held) == (held, 0)
    last = msgspec.json.decode((await desk.store.read(SOMEONE, "wrkspc_one"))[-1].body)
    assert (last["type"], last["error_reason"], last["is_assumed"]) == ("model.ended", "lost", True)


async def test_a_call_that_is_under_way_is_left_alone() -> None:
    desk = Desk()
    await desk.die_in_a_call("first")
    calls = desk.calls("first")
    calls.under_way.add((await desk.store.holds(SOMEONE, "wrkspc_one"))[0].hold_id)
    desk.clock.jump(LOOK_AFTER_SECONDS)
    await desk.look(calls)
    assert await desk.states() == ["open", "open"]
    calls.under_way.clear()
    desk.clock.jump(LOOK_AFTER_SECONDS)
    await desk.look(calls)
    assert await desk.states() == ["assumed", "assumed"]


async def test_another_servers_call_is_left_alone_for_as_long_as_a_call_may_take() -> None:
    desk = Desk()
    await desk.die_in_a_call("first")
    other = desk.calls("second")
    desk.clock.jump(LOOK_AFTER_SECONDS)
    await desk.look(other, owns_store=False)
    assert await desk.states() == ["open", "open"]
    desk.clock.jump(ANSWER_SECONDS_MAX + 600)
    await desk.look(other, owns_store=False)
    assert await desk.states() == ["assumed", "assumed"]


async def test_a_stream_with_nothing_open_is_not_looked_at_again() -> None:
    desk = Desk()
    calls = desk.calls("first")
    await calls.call(SOMEONE, HELLO)
    desk.clock.jump(LOOK_AFTER_SECONDS)
    await desk.look(calls)
    assert await desk.store.next_wake_us(("workspace",)) is None


async def test_a_key_of_a_request_that_was_lost_may_be_used_again() -> None:
    desk = Desk()
    calls = desk.calls("first", FaultyStore(desk.store, CrashPlan(at=2, when="before")).store)
    await create_workspace_stream(desk.store, SOMEONE)
    with pytest.raises(Crash):
        await calls.call(SOMEONE, HELLO, key="one")
    desk.clock.jump(LOOK_AFTER_SECONDS)
    second = desk.calls("second")
    await desk.look(second)
    served = await second.call(SOMEONE, HELLO, key="one")
    again = await second.call(SOMEONE, HELLO, key="one")
    assert (served.is_repeated, again.is_repeated) == (False, True)
    assert again.response.content == served.response.content


async def test_a_workspace_with_a_cap_makes_no_call_that_does_not_fit() -> None:
    desk = Desk()
    calls = desk.calls("first")
    await calls.call(SOMEONE, HELLO)
    spent = (await desk.dollars()).spent
    await desk.store.append(
        SOMEONE,
        AppendTo(
            stream_id="wrkspc_one",
            expected_seq=(await desk.store.head(SOMEONE, "wrkspc_one")).seq,
            effects=(SetCap(unit="nano_usd", purpose="work", cap=spent + 1),),
        ),
    )
    with pytest.raises(HoldRefused, match="was not made"):
        await calls.call(SOMEONE, HELLO)
    assert (await desk.dollars()).spent == spent
