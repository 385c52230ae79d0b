"""Checks of creating, appending, deleting."""

from __future__ import annotations

import asyncio

from remit.errors import Conflict, HoldRefused, LeaseLost, NotFound, SequenceConflict, StoreUnavailable
from remit.testing.store_checks.given import (
    IDLE,
    ONE,
    TWO,
    MakeStore,
    claim,
    crashes,
    event,
    given_lease,
    given_stream,
    refused,
)
from remit.values import (
    Append,
    Checkpoint,
    EventRow,
    Hold,
    NewEvent,
    NewStream,
    OpenAccount,
    OutboxItem,
    Page,
    Settle,
    StreamFilter,
    StreamSummary,
)

ALL_SESSIONS = StreamFilter(kind="session", include_archived=True)


async def check_a_created_stream_has_its_head_and_first_row(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        appended = await given_stream(store, parent_stream_id="remit_1", wake_at_us=clock.now_us() + 7)
        head = await store.head(ONE, "sesn_1")
        assert (head.workspace_id, head.stream_id, head.kind) == ("wrkspc_one", "sesn_1", "session")
        assert (head.parent_stream_id, head.seq, head.summary) == ("remit_1", 1, IDLE)
        assert (head.epoch, head.owner, head.lease_until_us) == (0, None, 0)
        assert (head.created_at_us, head.wake_at_us) == (clock.now_us(), clock.now_us() + 7)
        assert appended.head_seq == 1
        assert not appended.is_duplicate
        assert list(await store.read(ONE, "sesn_1")) == list(appended.rows)


async def check_creating_twice_does_nothing_the_second_time(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        first = await given_stream(store)
        lease = await given_lease(store, clock)
        await store.append(ONE, Append(stream_id="sesn_1", epoch=lease.epoch, events=(event("e2"),)))
        again = await given_stream(store, summary=StreamSummary(status="other"))
        assert again.is_duplicate
        assert (again.rows, again.head_seq) == (first.rows, 2)
        assert (await store.head(ONE, "sesn_1")).summary == IDLE


async def check_creation_with_a_hold_that_does_not_fit_leaves_no_stream(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        with refused(HoldRefused):
            await given_stream(store, effects=(Hold(hold_id="h", unit="tokens", purpose="work", amount=1),))
        with refused(NotFound, "sesn_1"):
            await store.head(ONE, "sesn_1")
        assert not (await given_stream(store)).is_duplicate


async def check_rows_carry_what_was_appended_byte_for_byte(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        body = '{"text": "snø \\u0000 \U0001f600"}'.encode() + b"\x00\xff"
        new = NewEvent(
            event_id="sevt_1",
            type="agent.message",
            visibility="public",
            body=body,
            schema_version=3,
            thread_id="sthr_1",
        )
        clock.jump(1.5)
        appended = await store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, events=(new,)))
        expected = EventRow(
            workspace_id="wrkspc_one",
            stream_id="sesn_1",
            seq=2,
            event_id="sevt_1",
            type="agent.message",
            visibility="public",
            schema_version=3,
            created_at_us=clock.now_us(),
            body=body,
            thread_id="sthr_1",
        )
        assert appended.rows == (expected,)
        assert list(await store.read(ONE, "sesn_1", after_seq=1)) == [expected]


async def check_an_append_may_say_when_its_rows_were_made(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock)
        made_at_us = clock.now_us() - 300
        appended = await store.append(
            ONE, Append(stream_id="sesn_1", epoch=lease.epoch, events=(event("e2"),), at_us=made_at_us)
        )
        assert [row.created_at_us for row in appended.rows] == [made_at_us]
        assert (await store.read(ONE, "sesn_1"))[-1] == appended.rows[0]


async def check_append_refuses_a_stale_and_a_future_epoch(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock)
        for epoch in (lease.epoch - 1, lease.epoch + 1):
            with refused(LeaseLost, "sesn_1"):
                await store.append(ONE, Append(stream_id="sesn_1", epoch=epoch, events=(event("e"),)))
        assert (await store.head(ONE, "sesn_1")).seq == 1
        await store.append(ONE, Append(stream_id="sesn_1", epoch=lease.epoch, events=(event("e"),)))
        assert (await store.head(ONE, "sesn_1")).seq == 2


async def check_append_refuses_another_position_than_expected(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        for expected_seq in (0, 2):
            with refused(SequenceConflict, "sesn_1"):
                await store.append(
                    ONE, Append(stream_id="sesn_1", expected_seq=expected_seq, events=(event("e"),))
                )
        await store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, events=(event("e"),)))


async def check_a_key_counts_once(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        append = Append(stream_id="sesn_1", events=(event("a", key="k1"), event("b", key="k2")))
        first = await store.append(ONE, append)
        await store.append(ONE, Append(stream_id="sesn_1", events=(event("c", key="k3"),)))
        again = await store.append(ONE, append)
        assert again.is_duplicate
        assert (again.rows, again.head_seq) == (first.rows, 4)
        assert [row.event_id for row in await store.read(ONE, "sesn_1")][1:] == ["a", "b", "c"]


async def check_a_duplicate_is_found_before_the_fence_and_does_nothing(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, effects=(OpenAccount(unit="tokens", purpose="work", cap=5),))
        await store.append(ONE, Append(stream_id="sesn_1", events=(event("a", key="k"),)))
        again = await store.append(
            ONE,
            Append(
                stream_id="sesn_1",
                events=(event("other", key="k"),),
                epoch=77,
                expected_seq=99,
                effects=(Hold(hold_id="h", unit="tokens", purpose="work", amount=6),),
                outbox=(OutboxItem(target_stream_id="remit_1", event=event("o", key="o")),),
                wake_at_us=clock.now_us(),
                summary=StreamSummary(status="other"),
            ),
        )
        assert again.is_duplicate
        assert [row.event_id for row in again.rows] == ["a"]
        assert list(await store.outbox_due(10)) == []
        head = await store.head(ONE, "sesn_1")
        assert (head.wake_at_us, head.summary) == (None, IDLE)


async def check_the_same_key_is_free_in_another_stream(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        for stream_id in ("sesn_1", "sesn_2"):
            await given_stream(store, stream_id)
            appended = await store.append(ONE, Append(stream_id=stream_id, events=(event("a", key="k"),)))
            assert not appended.is_duplicate


async def check_a_later_key_or_a_public_id_that_is_taken_is_a_conflict(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        await store.append(
            ONE, Append(stream_id="sesn_1", events=(event("a", key="k", visibility="public"),))
        )
        for events in (
            (event("b", key="new"), event("c", key="k")),
            (event("b", key="twice_1"), event("c", key="twice_2"), event("d", key="twice_2")),
            (event("a", key="new", visibility="public"),),
            (event("b", key="n1", visibility="public"), event("b", key="n2", visibility="public")),
        ):
            with refused(Conflict):
                await store.append(ONE, Append(stream_id="sesn_1", events=events))
        assert (await store.head(ONE, "sesn_1")).seq == 2
        # Private rows may share an id, with each other and with a public one: a receipt and its public row do.
        await store.append(ONE, Append(stream_id="sesn_1", expected_seq=2, events=(event("a"), event("a"))))
        assert [row.seq for row in await store.find_events(ONE, "sesn_1", "a")] == [2, 3, 4]


async def check_an_append_without_fence_or_key_crashes(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        for append in (
            Append(stream_id="sesn_1", events=(event("a"),)),
            Append(stream_id="sesn_1", events=(event("a", key="k"), event("b"))),
            Append(stream_id="sesn_1", summary=IDLE),
        ):
            with crashes():
                await store.append(ONE, append)
        assert (await store.head(ONE, "sesn_1")).seq == 1


async def check_an_append_may_have_no_events(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        summary = StreamSummary(status="running", archived_at_us=5)
        appended = await store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, summary=summary))
        assert (appended.rows, appended.head_seq) == ((), 1)
        lease = await given_lease(store, clock)
        opened = (OpenAccount(unit="tokens", purpose="work", cap=5),)
        await store.append(ONE, Append(stream_id="sesn_1", epoch=lease.epoch, effects=opened))
        assert (await store.head(ONE, "sesn_1")).summary == summary
        assert len(await store.accounts(ONE, "sesn_1")) == 1


async def check_a_refused_append_leaves_nothing(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, effects=(OpenAccount(unit="tokens", purpose="work", cap=5),))
        before = await store.head(ONE, "sesn_1")
        hold = Hold(hold_id="h1", unit="tokens", purpose="work", amount=3)
        append = Append(
            stream_id="sesn_1",
            expected_seq=1,
            events=(event("a", key="k", visibility="public"),),
            effects=(
                OpenAccount(unit="tokens", purpose="verification"),
                hold,
                Hold(hold_id="h2", unit="tokens", purpose="work", amount=3),
            ),
            outbox=(OutboxItem(target_stream_id="remit_1", event=event("o", key="o")),),
            wake_at_us=clock.now_us(),
            summary=StreamSummary(status="other"),
        )
        with refused(HoldRefused, "2 tokens"):
            await store.append(ONE, append)
        with crashes():
            settle_unknown = (hold, Settle(hold_id="unknown", unit="tokens", amount=1))
            await store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, effects=settle_unknown))
        assert await store.head(ONE, "sesn_1") == before
        assert [account.held for account in await store.accounts(ONE, "sesn_1")] == [0]
        assert list(await store.holds(ONE, "sesn_1")) == []
        assert list(await store.outbox_due(10)) == []
        assert list(await store.find_events(ONE, "sesn_1", "a")) == []
        # Neither the key nor the id is taken.
        await store.append(
            ONE, Append(stream_id="sesn_1", events=(event("a", key="k", visibility="public"),))
        )


async def check_concurrent_appends_are_numbered_without_a_gap(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        appends = [
            Append(stream_id="sesn_1", events=(event(f"e{n}", key=f"k{n}"), event(f"f{n}", key=f"l{n}")))
            for n in range(50)
        ]
        results = await asyncio.gather(*(store.append(ONE, append) for append in appends))
        assert [result.rows[0].seq for result in results] == [2 + 2 * n for n in range(50)]
        rows = await store.read(ONE, "sesn_1")
        assert [row.seq for row in rows] == list(range(1, 102))


async def check_of_many_writers_at_one_position_one_wins(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        results = await asyncio.gather(
            *(
                store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, events=(event(f"e{n}"),)))
                for n in range(20)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(result, SequenceConflict) for result in results) == 19
        assert (await store.head(ONE, "sesn_1")).seq == 2


async def check_one_refused_append_does_not_spoil_its_neighbours(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        appends = [
            Append(stream_id="sesn_1", events=(event(f"e{n}", key=f"k{n}"),), epoch=9 if n % 3 == 0 else None)
            for n in range(30)
        ]
        results = await asyncio.gather(
            *(store.append(ONE, append) for append in appends), return_exceptions=True
        )
        assert [isinstance(result, LeaseLost) for result in results] == [n % 3 == 0 for n in range(30)]
        assert (await store.head(ONE, "sesn_1")).seq == 21


async def check_another_workspaces_stream_is_not_there(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, wake_at_us=clock.now_us() + 9)
        await store.append(ONE, Append(stream_id="sesn_1", events=(event("a", key="k"),)))
        before = await store.head(ONE, "sesn_1")
        checkpoint = Checkpoint(stream_id="sesn_1", seq=1, version=1, body=b"x")
        for call in (
            store.append(TWO, Append(stream_id="sesn_1", events=(event("a", key="k"),))),
            store.append(TWO, Append(stream_id="sesn_1", events=(event("a", key="k9"),))),
            store.append(TWO, Append(stream_id="sesn_1", expected_seq=2, events=(event("a"),))),
            store.append(TWO, Append(stream_id="sesn_1", epoch=0, events=(event("a"),))),
            store.read(TWO, "sesn_1"),
            store.read_before(TWO, "sesn_1", before_seq=9, limit=9),
            store.find_events(TWO, "sesn_1", "a"),
            store.head(TWO, "sesn_1"),
            store.delete_stream(TWO, "sesn_1", expected_seq=2),
            store.accounts(TWO, "sesn_1"),
            store.holds(TWO, "sesn_1"),
            store.grants(TWO, "sesn_1"),
            store.wake(TWO, "sesn_1", at_us=1),
            store.put_checkpoint(TWO, checkpoint),
            store.checkpoint(TWO, "sesn_1"),
            given_stream(store, principal=TWO),
        ):
            with refused(NotFound, "sesn_1"):
                await call
        assert await store.head(ONE, "sesn_1") == before
        assert list(await store.list_streams(TWO, ALL_SESSIONS, Page(limit=10))) == []


async def check_an_unknown_stream_is_not_there(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        for call in (
            store.append(ONE, Append(stream_id="sesn_9", events=(event("a", key="k"),))),
            store.append(ONE, Append(stream_id="sesn_9", epoch=1, events=(event("a"),))),
            store.read(ONE, "sesn_9"),
            store.read(ONE, "sesn_9", limit=5_000),
            store.read_before(ONE, "sesn_9", before_seq=9, limit=9),
            store.find_events(ONE, "sesn_9", "a"),
            store.head(ONE, "sesn_9"),
            store.delete_stream(ONE, "sesn_9", expected_seq=0),
            store.accounts(ONE, "sesn_9"),
            store.holds(ONE, "sesn_9"),
            store.grants(ONE, "sesn_9"),
            store.wake(ONE, "sesn_9", at_us=1),
            store.checkpoint(ONE, "sesn_9"),
        ):
            with refused(NotFound, "sesn_9"):
                await call


async def check_a_deleted_stream_is_gone_but_its_money_is_not(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        effects = (
            OpenAccount(unit="tokens", purpose="work", cap=5),
            Hold(hold_id="h", unit="tokens", purpose="work", amount=2),
        )
        await given_stream(store, effects=effects, wake_at_us=clock.now_us())
        lease = await given_lease(store, clock)
        with refused(SequenceConflict):
            await store.delete_stream(ONE, "sesn_1", expected_seq=0)
        await store.delete_stream(ONE, "sesn_1", expected_seq=1)
        for call in (
            store.head(ONE, "sesn_1"),
            store.read(ONE, "sesn_1"),
            store.append(ONE, Append(stream_id="sesn_1", epoch=lease.epoch, events=(event("a"),))),
            store.append(ONE, Append(stream_id="sesn_1", events=(event("a", key="k"),))),
            store.wake(ONE, "sesn_1", at_us=1),
            store.checkpoint(ONE, "sesn_1"),
            store.delete_stream(ONE, "sesn_1", expected_seq=1),
            given_stream(store),
        ):
            with refused(NotFound, "sesn_1"):
                await call
        clock.jump(60)
        await store.raise_epochs()
        assert await claim(store) == []
        assert list(await store.renew([lease], lease_seconds=5)) == ["sesn_1"]
        assert list(await store.list_streams(ONE, ALL_SESSIONS, Page(limit=10))) == []
        assert [account.held for account in await store.accounts(ONE, "sesn_1")] == [2]
        assert [hold.hold_id for hold in await store.holds(ONE, "sesn_1")] == ["h"]
        assert list(await store.grants(ONE, "sesn_1")) == []


async def check_what_was_settled_of_a_deleted_stream_is_kept_for_its_parent_alone(
    make_store: MakeStore,
) -> None:
    async with make_store() as (store, _):
        effects = (
            OpenAccount(unit="tokens", purpose="work", cap=5),
            Hold(hold_id="open", unit="tokens", purpose="work", amount=2),
            Hold(hold_id="settled", unit="tokens", purpose="work", amount=2),
            Settle(hold_id="settled", unit="tokens", amount=1),
        )
        await given_stream(store, stream_id="remit_1", kind="remit")
        await given_stream(store, stream_id="sesn_alone", effects=effects)
        await given_stream(store, stream_id="sesn_child", parent_stream_id="remit_1", effects=effects)
        for stream_id, kept in (("sesn_alone", {"open"}), ("sesn_child", {"open", "settled"})):
            await store.delete_stream(ONE, stream_id, expected_seq=1)
            assert {hold.hold_id for hold in await store.holds(ONE, stream_id)} == kept
            assert [account.spent for account in await store.accounts(ONE, stream_id)] == [1]


async def check_a_closed_store_says_so(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        await store.close()
        for call in (
            store.head(ONE, "sesn_1"),
            store.read(ONE, "sesn_1", limit=5_000),
            store.append(ONE, Append(stream_id="sesn_1", events=(event("a", key="k"),))),
            store.raise_epochs(),
            store.next_wake_us(["session"]),
        ):
            with refused(StoreUnavailable):
                await call
        await store.close()


async def check_what_was_accepted_before_close_is_finished(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        appends = [
            asyncio.ensure_future(
                store.append(ONE, Append(stream_id="sesn_1", events=(event(f"e{n}", key=f"k{n}"),)))
            )
            for n in range(20)
        ]
        await asyncio.sleep(0)
        await store.close()
        assert [(await append).head_seq for append in appends] == list(range(2, 22))


async def check_creation_must_name_one_stream(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        with crashes():
            await store.create_stream(
                ONE,
                NewStream(stream_id="sesn_1", kind="session", summary=IDLE),
                Append(stream_id="sesn_2", events=(event("a"),)),
            )
