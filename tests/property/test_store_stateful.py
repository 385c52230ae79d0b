"""Any sequence of calls does to the durable stores what it does to the memory store, their oracle."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from remit.errors import RemitError
from remit.interfaces import SessionStore
from remit.stores.memory import MemorySessionStore
from remit.stores.postgres.server import open_session_store as open_session_store_on_postgres
from remit.stores.sqlite.folder import open_session_store
from remit.testing.clock import FakeClock
from remit.values import (
    Append,
    Appended,
    Checkpoint,
    Effect,
    GrantClose,
    GrantGiveBack,
    GrantIn,
    GrantOut,
    Hold,
    Lease,
    NewEvent,
    NewStream,
    OpenAccount,
    OutboxItem,
    Page,
    Principal,
    SetCap,
    Settle,
    StreamFilter,
    StreamSummary,
)
from support.postgres_server import empty_database

Result = TypeVar("Result")

STREAM_IDS = ("sesn_1", "sesn_2", "remit_1")
ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
TWO = Principal(workspace_id="wrkspc_two", actor="apikey_two")

streams = st.sampled_from(STREAM_IDS)
principals = st.sampled_from((ONE, ONE, ONE, ONE, TWO))
names = st.sampled_from(("a", "b", "c", "d"))
units = st.sampled_from(("nano_usd", "tokens"))
purposes = st.sampled_from(("work", "verification"))
amounts = st.integers(min_value=-1, max_value=9)
caps = st.none() | st.integers(min_value=0, max_value=20)
in_us = st.integers(min_value=-2_000_000, max_value=4_000_000)

events = st.builds(
    NewEvent,
    event_id=st.sampled_from(("e1", "e2", "e3", "e4", "e5", "e6")),
    type=st.sampled_from(("user.message", "model.started")),
    visibility=st.sampled_from(("public", "private", "private")),
    body=st.binary(max_size=5),
    thread_id=st.none() | st.just("sthr_1"),
    key=st.none() | st.sampled_from([f"k{number}" for number in range(12)]),
)
effects = st.one_of(
    st.builds(OpenAccount, unit=units, purpose=purposes, cap=caps),
    st.builds(Hold, hold_id=names, unit=units, purpose=purposes, amount=amounts),
    st.builds(Hold, hold_id=names, unit=units, purpose=purposes, amount=amounts),
    st.builds(Settle, hold_id=names, unit=units, amount=amounts, is_assumed=st.booleans()),
    st.builds(
        GrantOut, grant_id=names, unit=units, purpose=purposes, amount=amounts, child_stream_id=streams
    ),
    st.builds(GrantIn, grant_id=names, unit=units, purpose=purposes, amount=amounts),
    st.builds(GrantGiveBack, grant_id=names, unit=units, purpose=purposes, amount=amounts),
    st.builds(GrantClose, grant_id=names, unit=units, purpose=purposes, spent=amounts),
    st.builds(SetCap, unit=units, purpose=purposes, cap=caps),
)
summaries = st.builds(
    StreamSummary,
    status=st.sampled_from(("idle", "running")),
    title=st.none() | st.just("A title"),
    agent_id=st.none() | st.just("agent_1"),
    archived_at_us=st.none() | st.just(1),
)
outboxes = st.lists(st.builds(OutboxItem, target_stream_id=streams, event=events), max_size=1)


class StoreAgainstOracle(RuleBasedStateMachine):
    """Every rule does one call on both stores and compares what came of it."""

    async def opened(self) -> SessionStore:
        """The store, with what was put into it before."""
        raise NotImplementedError

    def dispose(self) -> None:
        """Nothing of it is needed any more."""

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.oracle = MemorySessionStore(self.clock)
        self.leases: list[Lease] = []
        self.begin()
        self.store = self.runner.run(self.opened())

    def begin(self) -> None:
        """An empty place for the store."""

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.store.close())
            self.dispose()
            self.runner.close()

    def both(self, call: Callable[[SessionStore], Awaitable[Result]]) -> Result | None:
        """Call both; None when both refused in the same way."""
        expected, got = (self.outcome(call, store) for store in (self.oracle, self.store))
        assert got == expected, f"{got} instead of {expected}"
        return None if expected[0] is not None else expected[1]

    def outcome(
        self, call: Callable[[SessionStore], Awaitable[Result]], store: SessionStore
    ) -> tuple[type[BaseException] | None, Any]:
        async def run() -> Result:
            return await call(store)

        try:
            result = self.runner.run(run())
        except (RemitError, AssertionError) as error:
            return type(error), str(error)
        # Sequences are compared by what is in them; SQLite's are tuples where the oracle's are lists.
        return None, [*result] if isinstance(result, (list, tuple)) else result

    @rule(
        principal=principals,
        stream_id=streams,
        first=st.lists(events, max_size=2),
        effects=st.lists(effects, max_size=3),
        summary=summaries,
        parent=st.none() | streams,
    )
    def create(
        self,
        principal: Principal,
        stream_id: str,
        first: list[NewEvent],
        effects: list[Effect],
        summary: StreamSummary,
        parent: str | None,
    ) -> None:
        kind = "remit" if stream_id == "remit_1" else "session"
        stream = NewStream(stream_id=stream_id, kind=kind, parent_stream_id=parent, summary=summary)
        append = Append(stream_id=stream_id, events=tuple(first), effects=tuple(effects))
        self.both(lambda store: store.create_stream(principal, stream, append))

    @rule(
        principal=principals,
        stream_id=streams,
        new=st.lists(events, max_size=3),
        fence=st.sampled_from(("epoch", "stale epoch", "head", "stale head", "both", "none")),
        effects=st.lists(effects, max_size=3),
        outbox=outboxes,
        wake_in_us=st.none() | in_us,
        summary=st.none() | summaries,
    )
    def append(
        self,
        principal: Principal,
        stream_id: str,
        new: list[NewEvent],
        fence: str,
        effects: list[Effect],
        outbox: list[OutboxItem],
        wake_in_us: int | None,
        summary: StreamSummary | None,
    ) -> None:
        head = self.both(lambda store: store.head(ONE, stream_id))
        epoch, seq = (0, 0) if head is None else (head.epoch, head.seq)
        append = Append(
            stream_id=stream_id,
            events=tuple(new),
            epoch={"epoch": epoch, "both": epoch, "stale epoch": epoch - 1}.get(fence),
            expected_seq={"head": seq, "both": seq, "stale head": seq + 1}.get(fence),
            effects=tuple(effects),
            outbox=tuple(outbox),
            wake_at_us=None if wake_in_us is None else self.clock.now_us() + wake_in_us,
            summary=summary,
        )
        appended: Appended | None = self.both(lambda store: store.append(principal, append))
        if appended is not None and not appended.is_duplicate:
            assert [row.event_id for row in appended.rows] == [event.event_id for event in new]

    @rule(
        owner=names,
        kinds=st.sampled_from((("session",), ("session", "remit"))),
        limit=st.integers(1, 3),
        stream_id=st.none() | streams,
        running=st.dictionaries(st.sampled_from((ONE.workspace_id, TWO.workspace_id)), st.integers(0, 3)),
        each_max=st.none() | st.integers(1, 3),
    )
    def claim(
        self,
        owner: str,
        kinds: tuple[str, ...],
        limit: int,
        stream_id: str | None,
        running: dict[str, int],
        each_max: int | None,
    ) -> None:
        leases = self.both(
            lambda store: store.claim(
                owner,
                kinds=kinds,  # pyright: ignore[reportArgumentType]
                lease_seconds=2,
                limit=limit,
                stream_id=stream_id,
                running=running,
                each_max=each_max,
            )
        )
        self.leases += leases or []

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.floats(0, 3))
    def renew(self, data: st.DataObject, seconds: float) -> None:
        leases = data.draw(st.lists(st.sampled_from(self.leases), max_size=3))
        self.both(lambda store: store.renew(leases, lease_seconds=seconds))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seen_seq=st.integers(0, 12), wake_in_us=st.none() | in_us, is_near=st.booleans())
    def release(self, data: st.DataObject, seen_seq: int, wake_in_us: int | None, is_near: bool) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        at_us = None if wake_in_us is None else self.clock.now_us() + wake_in_us
        self.both(lambda store: store.release(lease, seen_seq=seen_seq, wake_at_us=at_us, is_near=is_near))

    @rule(principal=principals, stream_id=streams, wake_in_us=in_us)
    def wake(self, principal: Principal, stream_id: str, wake_in_us: int) -> None:
        at_us = self.clock.now_us() + wake_in_us
        self.both(lambda store: store.wake(principal, stream_id, at_us=at_us))

    @rule(principal=principals, stream_id=streams, seq=st.integers(0, 9), version=st.integers(1, 2))
    def put_checkpoint(self, principal: Principal, stream_id: str, seq: int, version: int) -> None:
        checkpoint = Checkpoint(stream_id=stream_id, seq=seq, version=version, body=b"%d" % seq)
        self.both(lambda store: store.put_checkpoint(principal, checkpoint))

    @rule(principal=principals, stream_id=streams, seq=st.integers(0, 4))
    def delete(self, principal: Principal, stream_id: str, seq: int) -> None:
        self.both(lambda store: store.delete_stream(principal, stream_id, expected_seq=seq))

    @rule()
    def raise_epochs(self) -> None:
        self.both(lambda store: store.raise_epochs())

    @rule(count=st.integers(1, 2))
    def deliver(self, count: int) -> None:
        due = self.both(lambda store: store.outbox_due(count)) or []
        self.both(lambda store: store.outbox_done([position for position, _, _ in due]))

    @rule(seconds=st.floats(0, 3))
    def pass_time(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule()
    def close_and_open_again(self) -> None:
        self.runner.run(self.store.close())
        self.store = self.runner.run(self.opened())

    @rule(
        principal=principals,
        stream_id=streams,
        seq=st.integers(0, 12),
        limit=st.integers(0, 4),
        visibility=st.sampled_from((None, "public", "private")),
    )
    def read(
        self, principal: Principal, stream_id: str, seq: int, limit: int, visibility: str | None
    ) -> None:
        self.both(
            lambda store: store.read(
                principal,
                stream_id,
                after_seq=seq,
                limit=limit,
                visibility=visibility,  # pyright: ignore[reportArgumentType]
            )
        )
        self.both(lambda store: store.read_stream(principal, stream_id, after_seq=seq, limit=limit))
        self.both(
            lambda store: store.read_before(
                principal,
                stream_id,
                before_seq=seq,
                limit=limit,
                visibility=visibility,  # pyright: ignore[reportArgumentType]
            )
        )

    @invariant()
    def everything_is_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        for stream_id in STREAM_IDS:
            self.both(lambda store, id=stream_id: store.head(ONE, id))
            self.both(lambda store, id=stream_id: store.accounts(ONE, id))
            self.both(lambda store, id=stream_id: store.holds(ONE, id))
            self.both(lambda store, id=stream_id: store.grants(ONE, id))
            self.both(lambda store, id=stream_id: store.read(ONE, id))
            self.both(lambda store, id=stream_id: store.checkpoint(ONE, id))
        for owner in (None, "a"):
            self.both(lambda store, owner=owner: store.next_wake_us(["session", "remit"], owner=owner))
        self.both(lambda store: store.list_streams(ONE, StreamFilter(kind="session"), Page(limit=5)))

    @invariant()
    def no_account_is_over_its_cap_and_the_log_has_no_gap(self) -> None:
        if not hasattr(self, "store"):
            return
        for stream_id in STREAM_IDS:
            for account in self.both(lambda store, id=stream_id: store.accounts(ONE, id)) or []:
                committed = account.spent + account.held + account.granted
                assert account.cap is None or committed <= account.cap or account.is_stopped
            rows = self.both(lambda store, id=stream_id: store.read(ONE, id)) or []
            assert [row.seq for row in rows] == list(range(1, len(rows) + 1))


class SqliteAgainstOracle(StoreAgainstOracle):
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())

    async def opened(self) -> SessionStore:
        return await open_session_store(self.folder, self.clock)

    def dispose(self) -> None:
        shutil.rmtree(self.folder)


class PostgresAgainstOracle(StoreAgainstOracle):
    def begin(self) -> None:
        self.given = empty_database()
        self.url = self.runner.run(self.given.__aenter__())

    async def opened(self) -> SessionStore:
        return await open_session_store_on_postgres(self.url, self.clock, name="test", connections=3)

    def dispose(self) -> None:
        self.runner.run(self.given.__aexit__(None, None, None))


TestSqliteAgainstOracle = SqliteAgainstOracle.TestCase
TestSqliteAgainstOracle.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

TestPostgresAgainstOracle = PostgresAgainstOracle.TestCase
TestPostgresAgainstOracle.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
TestPostgresAgainstOracle = pytest.mark.slow(pytest.mark.timeout(300)(TestPostgresAgainstOracle))
