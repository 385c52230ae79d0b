"""Checks of wakes, leases and the fence."""

from __future__ import annotations

import asyncio

from remit.errors import LeaseLost
from remit.testing.store_checks.given import (
    ONE,
    TWO,
    MakeStore,
    claim,
    event,
    given_lease,
    given_stream,
    refused,
)
from remit.values import NEAR_US, Append, Lease


async def check_a_stream_is_due_at_its_wake_and_not_before(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, wake_at_us=clock.now_us() + 2_000_000)
        assert await claim(store) == []
        assert await store.next_wake_us(["session"]) == clock.now_us() + 2_000_000
        clock.jump(2)
        assert await claim(store) == [
            Lease(
                workspace_id="wrkspc_one",
                stream_id="sesn_1",
                kind="session",
                epoch=1,
                owner="worker_1",
                until_us=clock.now_us() + 5_000_000,
            )
        ]
        head = await store.head(ONE, "sesn_1")
        assert (head.epoch, head.owner, head.wake_at_us) == (1, "worker_1", None)
        assert head.lease_until_us == clock.now_us() + 5_000_000
        assert await store.next_wake_us(["session"]) is None


async def check_a_stream_without_wake_is_never_due(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        clock.jump(1_000_000)
        assert await claim(store) == []
        assert await claim(store, stream_id="sesn_1") == []
        assert await store.next_wake_us(["session"]) is None


async def check_a_wake_is_only_ever_moved_earlier(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        now_us = clock.now_us()
        await given_stream(store, wake_at_us=now_us + 50)
        await store.wake(ONE, "sesn_1", at_us=now_us + 70)
        assert (await store.head(ONE, "sesn_1")).wake_at_us == now_us + 50
        await store.wake(ONE, "sesn_1", at_us=now_us + 40)
        assert (await store.head(ONE, "sesn_1")).wake_at_us == now_us + 40
        for at_us, expected_us in ((now_us + 60, now_us + 40), (now_us + 30, now_us + 30)):
            append = Append(
                stream_id="sesn_1", events=(event(f"e{at_us}", key=f"k{at_us}"),), wake_at_us=at_us
            )
            await store.append(ONE, append)
            assert (await store.head(ONE, "sesn_1")).wake_at_us == expected_us


async def check_a_leased_stream_is_handed_to_nobody_else(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, wake_at_us=clock.now_us())
        assert len(await claim(store, owner="worker_1")) == 1
        await store.wake(ONE, "sesn_1", at_us=clock.now_us())
        assert await claim(store, owner="worker_2") == []
        assert await claim(store, owner="worker_1", stream_id="sesn_1") == []


async def check_two_claimers_never_share(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        for number in range(30):
            await given_stream(store, f"sesn_{number:02}", wake_at_us=clock.now_us())
        claims = await asyncio.gather(
            *(claim(store, owner=f"worker_{number}", limit=4) for number in range(10))
        )
        claimed = [lease.stream_id for leases in claims for lease in leases]
        assert len(claimed) == len(set(claimed)) == 30
        for owner, leases in enumerate(claims):
            assert {lease.owner for lease in leases} <= {f"worker_{owner}"}


async def check_what_is_near_to_one_owner_waits_for_it_a_little(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock, owner="worker_1")
        wake_at_us = clock.now_us() + 1_000_000
        await store.release(lease, seen_seq=1, wake_at_us=wake_at_us, is_near=True)
        assert await store.next_wake_us(["session"], owner="worker_1") == wake_at_us
        assert await store.next_wake_us(["session"], owner="worker_2") == wake_at_us + NEAR_US
        clock.jump(1.0)
        assert await claim(store, owner="worker_2") == []
        assert await claim(store, owner="worker_2", stream_id="sesn_1") == []
        (again,) = await claim(store, owner="worker_1")
        await store.release(again, seen_seq=1, wake_at_us=clock.now_us(), is_near=True)
        clock.jump(NEAR_US / 1_000_000)
        (taken,) = await claim(store, owner="worker_2")
        await store.release(taken, seen_seq=1, wake_at_us=clock.now_us())
        assert [lease.owner for lease in await claim(store, owner="worker_3")] == ["worker_3"]


async def check_a_start_ends_what_was_near(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock, owner="worker_1")
        await store.release(lease, seen_seq=1, wake_at_us=clock.now_us(), is_near=True)
        await store.raise_epochs()
        assert len(await claim(store, owner="worker_2")) == 1


async def check_claims_take_the_oldest_wake_first_and_keep_to_the_limit(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        now_us = clock.now_us()
        for stream_id, wake_at_us in (("sesn_a", now_us - 1), ("sesn_b", now_us - 3), ("sesn_c", now_us - 2)):
            await given_stream(store, stream_id, wake_at_us=wake_at_us)
        assert [lease.stream_id for lease in await claim(store, limit=2)] == ["sesn_b", "sesn_c"]
        assert [lease.stream_id for lease in await claim(store, limit=2)] == ["sesn_a"]


async def check_workspaces_take_turns_at_being_claimed(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        now_us = clock.now_us()
        for number in range(20):
            await given_stream(store, f"sesn_batch_{number:02}", wake_at_us=now_us - 100 + number)
        await given_stream(store, "sesn_other", principal=TWO, wake_at_us=now_us)
        leases = await claim(store, limit=4)
        assert [lease.stream_id for lease in leases] == [
            "sesn_batch_00",
            "sesn_other",
            "sesn_batch_01",
            "sesn_batch_02",
        ]


async def check_what_a_workspace_has_running_counts_in_its_turn(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        now_us = clock.now_us()
        for number in range(9):
            await given_stream(store, f"sesn_one_{number}", wake_at_us=now_us - 9)
            await given_stream(store, f"sesn_two_{number}", principal=TWO, wake_at_us=now_us - 1)
        leases = await claim(store, limit=4, running={"wrkspc_one": 3})
        assert [lease.workspace_id for lease in leases] == ["wrkspc_two"] * 3 + ["wrkspc_one"]


async def check_a_workspace_that_has_its_most_gets_none(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        now_us = clock.now_us()
        for number in range(9):
            await given_stream(store, f"sesn_one_{number}", wake_at_us=now_us - 9)
        await given_stream(store, "sesn_two", principal=TWO, wake_at_us=now_us)
        leases = await claim(store, limit=4, running={"wrkspc_one": 2}, each_max=3)
        assert [lease.stream_id for lease in leases] == ["sesn_two", "sesn_one_0"]
        assert await claim(store, limit=4, running={"wrkspc_one": 3}, each_max=3) == []
        assert len(await claim(store, limit=20, running={"wrkspc_one": 1}, each_max=3)) == 2


async def check_claims_look_at_the_kinds_and_cross_workspaces(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, "sesn_1", wake_at_us=clock.now_us())
        await given_stream(store, "remit_1", kind="remit", principal=TWO, wake_at_us=clock.now_us() - 1)
        assert await claim(store, kinds=("flow", "workspace")) == []
        assert await store.next_wake_us(["flow"]) is None
        assert await store.next_wake_us(["session", "remit"]) == clock.now_us() - 1
        leases = await claim(store, kinds=("session", "remit"))
        assert [(lease.workspace_id, lease.kind) for lease in leases] == [
            ("wrkspc_two", "remit"),
            ("wrkspc_one", "session"),
        ]


async def check_a_claim_of_one_stream_takes_only_that_one(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, "sesn_1", wake_at_us=clock.now_us() - 5)
        await given_stream(store, "sesn_2", wake_at_us=clock.now_us())
        await given_stream(store, "sesn_3", wake_at_us=clock.now_us() + 1)
        assert await claim(store, stream_id="sesn_2", kinds=("remit",)) == []
        assert [lease.stream_id for lease in await claim(store, stream_id="sesn_2")] == ["sesn_2"]
        assert await claim(store, stream_id="sesn_3") == []
        assert await claim(store, stream_id="sesn_unknown") == []


async def check_an_unreleased_stream_is_due_when_its_lease_lapses(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        first = await given_lease(store, clock)
        clock.jump(4.999)
        assert await claim(store, owner="worker_2") == []
        clock.jump(0.001)
        assert await store.next_wake_us(["session"]) == first.until_us
        (second,) = await claim(store, owner="worker_2")
        assert (second.epoch, second.owner) == (first.epoch + 1, "worker_2")
        with refused(LeaseLost):
            await store.append(ONE, Append(stream_id="sesn_1", epoch=first.epoch, events=(event("e"),)))
        assert list(await store.renew([first, second], lease_seconds=5)) == ["sesn_1"]


async def check_a_renewed_lease_holds_longer(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock)
        clock.jump(4)
        assert list(await store.renew([lease], lease_seconds=5)) == []
        clock.jump(4)
        assert await claim(store, owner="worker_2") == []
        assert (await store.head(ONE, "sesn_1")).lease_until_us == clock.now_us() + 1_000_000
        clock.jump(1)
        assert len(await claim(store, owner="worker_2")) == 1


async def check_a_released_stream_waits_for_the_time_given(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock)
        await store.release(lease, seen_seq=1, wake_at_us=clock.now_us() + 1_000_000)
        head = await store.head(ONE, "sesn_1")
        assert (head.owner, head.epoch, head.wake_at_us) == (None, 1, clock.now_us() + 1_000_000)
        assert await claim(store) == []
        assert list(await store.renew([lease], lease_seconds=5)) == ["sesn_1"]
        clock.jump(1)
        (again,) = await claim(store)
        await store.release(again, seen_seq=1, wake_at_us=None)
        clock.jump(1_000)
        assert await claim(store) == []


async def check_a_release_with_unseen_rows_is_due_at_once(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock)
        await store.append(ONE, Append(stream_id="sesn_1", events=(event("e", key="k"),)))
        await store.release(lease, seen_seq=1, wake_at_us=clock.now_us() + 9_000_000)
        assert (await store.head(ONE, "sesn_1")).wake_at_us == clock.now_us()
        assert len(await claim(store)) == 1


async def check_input_that_the_holder_has_seen_does_not_wake_again(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock)
        append = Append(stream_id="sesn_1", events=(event("e", key="k"),), wake_at_us=clock.now_us())
        await store.append(ONE, append)
        await store.release(lease, seen_seq=2, wake_at_us=None)
        assert (await store.head(ONE, "sesn_1")).wake_at_us is None


async def check_a_wake_during_a_lease_is_kept(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        lease = await given_lease(store, clock)
        await store.wake(ONE, "sesn_1", at_us=clock.now_us() + 1_000_000)
        await store.release(lease, seen_seq=1, wake_at_us=clock.now_us() + 9_000_000)
        assert (await store.head(ONE, "sesn_1")).wake_at_us == clock.now_us() + 1_000_000


async def check_a_stale_release_is_ignored(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        await given_stream(store)
        stale = await given_lease(store, clock)
        clock.jump(5)
        (lease,) = await claim(store, owner="worker_2")
        await store.release(stale, seen_seq=0, wake_at_us=clock.now_us())
        head = await store.head(ONE, "sesn_1")
        assert (head.owner, head.epoch, head.wake_at_us) == ("worker_2", lease.epoch, None)


async def check_raising_epochs_fences_everybody_and_wakes_what_was_interrupted(
    make_store: MakeStore,
) -> None:
    async with make_store() as (store, clock):
        await given_stream(store, "sesn_idle")
        await given_stream(store, "sesn_later", wake_at_us=clock.now_us() + 1_000_000)
        await given_stream(store, "sesn_1")
        lease = await given_lease(store, clock)
        await store.raise_epochs()
        with refused(LeaseLost):
            await store.append(ONE, Append(stream_id="sesn_1", epoch=lease.epoch, events=(event("e"),)))
        assert list(await store.renew([lease], lease_seconds=5)) == ["sesn_1"]
        heads = {id: await store.head(ONE, id) for id in ("sesn_idle", "sesn_later", "sesn_1")}
        assert [head.epoch for head in heads.values()] == [1, 1, 2]
        assert [head.owner for head in heads.values()] == [None, None, None]
        # The clock may have been set back since a wake was written: nobody waits for it to come round again.
        assert [head.wake_at_us for head in heads.values()] == [None, clock.now_us(), clock.now_us()]
        again = await claim(store)
        assert [(lease.stream_id, lease.epoch) for lease in again] == [("sesn_1", 3), ("sesn_later", 2)]
