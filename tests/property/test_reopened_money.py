"""However often a remit is reopened, and whatever its calls really cost: no cap is passed but by an overrun, and what the
workspace books in the end is what was spent, to the nano-dollar."""

from __future__ import annotations

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.app.domain import build_domain
from remit.app.kinds import stream_kinds
from remit.bus.memory import MemoryBus
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.owned_blobs import OwnedBlobs
from remit.domain import Domain
from remit.errors import HoldRefused
from remit.gateway.workspace_stream import create_workspace_stream, workspace_stream_id
from remit.ids import Ids
from remit.interfaces import SessionStore
from remit.ledger.prices import PriceTable
from remit.orchestrator.worker import LocalDispatcher
from remit.remits import accounts, reopening
from remit.remits.events import Amount, Budget
from remit.remits.money import format_usd
from remit.remits.working_session import SessionInput
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.streams.grants import GrantNote, grants_in, grants_out, opening_effects
from remit.testing.clock import FakeClock
from remit.testing.memory_blobs import MemoryBlobStore
from remit.values import (
    Append,
    Effect,
    Hold,
    NewEvent,
    NewStream,
    Principal,
    Purpose,
    Settle,
    StreamSummary,
    Value,
)

PRINCIPAL = Principal(workspace_id="wrkspc_one", actor="tests")
REMIT, SESSION = "remit_1", "sesn_1"


class Call(Value, frozen=True, kw_only=True):
    """What a call holds and what it really costs, in thousandths of what is left of its account."""

    purpose: Purpose
    hold: int
    cost: int


class Round(Value, frozen=True, kw_only=True):
    """From a raise to the next end."""

    more: int
    """By how much the budget is above what was spent."""
    calls: tuple[Call, ...] = ()


calls = st.builds(
    Call,
    purpose=st.sampled_from(["work", "work", "verification"]),
    hold=st.integers(0, 1_000),
    cost=st.one_of(st.integers(0, 1_000), st.integers(0, 3_000)),
)
rounds = st.lists(
    st.builds(Round, more=st.integers(1, 5_000_000_000), calls=st.lists(calls, max_size=5).map(tuple)),
    min_size=1,
    max_size=5,
)


def _domain(store: SessionStore, clock: FakeClock, ids: Ids) -> Domain:
    catalog, prices = MemoryCatalog(clock), PriceTable({}, clock=clock)
    kinds = stream_kinds(prices)
    is_there = BlobOwners(store, catalog, kinds).is_there
    return build_domain(
        clock=clock,
        ids=ids,
        sessions=store,
        catalog=catalog,
        blobs=OwnedBlobs(MemoryBlobStore(clock), catalog, is_there, clock),
        bus=MemoryBus(),
        dispatcher=LocalDispatcher(),
        prices=prices,
        verifiers={},
        kinds=kinds,
    )


class Books:
    """A workspace, a remit and its session, in the ledger alone."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.store: SessionStore = MemorySessionStore(clock)
        self.ids = Ids(clock)
        self.session = SessionInput(_domain(self.store, clock, self.ids).sending, self.store)
        self.epoch = 0
        self.spent = 0
        self.overran = False
        self.reopened = 0

    async def begin(self, budget: Budget, reserve: Amount) -> None:
        notes = accounts.remit_grants(REMIT, budget, reserve)
        await create_workspace_stream(self.store, PRINCIPAL)
        await self._create(REMIT, "remit", None, opening_effects(notes))
        (lease,) = await self.store.claim("w", kinds=["remit"], lease_seconds=1e6, limit=1, stream_id=REMIT)
        self.epoch = lease.epoch
        await accounts.grant_from_workspace(self.store, PRINCIPAL, notes, REMIT)
        await self._append(REMIT, grants_in(notes))
        mine = accounts.session_grants(SESSION, await self.store.accounts(PRINCIPAL, REMIT))
        await self._append(REMIT, grants_out(mine, SESSION))
        effects = (*opening_effects(mine), *grants_in(mine))
        await self._create(SESSION, "session", REMIT, effects)

    async def reopen(self, budget: Budget, reserve: Amount, *, is_repeated: bool) -> None:
        self.reopened += 1
        own = await self.store.accounts(PRINCIPAL, REMIT)
        notes = reopening.reopening_grants(REMIT, self.reopened, budget, reserve, own)
        for _ in range(1 + is_repeated):
            await accounts.grant_from_workspace(self.store, PRINCIPAL, notes, REMIT)
        await self._append(REMIT, reopening.arriving(notes, own))
        own = await self.store.accounts(PRINCIPAL, REMIT)
        mine = reopening.reopened_session_grants(SESSION, self.reopened, own)
        await self._append(REMIT, grants_out(mine, SESSION))
        for _ in range(1 + is_repeated):
            await self._continue(mine)

    async def _continue(self, notes: tuple[GrantNote, ...]) -> None:
        await self.session.go_on(PRINCIPAL, SESSION, f"revt_{self.reopened}", notes)

    async def call(self, call: Call) -> None:
        account = next(
            a
            for a in await self.store.accounts(PRINCIPAL, SESSION)
            if (a.unit, a.purpose) == ("nano_usd", call.purpose)
        )
        assert account.remaining is not None
        amount = account.remaining * call.hold // 1_000
        hold = Hold(hold_id=self.ids.new("call"), unit="nano_usd", purpose=call.purpose, amount=amount)
        try:
            await self._append(SESSION, (hold,))
        except HoldRefused:
            assert account.is_stopped
            return
        await self.check()
        cost = amount * call.cost // 1_000
        self.overran = self.overran or cost > amount
        self.spent += cost
        await self._append(SESSION, (Settle(hold_id=hold.hold_id, unit="nano_usd", amount=cost),))

    async def end(self) -> None:
        for _ in range(2):  # the second time there is nothing left to do
            left = await accounts.close_session_grants(
                self.store, PRINCIPAL, REMIT, SESSION, epoch=self.epoch
            )
            assert left is None
            await accounts.return_to_workspace(self.store, PRINCIPAL, REMIT, epoch=self.epoch)
        workspace = await self.store.accounts(PRINCIPAL, workspace_stream_id(PRINCIPAL))
        assert sum(a.spent for a in workspace if a.unit == "nano_usd") == self.spent
        assert all(a.granted == 0 for a in workspace)

    async def check(self) -> None:
        totals = await accounts.read_totals(self.store, PRINCIPAL, REMIT, [SESSION])
        assert totals.spent["nano_usd"] == self.spent
        if self.overran:
            return
        for stream_id in (REMIT, SESSION):
            for account in await self.store.accounts(PRINCIPAL, stream_id):
                used = account.spent + account.held + account.granted
                assert account.cap is None or used <= account.cap

    async def _create(self, id: str, kind: str, parent: str | None, effects: tuple[Effect, ...]) -> None:
        stream = NewStream(
            stream_id=id,
            kind="remit" if kind == "remit" else "session",
            parent_stream_id=parent,
            summary=StreamSummary(status="idle"),
        )
        event = NewEvent(event_id=f"made_{id}", type="made", visibility="private", body=b"{}")
        append = Append(stream_id=id, events=(event,), effects=effects, wake_at_us=0)
        await self.store.create_stream(PRINCIPAL, stream, append)

    async def _append(self, stream_id: str, effects: tuple[Effect, ...]) -> None:
        seq = (await self.store.head(PRINCIPAL, stream_id)).seq
        await self.store.append(PRINCIPAL, Append(stream_id=stream_id, expected_seq=seq, effects=effects))


@settings(max_examples=100, deadline=None)
@given(
    first=st.integers(1, 5_000_000_000),
    rounds=rounds,
    reserve=st.integers(0, 10**9),
    is_repeated=st.booleans(),
)
def test_what_was_spent_is_booked_once_through_any_number_of_raises(
    first: int, rounds: list[Round], reserve: int, is_repeated: bool
) -> None:
    async def run() -> None:
        books = Books()
        kept = Amount(usd=format_usd(reserve))
        for number, one in enumerate(rounds):
            budget = Budget(usd=format_usd(books.spent + (one.more if number else first)))
            if number == 0:
                await books.begin(budget, kept)
            else:
                await books.reopen(budget, kept, is_repeated=is_repeated)
                session = await books.store.accounts(PRINCIPAL, SESSION)
                left = sum(a.remaining or 0 for a in session if a.unit == "nano_usd")
                assert left == one.more, "all that was granted can be spent, and nothing else"
            await books.check()
            for call in one.calls:
                await books.call(call)
                await books.check()
            await books.end()
            await books.check()

    anyio.run(run)
