"""Checks of reading, listing, the outbox and checkpoints."""

from __future__ import annotations

import asyncio

from remit.errors import NotFound
from remit.interfaces import SessionStore
from remit.testing.clock import FakeClock
from remit.testing.store_checks.given import ONE, TWO, MakeStore, event, given_stream, refused
from remit.values import (
    Append,
    Checkpoint,
    EventRow,
    Hold,
    NewEvent,
    OpenAccount,
    OutboxItem,
    Page,
    StreamFilter,
    StreamHead,
    StreamSummary,
)


async def check_reading_pages_through_everything_once(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await _given_long_stream(store)
        for limit in (1, 3, 100, 101, 1000):
            seen: list[int] = []
            while rows := await store.read(ONE, "sesn_1", after_seq=seen[-1] if seen else 0, limit=limit):
                assert len(rows) <= limit
                seen += [row.seq for row in rows]
            assert seen == list(range(1, 251))
        assert list(await store.read(ONE, "sesn_1", after_seq=250)) == []
        assert [row.seq for row in await store.read(ONE, "sesn_1", after_seq=-5, limit=2)] == [1, 2]


async def check_a_stream_is_read_at_one_instant(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store, effects=(OpenAccount(unit="tokens", purpose="work", cap=10_000),))
        assert (await store.read_stream(ONE, "sesn_1")).head.seq == 1

        async def grow() -> None:
            for number in range(2, 30):
                spend = Hold(hold_id=f"h{number}", unit="tokens", purpose="work", amount=1)
                append = Append(
                    stream_id="sesn_1", events=(event(f"e{number}", key=f"{number}"),), effects=(spend,)
                )
                await store.append(ONE, append)

        async def watch() -> None:
            seq = 0
            while seq < 29:
                read = await store.read_stream(ONE, "sesn_1", after_seq=seq)
                seq = read.head.seq
                assert (read.rows[-1].seq if read.rows else seq) == seq
                assert [account.held for account in read.accounts] == [seq - 1]
                await asyncio.sleep(0)

        await asyncio.gather(grow(), watch())


async def check_a_stream_is_read_with_the_bounds_of_a_read(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await _given_long_stream(store)
        whole = await store.read(ONE, "sesn_1")
        for after_seq, limit, bytes_max in (
            (0, 1000, None),
            (0, 0, None),
            (3, 120, None),
            (7, 99, 1),
            (250, 9, 9),
        ):
            read = await store.read_stream(
                ONE, "sesn_1", after_seq=after_seq, limit=limit, bytes_max=bytes_max
            )
            alone = await store.read(ONE, "sesn_1", after_seq=after_seq, limit=limit, bytes_max=bytes_max)
            assert (list(read.rows), read.head) == (list(alone), await store.head(ONE, "sesn_1"))
            assert list(read.rows) == list(whole[after_seq : after_seq + len(read.rows)])
        for principal, stream_id in ((TWO, "sesn_1"), (ONE, "sesn_none")):
            with refused(NotFound, stream_id):
                await store.read_stream(principal, stream_id)
        await store.delete_stream(ONE, "sesn_1", expected_seq=250)
        with refused(NotFound, "sesn_1"):
            await store.read_stream(ONE, "sesn_1")


async def check_reading_backwards_is_reading_forwards_reversed(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await _given_long_stream(store)
        forwards = list(await store.read(ONE, "sesn_1"))
        for limit in (7, 400):
            seen: list[EventRow] = []
            while rows := await store.read_before(
                ONE, "sesn_1", before_seq=seen[-1].seq if seen else 251, limit=limit
            ):
                seen += rows
            assert seen == forwards[::-1]
        assert list(await store.read_before(ONE, "sesn_1", before_seq=1, limit=5)) == []


async def check_a_read_ends_with_the_row_that_fills_its_bytes(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        for number in range(150):
            large = event(f"event_{number}", key=f"key_{number}", body=b"x" * 20_000)
            await store.append(ONE, Append(stream_id="sesn_1", events=(large,)))
        for bytes_max, count in ((1, 1), (45_000, 4), (1_500_000, 76), (10_000_000, 151)):
            forwards = await store.read(ONE, "sesn_1", bytes_max=bytes_max)
            assert [row.seq for row in forwards] == list(range(1, count + 1))
        backwards = await store.read_before(ONE, "sesn_1", before_seq=152, limit=100, bytes_max=60_000)
        assert [row.seq for row in backwards] == [151, 150, 149]
        assert len(await store.read(ONE, "sesn_1", limit=120)) == 120
        assert len(await store.read(ONE, "sesn_1")) == 151


async def check_visibility_selects_rows_before_the_limit(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await _given_long_stream(store)
        public = await store.read(ONE, "sesn_1", limit=3, visibility="public")
        assert [row.seq for row in public] == [2, 4, 6]
        private = await store.read_before(ONE, "sesn_1", before_seq=250, limit=2, visibility="private")
        assert [row.seq for row in private] == [249, 247]


async def check_a_refusal_that_is_kept_does_not_freeze_later_reads(make_store: MakeStore) -> None:
    """Check that later reads go on: an exception keeps the frames it went through alive, and with them
    whatever was being read."""
    async with make_store() as (store, _):
        await given_stream(store)
        await given_stream(store, "sesn_2")
        await store.delete_stream(ONE, "sesn_2", expected_seq=1)
        kept: list[NotFound] = []
        for principal, stream_id in ((ONE, "sesn_2"), (TWO, "sesn_1")):
            for read in (
                store.head(principal, stream_id),
                store.read(principal, stream_id),
                store.read_before(principal, stream_id, before_seq=9, limit=1),
                store.find_events(principal, stream_id, "e1"),
                store.checkpoint(principal, stream_id),
            ):
                try:
                    await read
                except NotFound as error:
                    kept.append(error)
        await store.append(ONE, Append(stream_id="sesn_1", events=(event("e9", key="k9"),)))
        assert (await store.head(ONE, "sesn_1")).seq == 2
        assert (await store.find_events(ONE, "sesn_1", "e9")) != []
        assert len(kept) == 10


async def check_events_are_found_by_id(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        await store.append(ONE, Append(stream_id="sesn_1", events=(event("sevt_1", key="k"),)))
        consumed = (event("sevt_2"), event("sevt_1", visibility="public"))
        await store.append(ONE, Append(stream_id="sesn_1", expected_seq=2, events=consumed))
        found = await store.find_events(ONE, "sesn_1", "sevt_1")
        assert [(row.seq, row.visibility) for row in found] == [(2, "private"), (4, "public")]
        assert list(await store.find_events(ONE, "sesn_1", "sevt_9")) == []


async def check_listing_pages_through_streams_of_one_moment_too(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        for number in range(9):
            await given_stream(store, f"sesn_{number}")
            if number % 3 == 2:
                clock.jump(1)
        await given_stream(store, "sesn_foreign", principal=TWO)
        for is_ascending in (True, False):
            for limit in (1, 2, 4, 20):
                seen = await _list_all(store, StreamFilter(kind="session"), limit, is_ascending)
                ids = [head.stream_id for head in seen]
                assert ids == sorted(ids, reverse=not is_ascending)
                assert len(ids) == 9
        assert seen[0] == await store.head(ONE, "sesn_8")


async def check_every_filter_selects(make_store: MakeStore) -> None:
    async with make_store() as (store, clock):
        start_us = clock.now_us()
        await _given_listed_streams(store, clock)
        for filter, expected in (
            (StreamFilter(kind="session"), "abc"),
            (StreamFilter(kind="session", include_archived=True), "adbc"),
            (StreamFilter(kind="remit"), "e"),
            (StreamFilter(kind="flow"), ""),
            (StreamFilter(kind="session", statuses=("running", "idle")), "abc"),
            (StreamFilter(kind="session", statuses=("running",)), "b"),
            (StreamFilter(kind="session", agent_id="agent_1"), "ab"),
            (StreamFilter(kind="session", agent_id="agent_1", agent_version=2), "b"),
            (StreamFilter(kind="session", parent_stream_id="remit_1"), "c"),
            (StreamFilter(kind="session", refers_to="memstore_1"), "ac"),
            (StreamFilter(kind="session", refers_to="memstore_2", agent_id="agent_1"), "a"),
            (StreamFilter(kind="session", refers_to="memstore_"), ""),
            (StreamFilter(kind="session", created_after_us=start_us), "bc"),
            (StreamFilter(kind="session", created_before_us=start_us + 2_000_000), "ab"),
            (
                StreamFilter(
                    kind="session",
                    created_after_us=start_us,
                    created_before_us=start_us + 2_000_000,
                    agent_id="agent_1",
                ),
                "b",
            ),
        ):
            found = await _list_all(store, filter, limit=2, is_ascending=True)
            assert "".join(head.stream_id for head in found) == expected, filter


async def check_the_outbox_gives_items_until_they_are_done(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        items = [
            OutboxItem(
                target_stream_id=f"remit_{number}",
                event=NewEvent(
                    event_id=f"o{number}",
                    type="child.idled",
                    visibility="private",
                    body=b'{"a": "\xc3\xa5"}',
                    schema_version=2,
                    thread_id="sthr_1",
                    key=f"child:{number}",
                ),
            )
            for number in range(3)
        ]
        await store.append(
            ONE,
            Append(stream_id="sesn_1", expected_seq=1, events=(event("e"),), outbox=tuple(items[:2])),
        )
        await given_stream(store, "sesn_2", principal=TWO)
        await store.append(
            TWO,
            Append(stream_id="sesn_2", expected_seq=1, events=(event("e"),), outbox=(items[2],)),
        )
        due = await store.outbox_due(10)
        assert [(workspace_id, item) for _, workspace_id, item in due] == [
            ("wrkspc_one", items[0]),
            ("wrkspc_one", items[1]),
            ("wrkspc_two", items[2]),
        ]
        assert list(await store.outbox_due(2)) == list(due[:2])
        await store.outbox_done([due[0][0], due[2][0]])
        await store.outbox_done([due[0][0]])
        assert [item for _, _, item in await store.outbox_due(10)] == [items[1]]


async def check_positions_in_the_outbox_are_never_used_again(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        seen: set[int] = set()
        for number in range(3):
            item = OutboxItem(target_stream_id="remit_1", event=event(f"o{number}", key=f"o{number}"))
            await store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, outbox=(item,)))
            ((position, _, _),) = await store.outbox_due(10)
            assert position not in seen
            seen.add(position)
            await store.outbox_done([position])


async def check_the_newest_checkpoint_is_kept(make_store: MakeStore) -> None:
    async with make_store() as (store, _):
        await given_stream(store)
        assert await store.checkpoint(ONE, "sesn_1") is None
        newest = Checkpoint(stream_id="sesn_1", seq=20, version=1, body=b"\x00newest")
        await store.put_checkpoint(ONE, Checkpoint(stream_id="sesn_1", seq=10, version=1, body=b"old"))
        await store.put_checkpoint(ONE, newest)
        await store.put_checkpoint(ONE, Checkpoint(stream_id="sesn_1", seq=15, version=1, body=b"late"))
        assert await store.checkpoint(ONE, "sesn_1") == newest
        other_code = Checkpoint(stream_id="sesn_1", seq=5, version=2, body=b"other code")
        await store.put_checkpoint(ONE, other_code)
        assert await store.checkpoint(ONE, "sesn_1") == other_code
        unknown = Checkpoint(stream_id="sesn_9", seq=1, version=1, body=b"")
        with refused(NotFound, "sesn_9"):
            await store.put_checkpoint(ONE, unknown)


async def _given_long_stream(store: SessionStore) -> None:
    """250 rows; the even ones are public."""
    await given_stream(store)
    events = tuple(
        event(f"e{seq}", visibility="public" if seq % 2 == 0 else "private", body=b"%d" % seq)
        for seq in range(2, 251)
    )
    await store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, events=events))


async def _given_listed_streams(store: SessionStore, clock: FakeClock) -> None:
    """Sessions a to d, the last one archived, and the remit e; a and d are made in the first moment."""
    archived = StreamSummary(status="idle", agent_id="agent_2", agent_version=1, archived_at_us=1)
    await given_stream(store, "a", refers_to=("memstore_1", "memstore_2"))
    await given_stream(store, "d", summary=archived)
    clock.jump(1)
    await given_stream(
        store, "b", summary=StreamSummary(status="running", agent_id="agent_1", agent_version=2)
    )
    clock.jump(1)
    idle = StreamSummary(status="idle")
    await given_stream(store, "c", parent_stream_id="remit_1", summary=idle, refers_to=("memstore_1",))
    await given_stream(store, "e", kind="remit", refers_to=("memstore_1",))


async def check_streams_are_listed_by_whether_a_worker_has_them_or_may_take_them(
    make_store: MakeStore,
) -> None:
    async with make_store() as (store, clock):
        for stream_id in ("leased", "due", "later", "at rest"):
            await given_stream(store, stream_id)
        now_us = clock.now_us()
        for stream_id, at_us in (("leased", now_us), ("due", now_us), ("later", now_us + 1)):
            await store.wake(ONE, stream_id, at_us=at_us)
        leases = await store.claim("w", kinds=("session",), lease_seconds=5, limit=1, stream_id="leased")
        assert len(leases) == 1
        for by_us, expected in (
            (now_us - 1, {"leased"}),
            (now_us, {"leased", "due"}),
            (now_us + 1, {"leased", "due", "later"}),
        ):
            heads = await store.list_streams(
                ONE, StreamFilter(kind="session", due_by_us=by_us), Page(limit=9)
            )
            assert {head.stream_id for head in heads} == expected


async def _list_all(
    store: SessionStore, filter: StreamFilter, limit: int, is_ascending: bool
) -> list[StreamHead]:
    seen: list[StreamHead] = []
    while True:
        position = (seen[-1].created_at_us, seen[-1].stream_id) if seen else None
        page = Page(limit=limit, position=position, is_ascending=is_ascending)
        heads = await store.list_streams(ONE, filter, page)
        assert len(heads) <= limit
        seen += heads
        if not heads:
            return seen
