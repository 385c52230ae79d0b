"""Checks of accounts, holds and grants as a store keeps them; the arithmetic itself is tested where it lives."""

from __future__ import annotations

import asyncio

from remit.errors import HoldRefused
from remit.interfaces import SessionStore
from remit.testing.store_checks.given import ONE, MakeStore, crashes, event, given_stream, refused
from remit.values import (
    Account,
    Append,
    Effect,
    GrantClose,
    GrantGiveBack,
    GrantIn,
    GrantOut,
    GrantRow,
    Hold,
    HoldRow,
    OpenAccount,
    SetCap,
    Settle,
)


async def check_accounts_are_sorted_and_opened_once(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        opened = (
            OpenAccount(unit="tokens", purpose="work", cap=7),
            OpenAccount(unit="nano_usd", purpose="work"),
            OpenAccount(unit="tokens", purpose="verification", cap=1),
        )
        await given_stream(store, effects=opened)
        await _apply(store, OpenAccount(unit="tokens", purpose="work", cap=99))
        assert list(await store.accounts(ONE, "sesn_1")) == [
            Account(stream_id="sesn_1", unit="tokens", purpose="verification", cap=1),
            Account(stream_id="sesn_1", unit="nano_usd", purpose="work", cap=None),
            Account(stream_id="sesn_1", unit="tokens", purpose="work", cap=7),
        ]


async def check_a_hold_is_kept_with_its_position_and_settled_with_its_time(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, effects=(OpenAccount(unit="nano_usd", purpose="work", cap=10),))
        held_at_us = clock.now_us()
        await store.append(
            ONE,
            Append(
                stream_id="sesn_1",
                events=(event("a", key="a"), event("b", key="b")),
                effects=(Hold(hold_id="h", unit="nano_usd", purpose="work", amount=6),),
            ),
        )
        open_hold = HoldRow(
            stream_id="sesn_1",
            hold_id="h",
            unit="nano_usd",
            purpose="work",
            amount=6,
            state="open",
            settled=None,
            is_overrun=False,
            seq=3,
            created_at_us=held_at_us,
            settled_at_us=None,
        )
        assert list(await store.holds(ONE, "sesn_1", only_open=True)) == [open_hold]
        clock.jump(2)
        await _apply(store, Settle(hold_id="h", unit="nano_usd", amount=4))
        assert list(await store.holds(ONE, "sesn_1", only_open=True)) == []
        (settled,) = await store.holds(ONE, "sesn_1")
        assert (settled.state, settled.settled, settled.seq) == ("settled", 4, 3)
        assert (settled.created_at_us, settled.settled_at_us) == (held_at_us, clock.now_us())
        (account,) = await store.accounts(ONE, "sesn_1")
        assert (account.spent, account.held, account.remaining) == (4, 0, 6)


async def check_holds_come_in_order_of_creation(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(
            store,
            effects=(
                OpenAccount(unit="tokens", purpose="work"),
                OpenAccount(unit="nano_usd", purpose="work"),
            ),
        )
        for hold_id in ("z", "a", "m"):
            await _apply(
                store,
                Hold(hold_id=hold_id, unit="tokens", purpose="work", amount=1),
                Hold(hold_id=hold_id, unit="nano_usd", purpose="work", amount=2),
            )
        await _apply(store, Settle(hold_id="z", unit="tokens", amount=1, is_assumed=True))
        holds = await store.holds(ONE, "sesn_1")
        assert [hold.hold_id for hold in holds] == ["z", "z", "a", "a", "m", "m"]
        assert [hold.unit for hold in holds[:2]] == ["tokens", "nano_usd"]
        assert [hold.state for hold in holds[:2]] == ["assumed", "open"]
        assert len(await store.holds(ONE, "sesn_1", only_open=True)) == 5


async def check_of_many_concurrent_holds_only_those_that_fit_are_made(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store, effects=(OpenAccount(unit="tokens", purpose="work", cap=10),))
        results = await asyncio.gather(
            *(
                store.append(
                    ONE,
                    Append(
                        stream_id="sesn_1",
                        events=(event(f"e{number}", key=f"k{number}"),),
                        effects=(Hold(hold_id=f"h{number}", unit="tokens", purpose="work", amount=3),),
                    ),
                )
                for number in range(12)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(result, HoldRefused) for result in results) == 9
        (account,) = await store.accounts(ONE, "sesn_1")
        assert (account.held, account.remaining) == (9, 1)
        assert (await store.head(ONE, "sesn_1")).seq == 4


async def check_a_settlement_above_its_hold_is_booked_and_stops_the_account(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(
            store,
            effects=(
                OpenAccount(unit="tokens", purpose="work", cap=10),
                Hold(hold_id="h", unit="tokens", purpose="work", amount=2),
            ),
        )
        await _apply(store, Settle(hold_id="h", unit="tokens", amount=5))
        (account,) = await store.accounts(ONE, "sesn_1")
        assert (account.spent, account.is_stopped, account.remaining) == (5, True, 0)
        assert (await store.holds(ONE, "sesn_1"))[0].is_overrun
        with refused(HoldRefused, "stopped"):
            await _apply(store, Hold(hold_id="h2", unit="tokens", purpose="work", amount=1))
        await _apply(store, SetCap(unit="tokens", purpose="work", cap=6))
        await _apply(store, Hold(hold_id="h2", unit="tokens", purpose="work", amount=1))
        with refused(HoldRefused):
            await _apply(store, SetCap(unit="tokens", purpose="work", cap=6))
        await _apply(store, SetCap(unit="tokens", purpose="work", cap=None))
        (account,) = await store.accounts(ONE, "sesn_1")
        assert (account.cap, account.remaining, account.is_stopped) == (None, None, False)


async def check_settling_twice_crashes_and_changes_nothing(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(
            store,
            effects=(
                OpenAccount(unit="tokens", purpose="work", cap=10),
                Hold(hold_id="h", unit="tokens", purpose="work", amount=2),
            ),
        )
        await _apply(store, Settle(hold_id="h", unit="tokens", amount=1))
        with crashes():
            await _apply(store, Settle(hold_id="h", unit="tokens", amount=1))
        with crashes():
            await _apply(store, Settle(hold_id="h", unit="nano_usd", amount=1))
        assert (await store.accounts(ONE, "sesn_1"))[0].spent == 1


async def check_a_grant_moves_money_once_and_comes_back_once(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(
            store, "remit_1", kind="remit", effects=(OpenAccount(unit="tokens", purpose="work", cap=10),)
        )
        await given_stream(store, "sesn_1")
        out = GrantOut(grant_id="g", unit="tokens", purpose="work", amount=6, child_stream_id="sesn_1")
        into = GrantIn(grant_id="g", unit="tokens", purpose="work", amount=6)
        back = GrantGiveBack(grant_id="g", unit="tokens", purpose="work", amount=4)
        close = GrantClose(grant_id="g", unit="tokens", purpose="work", spent=2)
        for _ in range(2):
            await _apply(store, out, stream_id="remit_1")
            await _apply(store, into)
        assert await _figures(store, "remit_1") == (10, 0, 6)
        assert await _figures(store, "sesn_1") == (6, 0, 0)
        await _apply(store, Hold(hold_id="h", unit="tokens", purpose="work", amount=3))
        with refused(HoldRefused):
            await _apply(store, back)
        await _apply(store, Settle(hold_id="h", unit="tokens", amount=2))
        for _ in range(2):
            await _apply(store, back)
            await _apply(store, close, stream_id="remit_1")
        assert await _figures(store, "remit_1") == (10, 2, 0)
        assert await _figures(store, "sesn_1") == (2, 2, 0)
        # Late repetitions of the first half change nothing either.
        await _apply(store, out, stream_id="remit_1")
        await _apply(store, into)
        assert await _figures(store, "remit_1") == (10, 2, 0)
        assert await _figures(store, "sesn_1") == (2, 2, 0)
        row = GrantRow(
            stream_id="remit_1",
            grant_id="g",
            unit="tokens",
            purpose="work",
            direction="out",
            amount=6,
            state="closed",
            spent=2,
            child_stream_id="sesn_1",
        )
        assert list(await store.grants(ONE, "remit_1")) == [row]
        (incoming,) = await store.grants(ONE, "sesn_1")
        assert (incoming.direction, incoming.state, incoming.spent) == ("in", "closed", 2)


async def check_grants_come_in_order_of_creation_in_both_directions(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        await _apply(store, GrantIn(grant_id="z", unit="tokens", purpose="work", amount=5))
        out = GrantOut(grant_id="a", unit="tokens", purpose="work", amount=2, child_stream_id="sesn_2")
        await _apply(store, out, GrantIn(grant_id="m", unit="nano_usd", purpose="work", amount=1))
        grants = await store.grants(ONE, "sesn_1")
        assert [(grant.grant_id, grant.direction) for grant in grants] == [
            ("z", "in"),
            ("a", "out"),
            ("m", "in"),
        ]


async def _apply(store: SessionStore, *effects: Effect, stream_id: str = "sesn_1") -> None:
    head = await store.head(ONE, stream_id)
    await store.append(ONE, Append(stream_id=stream_id, expected_seq=head.seq, effects=effects))


async def _figures(store: SessionStore, stream_id: str) -> tuple[int | None, int, int]:
    (account,) = await store.accounts(ONE, stream_id)
    assert account.held == 0
    return account.cap, account.spent, account.granted
