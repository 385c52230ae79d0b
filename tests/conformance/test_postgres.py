"""What only the PostgreSQL store has: several processes at once, a server that dies, schemas, errors that name the mend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import asyncpg
import pytest

from remit.clock import SystemClock
from remit.errors import (
    InvalidRequest,
    KeyTaken,
    LeaseLost,
    NotFound,
    RemitError,
    SequenceConflict,
    StoreAway,
    StoreUnavailable,
)
from remit.stores.postgres.database import PostgresDatabase, migrate, migrations, require_version
from remit.stores.postgres.server import open_catalog, open_postgres, open_session_store
from remit.stores.postgres.session_store import PostgresSessionStore
from remit.testing.clock import FakeClock
from remit.testing.store_checks.given import IDLE, ONE, claim, event, given_lease, given_stream
from remit.values import Append, Hold, NewStream, OpenAccount, Resource, StreamSummary
from support.postgres_server import PostgresServer, empty_database, new_database, shared_server

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def processes(count: int, clock: Any = None) -> AsyncGenerator[list[PostgresSessionStore], None]:
    """So many of them on one empty database."""
    clock = clock or FakeClock()
    async with empty_database() as url:
        stores = [await open_session_store(url, clock, name=f"p{n}", connections=4) for n in range(count)]
        try:
            yield stores
        finally:
            for store in stores:
                await store.close()


# ---------------------------------------------------------------------------------------------- several processes


async def test_appends_of_several_processes_to_the_same_streams_are_numbered_without_a_gap() -> None:
    async with processes(3) as stores:
        for stream_id in ("sesn_1", "sesn_2", "sesn_3"):
            await given_stream(stores[0], stream_id)
        with anyio.fail_after(60):
            await asyncio.gather(
                *(
                    store.append(
                        ONE,
                        Append(
                            stream_id=f"sesn_{number % 3 + 1}",
                            events=(event(f"e{process}_{number}", key=f"k{process}_{number}"),),
                        ),
                    )
                    for process, store in enumerate(stores)
                    for number in range(60)
                )
            )
        for stream_id in ("sesn_1", "sesn_2", "sesn_3"):
            rows = await stores[0].read(ONE, stream_id)
            assert [row.seq for row in rows] == list(range(1, 62))
            assert len({row.event_id for row in rows}) == 61


async def test_one_key_of_many_processes_counts_once() -> None:
    async with processes(3) as stores:
        await given_stream(stores[0])
        append = Append(stream_id="sesn_1", events=(event("e", key="k"), event("f", key="l")))
        results = await asyncio.gather(*(store.append(ONE, append) for store in stores * 5))
        assert sorted(result.is_duplicate for result in results) == [False] + [True] * 14
        assert {tuple(row.seq for row in result.rows) for result in results} == {(2, 3)}


async def test_a_stream_is_made_once_by_many_processes() -> None:
    async with processes(3) as stores:
        new = NewStream(stream_id="sesn_1", kind="session", summary=IDLE)
        first = Append(stream_id="sesn_1", events=(event("e", key="k"),))
        results = await asyncio.gather(*(store.create_stream(ONE, new, first) for store in stores * 3))
        assert sorted(result.is_duplicate for result in results) == [False] + [True] * 8
        assert len(await stores[0].read(ONE, "sesn_1")) == 1


async def test_a_cap_holds_among_processes() -> None:
    async with processes(3) as stores:
        await given_stream(stores[0], effects=(OpenAccount(unit="tokens", purpose="work", cap=10),))
        results = await asyncio.gather(
            *(
                store.append(
                    ONE,
                    Append(
                        stream_id="sesn_1",
                        events=(event(f"e{process}{n}", key=f"{process}{n}"),),
                        effects=(Hold(hold_id=f"{process}{n}", unit="tokens", purpose="work", amount=1),),
                    ),
                )
                for process, store in enumerate(stores)
                for n in range(6)
            ),
            return_exceptions=True,
        )
        assert sum(not isinstance(result, BaseException) for result in results) == 10
        (account,) = await stores[1].accounts(ONE, "sesn_1")
        assert (account.held, (await stores[2].head(ONE, "sesn_1")).seq) == (10, 11)


async def test_the_former_owner_is_fenced_by_the_statement_that_writes() -> None:
    """Its lease lapses between its look at the stream and its write."""
    clock = FakeClock()
    async with processes(2, clock) as (zombie, heir):
        await given_stream(zombie)
        lease = await given_lease(zombie, clock)
        run, is_first = zombie._database.run, True

        async def slow(work: Any, **named: Any) -> Any:
            nonlocal is_first
            result = await run(work, **named)
            if is_first:  # it has looked
                is_first = False
                clock.jump(6)
                assert len(await claim(heir, owner="heir")) == 1
            return result

        zombie._database.run = slow  # type: ignore[method-assign]
        with pytest.raises(LeaseLost):
            await zombie.append(ONE, Append(stream_id="sesn_1", epoch=lease.epoch, events=(event("e"),)))
        assert len(await heir.read(ONE, "sesn_1")) == 1


async def test_a_batch_is_not_spoilt_by_what_the_database_cannot_keep() -> None:
    async with processes(1) as (store,):
        for number in range(4):
            await given_stream(store, f"sesn_{number}")
        results = await asyncio.gather(
            *(
                store.append(
                    ONE,
                    Append(
                        stream_id=f"sesn_{number % 4}",
                        events=(event(f"e{number}" + "\x00" * (number == 5), key=f"k{number}"),),
                    ),
                )
                for number in range(12)
            ),
            return_exceptions=True,
        )
        assert [n for n, one in enumerate(results) if isinstance(one, BaseException)] == [5]
        assert isinstance(results[5], InvalidRequest)


async def test_a_title_may_have_every_character() -> None:
    async with processes(1) as (store,):
        title = "a\x00b‮\U0001f600"
        await given_stream(store, summary=StreamSummary(status="idle", title=title))
        assert (await store.head(ONE, "sesn_1")).summary.title == title
        with pytest.raises((InvalidRequest, NotFound)):
            await store.head(ONE, "sesn_\x00")


async def test_two_processes_claim_one_key_of_a_resource_once() -> None:
    async with empty_database() as url:
        catalogs = [await open_catalog(url, SystemClock()) for _ in range(2)]
        results = await asyncio.gather(
            *(
                catalog.create(ONE, _memory(f"{n}{m}"))
                for n in range(5)
                for m, catalog in enumerate(catalogs)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(result, KeyTaken) for result in results) == 9
        for catalog in catalogs:
            await catalog.close()


async def test_everything_works_without_prepared_statements() -> None:
    async with empty_database() as url:
        sessions, catalog = await open_postgres(url, SystemClock(), name="p", is_pooled=True)
        await given_stream(sessions)
        await sessions.append(ONE, Append(stream_id="sesn_1", events=(event("e", key="k"),)))
        assert (await sessions.read_stream(ONE, "sesn_1")).head.seq == 2
        await catalog.create(ONE, _memory("a"))
        await sessions.close()
        await catalog.close()


# --------------------------------------------------------------------------------------------- a server that dies


@pytest.fixture
def mortal() -> Generator[PostgresServer, None, None]:
    server = PostgresServer(is_durable=True)
    yield server
    server.remove()


@pytest.mark.long
@pytest.mark.slow
async def test_what_was_acknowledged_survives_a_killed_server_and_nothing_is_there_twice(
    mortal: PostgresServer,
) -> None:
    store = await open_session_store(await new_database(mortal), SystemClock(), name="p")
    streams = [f"sesn_{number}" for number in range(8)]
    for stream_id in streams:
        await given_stream(store, stream_id, effects=(OpenAccount(unit="tokens", purpose="work", cap=None),))
    acknowledged: dict[str, list[str]] = {stream_id: [] for stream_id in streams}
    is_over = False

    async def write(stream_id: str) -> None:
        number, seq = 0, 1
        while not is_over:
            number += 1
            name = f"{stream_id}_{number}"
            append = Append(
                stream_id=stream_id,
                expected_seq=seq,
                events=(event(name, visibility="public"),),
                effects=(Hold(hold_id=name, unit="tokens", purpose="work", amount=1),),
            )
            try:
                seq = (await store.append(ONE, append)).head_seq
                acknowledged[stream_id].append(name)
            except (StoreAway, SequenceConflict):
                seq = -1
            while seq == -1:
                with suppress(StoreAway):
                    seq = (await store.head(ONE, stream_id)).seq

    tasks = [asyncio.ensure_future(write(stream_id)) for stream_id in streams]
    for _ in range(2):
        before = sum(map(len, acknowledged.values()))
        with anyio.fail_after(60):
            await so_many(acknowledged, before + 100)
        await asyncio.to_thread(mortal.kill)
        await asyncio.to_thread(mortal.start)
    after = sum(map(len, acknowledged.values()))
    with anyio.fail_after(60):
        await so_many(acknowledged, after + 50)
    is_over = True
    await asyncio.gather(*tasks)
    for stream_id in streams:
        rows = await store.read(ONE, stream_id, limit=100_000)
        names = [row.event_id for row in rows[1:]]
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert len(set(names)) == len(names)
        assert set(acknowledged[stream_id]) <= set(names)
        assert [hold.hold_id for hold in await store.holds(ONE, stream_id)] == names
    await store.close()


async def so_many(acknowledged: dict[str, list[str]], count: int) -> None:
    while sum(map(len, acknowledged.values())) < count:  # noqa: ASYNC110 -- it is another process's time that passes
        await asyncio.sleep(0.01)


@pytest.mark.long
@pytest.mark.slow
async def test_while_the_server_is_away_calls_say_so_and_afterwards_all_goes_on(
    mortal: PostgresServer,
) -> None:
    store = await open_session_store(await new_database(mortal), SystemClock(), name="p")
    await given_stream(store)
    await asyncio.to_thread(mortal.stop)
    append = Append(stream_id="sesn_1", events=(event("e", key="k"),))
    for call in (store.head(ONE, "sesn_1"), store.append(ONE, append), store.next_wake_us(["session"])):
        with pytest.raises(StoreAway, match="does not answer"):
            await call
    waiting = asyncio.ensure_future(store.append(ONE, append))
    await asyncio.to_thread(mortal.start)
    assert (await waiting).head_seq == 2
    await store.close()


# ------------------------------------------------------------------------------------------------------- schemas


async def test_a_fresh_schema_is_a_migrated_schema() -> None:
    scripts = migrations()
    fresh = await schema_after(scripts)
    assert "streams" in str(fresh)
    for version in range(len(scripts)):
        assert await schema_after(scripts[:version], scripts) == fresh


async def test_several_processes_that_start_at_once_migrate_once() -> None:
    url = await new_database(shared_server())
    stores = await asyncio.gather(
        *(open_session_store(url, SystemClock(), name=f"p{n}", connections=2) for n in range(4))
    )
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM remit_schema") == len(migrations())
    await connection.close()
    for store in stores:
        await store.close()


async def test_every_table_carries_the_workspace() -> None:
    async with empty_database() as url:
        store = await open_session_store(url, SystemClock(), name="p")
        connection = await asyncpg.connect(url)
        without = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND NOT EXISTS (SELECT 1 FROM "
            "information_schema.columns WHERE table_name = tablename AND column_name = 'workspace_id')"
        )
        await connection.close()
        await store.close()
    assert {name for (name,) in without} == {"remit_schema", "lanes"}  # of processes, not of workspaces


async def test_a_migration_under_way_does_not_stop_who_is_at_work() -> None:
    async with processes(1) as (store,):
        await given_stream(store)
        connection = await asyncpg.connect(store._database._pool._connect_args[0])
        for number in range(2, 6):
            await connection.execute(f"ALTER TABLE streams ADD COLUMN later_{number} TEXT")
            await connection.execute(f"ALTER TABLE streams DROP COLUMN later_{number}")
            append = Append(stream_id="sesn_1", events=(event(f"e{number}", key=f"k{number}"),))
            assert (await store.append(ONE, append)).head_seq == number
            assert len((await store.read_stream(ONE, "sesn_1")).rows) == number
        await connection.close()


async def schema_after(*steps: list[str]) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(await new_database(shared_server()))
    try:
        for scripts in steps:
            await migrate(connection, scripts)
        columns = await connection.fetch(
            "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default FROM "
            "information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
        )
        indexes = await connection.fetch(
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 2"
        )
        return [tuple(row) for row in (*columns, *indexes)]
    finally:
        await connection.close()


# ------------------------------------------------------------------------------------------------ errors at a start


async def refusal(url: str) -> RemitError:
    with pytest.raises(RemitError) as refused:
        await PostgresDatabase.open(url, SystemClock())
    return refused.value


async def test_each_reason_why_a_database_cannot_be_used_names_its_mend() -> None:
    server = shared_server()
    assert "createdb nothing" in str(await refusal(server.url("nothing")))
    assert "Start it, or correct --database" in str(await refusal("postgresql://remit@127.0.0.1:1/remit"))
    for url in ("mysql://a/b", "postgresql://remit@127.0.0.1:port/x"):
        assert "postgresql://USER@HOST:PORT/NAME" in str(await refusal(url))
    with pytest.raises(InvalidRequest, match="needs 14 or newer"):
        require_version(13, "there")
    connection = await asyncpg.connect(server.url())
    for statement in (
        "CREATE ROLE guest LOGIN",
        "CREATE DATABASE guarded",
        "CREATE DATABASE lax",
        "ALTER DATABASE lax SET synchronous_commit = off",
    ):
        await connection.execute(statement)
    await connection.close()
    as_guest = server.url("guarded").replace("//remit@", "//guest@")
    assert "GRANT CREATE, USAGE ON SCHEMA public TO guest" in str(await refusal(as_guest))
    assert "synchronous_commit = on" in str(await refusal(server.url("lax")))


async def test_a_database_of_a_newer_remit_is_left_alone() -> None:
    url = await new_database(shared_server())
    connection = await asyncpg.connect(url)
    await migrate(connection)
    await connection.execute("INSERT INTO remit_schema (version) VALUES (999)")
    await connection.close()
    refused = await refusal(url)
    assert isinstance(refused, StoreUnavailable)
    assert "newer Remit" in str(refused)


async def test_a_wrong_password_and_a_full_server_are_told_apart_and_no_password_is_shown() -> None:
    server = PostgresServer(options=("-c", "max_connections=6", "-c", "superuser_reserved_connections=0"))
    try:
        admin = await asyncpg.connect(server.url())
        await admin.execute("CREATE ROLE app LOGIN PASSWORD 'right'")
        await admin.execute("CREATE DATABASE app OWNER app")
        access = server.folder / "data" / "pg_hba.conf"
        access.write_text("local all app scram-sha-256\nlocal all all trust\n")
        await admin.execute("SELECT pg_reload_conf()")
        url = server.url("app", password="wr0ng").replace("//remit:", "//app:")
        refused = await refusal(url)
        assert "PGPASSWORD" in str(refused)
        assert "wr0ng" not in str(refused)
        others = [await asyncpg.connect(server.url()) for _ in range(5)]
        refused = await refusal(url.replace("wr0ng", "right"))
        assert isinstance(refused, StoreAway)
        assert "max_connections" in str(refused)
        for connection in (admin, *others):
            await connection.close()
    finally:
        server.remove()


def _memory(id: str) -> Resource:
    return Resource(
        workspace_id=ONE.workspace_id,
        kind="memory",
        id=id,
        version=1,
        name="a\x00name",
        body=b"{}",
        created_at_us=1,
        updated_at_us=1,
        parent_id="store",
        unique_key="/a",
    )
