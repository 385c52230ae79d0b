"""The invariant checker finds damage: each test plants one kind in a finished session and sees it named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from remit.gateway.workspace_stream import WORKSPACE, WorkspaceState
from remit.orchestrator.check import CheckReport, Serve, check_stream
from remit.schema import streams
from remit.stores.memory import MemorySessionStore
from remit.streams.kinds import Sight, StreamKinds
from remit.testing.clock import FakeClock
from remit.values import (
    Append,
    EventRow,
    GrantClose,
    GrantGiveBack,
    GrantIn,
    GrantOut,
    Hold,
    JsonObject,
    JsonValue,
    NewEvent,
    NewStream,
    OpenAccount,
    Principal,
    Settle,
    StreamSummary,
)

pytestmark = pytest.mark.anyio
SESSION, PARENT = "sesn_1", "remit_1"
TIMES = [f"2026-01-01T00:00:{second:02d}.000000Z" for second in range(60)]
HOLD = Hold(hold_id="call_1", unit="tokens", purpose="work", amount=100)
SETTLE = Settle(hold_id="call_1", unit="tokens", amount=40)


def row(type: str, event_id: str, *, second: int | None = None, **fields: JsonValue) -> NewEvent:
    body: JsonObject = {"id": event_id, "type": type, **fields}
    if second is not None:
        body["processed_at"] = TIMES[second]
    visibility = "private" if second is None else "public"
    return NewEvent(event_id=event_id, type=type, visibility=visibility, body=msgspec.json.encode(body))


def started(amount: int = 100) -> NewEvent:
    hold: JsonObject = {"hold_id": "call_1", "unit": "tokens", "purpose": "work", "amount": amount}
    return row("model.started", "p_start", call_id="call_1", holds=[hold])


ENDED = row("model.ended", "p_end", call_id="call_1")
USE = row("agent.tool_use", "sevt_use", second=1, name="bash", input={})
TOOL_STARTED = row("tool.started", "p_tool", tool_use_id="sevt_use")
RESULT = row("agent.tool_result", "sevt_result", second=2, tool_use_id="sevt_use")
IDLE = row("session.status_idle", "sevt_idle", second=3, stop_reason={"type": "end_turn"})


BARE = msgspec.structs.replace(
    WORKSPACE, names=streams.REMIT, summarize=lambda state: StreamSummary(status="idle")
)
"""A kind that derives nothing."""


class Bench:
    """A session in a memory store, written row by row."""

    def __init__(self, principal: Principal) -> None:
        self.clock = FakeClock()
        self.store = MemorySessionStore(self.clock)
        self.principal = principal

    async def make(self, stream_id: str = SESSION, *, cap: int = 1_000, parent: str | None = None) -> None:
        await self.store.create_stream(
            self.principal,
            NewStream(
                stream_id=stream_id,
                kind="remit" if stream_id == PARENT else "session",
                parent_stream_id=parent,
                summary=StreamSummary(status="idle"),
            ),
            Append(
                stream_id=stream_id,
                effects=(OpenAccount(unit="tokens", purpose="work", cap=cap),),
                events=(row("session.created", f"p_{stream_id}"),),
            ),
        )

    async def add(self, *events: NewEvent, stream_id: str = SESSION, effects: Sequence[object] = ()) -> None:
        head = await self.store.head(self.principal, stream_id)
        append = Append(stream_id=stream_id, events=events, expected_seq=head.seq, effects=tuple(effects))  # type: ignore[arg-type]
        await self.store.append(self.principal, append)

    async def check(
        self,
        stream_id: str = SESSION,
        store: object = None,
        *,
        serve: Serve | None = None,
        **fields: object,
    ) -> CheckReport:
        """`fields`: what the kind of sessions knows beside the least that one can."""
        sessions = msgspec.structs.replace(BARE, names=streams.SESSION, **fields)
        return await check_stream(
            store or self.store,  # type: ignore[arg-type]
            self.principal,
            stream_id,
            now_us=self.clock.now_us(),
            kinds=StreamKinds([BARE, sessions]),
            serve=serve,
        )

    async def rules(self, stream_id: str = SESSION) -> set[str]:
        return {violation.rule for violation in (await self.check(stream_id)).violations}


@pytest.fixture
async def bench(principal: Principal) -> Bench:
    bench = Bench(principal)
    await bench.make()
    return bench


async def whole_turn(bench: Bench) -> None:
    await bench.add(started(), effects=[HOLD])
    await bench.add(ENDED, USE, effects=[SETTLE])
    await bench.add(TOOL_STARTED)
    await bench.add(RESULT, IDLE)


async def test_a_whole_turn_has_no_violation(bench: Bench) -> None:
    await whole_turn(bench)
    assert (await bench.check()).violations == ()


async def test_a_call_that_never_ended_and_its_open_hold_are_found(bench: Bench) -> None:
    await bench.add(started(), effects=[HOLD])
    assert await bench.rules() == {"calls_end", "holds_closed"}


async def test_what_is_open_under_a_live_lease_is_no_violation(bench: Bench) -> None:
    await bench.add(started(), effects=[HOLD])
    await bench.store.wake(bench.principal, SESSION, at_us=bench.clock.now_us())
    await bench.store.claim("worker_1", kinds=["session"], lease_seconds=5, limit=1)
    assert await bench.rules() == set()


async def test_a_hold_that_outlives_its_call_is_found(bench: Bench) -> None:
    await bench.add(started(), effects=[HOLD])
    await bench.add(ENDED)
    assert await bench.rules() == {"holds_closed"}


async def test_a_hold_without_a_call_is_found(bench: Bench) -> None:
    await bench.add(effects=[HOLD, SETTLE])
    assert await bench.rules() == {"holds_match_calls"}


async def test_a_call_without_its_hold_is_found(bench: Bench) -> None:
    await bench.add(started(), ENDED)
    assert await bench.rules() == {"holds_match_calls"}


async def test_a_hold_of_another_amount_than_the_log_says_is_found(bench: Bench) -> None:
    await bench.add(started(amount=7), ENDED, effects=[HOLD, SETTLE])
    assert await bench.rules() == {"holds_match_calls"}


async def test_a_tool_use_without_a_result_is_found(bench: Bench) -> None:
    await bench.add(USE, IDLE)
    assert await bench.rules() == {"tool_results"}


async def test_two_results_of_one_use_are_found(bench: Bench) -> None:
    again = row("agent.tool_result", "sevt_again", second=2, tool_use_id="sevt_use")
    await bench.add(USE, TOOL_STARTED, RESULT, again, IDLE)
    assert await bench.rules() == {"tool_results"}


async def test_a_result_that_nobody_asked_for_is_found(bench: Bench) -> None:
    await bench.add(RESULT, IDLE)
    assert await bench.rules() == {"tool_results"}


async def test_a_tool_that_starts_after_its_result_is_found(bench: Bench) -> None:
    await bench.add(USE, RESULT, TOOL_STARTED, IDLE)
    assert await bench.rules() == {"tool_order"}


async def test_a_tool_that_starts_twice_is_found(bench: Bench) -> None:
    await bench.add(USE, TOOL_STARTED, TOOL_STARTED, RESULT, IDLE)
    assert await bench.rules() == {"tool_order"}


async def test_time_that_goes_back_is_found(bench: Bench) -> None:
    late = row("session.usage", "sevt_late", second=9)
    await bench.add(late, IDLE)
    assert await bench.rules() == {"processed_at"}


async def test_a_public_row_without_a_time_is_found(bench: Bench) -> None:
    bare = NewEvent(event_id="sevt_bare", type="agent.message", visibility="public", body=b"{}")
    await bench.add(bare)
    assert await bench.rules() == {"processed_at"}


async def test_a_grant_that_nobody_gave_is_found(bench: Bench) -> None:
    await bench.add(effects=[GrantIn(grant_id="g", unit="tokens", purpose="work", amount=5)])
    assert await bench.rules() == {"grants_match"}


async def grant(bench: Bench, *, out: int, came_in: int) -> None:
    await bench.make(PARENT)
    await bench.make("sesn_2", cap=0, parent=PARENT)
    given = GrantOut(grant_id="g", unit="tokens", purpose="work", amount=out, child_stream_id="sesn_2")
    await bench.add(stream_id=PARENT, effects=[given])
    taken = GrantIn(grant_id="g", unit="tokens", purpose="work", amount=came_in)
    await bench.add(stream_id="sesn_2", effects=[taken])


async def test_a_grant_with_two_amounts_is_found_in_the_child(bench: Bench) -> None:
    await grant(bench, out=5, came_in=6)
    assert await bench.rules(PARENT) == {"grants_match"}


async def test_a_grant_given_back_and_never_closed_is_found(bench: Bench) -> None:
    await grant(bench, out=5, came_in=5)
    back = GrantGiveBack(grant_id="g", unit="tokens", purpose="work", amount=5)
    await bench.add(stream_id="sesn_2", effects=[back])
    assert await bench.rules(PARENT) == {"grants_match"}


async def test_a_grant_closed_on_both_sides_is_fine(bench: Bench) -> None:
    await grant(bench, out=5, came_in=5)
    back = GrantGiveBack(grant_id="g", unit="tokens", purpose="work", amount=5)
    await bench.add(stream_id="sesn_2", effects=[back])
    await bench.add(
        stream_id=PARENT, effects=[GrantClose(grant_id="g", unit="tokens", purpose="work", spent=0)]
    )
    assert await bench.rules(PARENT) == set()


async def test_a_grant_that_never_arrived_is_found(bench: Bench) -> None:
    await bench.make(PARENT)
    given = GrantOut(grant_id="g", unit="tokens", purpose="work", amount=5, child_stream_id="sesn_9")
    await bench.add(stream_id=PARENT, effects=[given])
    assert await bench.rules(PARENT) == {"grants_match"}


async def test_a_list_that_shows_another_status_than_the_log_is_found(bench: Bench) -> None:
    report = await bench.check(summarize=lambda state: StreamSummary(status="terminated"))
    assert {violation.rule for violation in report.violations} == {"fold_equals_served"}


async def test_an_answer_that_differs_from_the_log_is_found(bench: Bench) -> None:
    async def serve(principal: Principal, kind: str, stream_id: str) -> JsonObject:
        return {"title": "served", "status": "idle"}

    report = await bench.check(
        serve=serve, derive=lambda session_id, state: {"title": "in the log", "status": "idle"}
    )
    assert [violation.message for violation in report.violations] == [
        "the log says title 'in the log', the API serves 'served'"
    ]


async def test_a_receipt_that_leaves_a_call_out_is_found(bench: Bench) -> None:
    await whole_turn(bench)

    async def receipt(sight: Sight[WorkspaceState]) -> JsonObject:
        return {"calls": [], "spent_exact": {"nano_usd": 0, "tokens": 40}}

    report = await bench.check(receipt=receipt)
    assert [violation.rule for violation in report.violations] == ["receipt_equals_ledger"] * 2


class Damaged:
    """A store that reads something else than was written: what a store can never be made to write."""

    def __init__(self, store: MemorySessionStore, **changes: object) -> None:
        self._store = store
        self._changes = changes

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def read(self, principal: Principal, stream_id: str, **options: Any) -> list[EventRow]:
        rows = list(await self._store.read(principal, stream_id, **options))
        if self._changes.get("drops_a_row"):
            del rows[1]
        if self._changes.get("repeats_an_id"):
            rows[-1] = msgspec.structs.replace(rows[-1], event_id="sevt_use")
        return rows

    async def accounts(self, principal: Principal, stream_id: str) -> list[object]:
        accounts = await self._store.accounts(principal, stream_id)
        return [msgspec.structs.replace(account, **self._changes.get("account", {})) for account in accounts]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ({"drops_a_row": True}, "positions"),
        ({"repeats_an_id": True}, "event_ids"),
        ({"account": {"spent": 41}}, "accounts_add_up"),
        ({"account": {"held": 1}}, "accounts_add_up"),
        ({"account": {"cap": 39}}, "within_cap"),
    ],
)
async def test_what_no_store_should_hold_is_found(bench: Bench, damage: dict[str, object], rule: str) -> None:
    await whole_turn(bench)
    report = await bench.check(store=Damaged(bench.store, **damage))
    assert rule in {violation.rule for violation in report.violations}
