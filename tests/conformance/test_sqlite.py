"""What only the SQLite store has: files, commits that fail, schemas, the lock of the data folder."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import apsw
import pytest

from remit.errors import DataFolderBusy, InvalidRequest, Overloaded, StoreUnavailable
from remit.stores.sqlite.connection import migrate, migrations, open_reader, open_writer
from remit.stores.sqlite.cursor import Cursor
from remit.stores.sqlite.database import SqliteDatabase
from remit.stores.sqlite.folder import SESSIONS_FILE, open_session_store, open_sqlite
from remit.stores.sqlite.owner import DataFolderLock
from remit.stores.sqlite.session_store import SqliteSessionStore
from remit.stores.sqlite.writer import QUEUE_FULL_RETRY_SECONDS, QUEUED_OPERATIONS_MAX
from remit.testing.clock import FakeClock
from remit.testing.store_checks.given import ONE, event, given_lease, given_stream
from remit.values import Append, Hold, OpenAccount

pytestmark = pytest.mark.anyio


class FailingDisk(apsw.VFS):
    """A real file layer whose writes and syncs fail while `is_failing` is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_failing: str | None = None
        super().__init__(name, "")

    def xOpen(self, name, flags):
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name, flags) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data, offset):
        if self._disk.is_failing == "write":
            raise apsw.FullError("no space left on device")
        return super().xWrite(data, offset)

    def xSync(self, flags):
        if self._disk.is_failing == "sync":
            raise apsw.IOError("input/output error")
        return super().xSync(flags)


@pytest.fixture
def disk() -> Generator[FailingDisk, None, None]:
    disk = FailingDisk(f"failing-{tempfile.mktemp(dir='')}")
    yield disk
    disk.unregister()


def test_a_statement_is_planned_once_whatever_its_values(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "any.db", vfs=None)
    for connection in (writer, open_reader(tmp_path / "any.db", vfs=None)):
        plans: list[int] = []

        def plan(*_asked: object, plans: list[int] = plans) -> int:
            plans.append(1)
            return apsw.SQLITE_OK

        connection.authorizer = plan
        counts: list[int] = []
        for limit in (1, 2, 3):
            connection.execute("SELECT name FROM sqlite_schema LIMIT ?", (limit,)).fetchall()
            counts.append(len(plans))
        connection.close()
        assert 0 < counts[0] == counts[1] == counts[2]


async def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    clock = FakeClock()
    store, catalog = await open_sqlite(tmp_path, clock)
    await given_stream(
        store,
        effects=(
            OpenAccount(unit="tokens", purpose="work", cap=5),
            Hold(hold_id="h", unit="tokens", purpose="work", amount=1),
        ),
    )
    lease = await given_lease(store, clock)
    await store.append(ONE, Append(stream_id="sesn_1", events=(event("e", key="k"),)))
    before = (
        await store.head(ONE, "sesn_1"),
        await store.read(ONE, "sesn_1"),
        await store.holds(ONE, "sesn_1"),
    )
    await store.close()
    await catalog.close()
    store, catalog = await open_sqlite(tmp_path, clock)
    after = (
        await store.head(ONE, "sesn_1"),
        await store.read(ONE, "sesn_1"),
        await store.holds(ONE, "sesn_1"),
    )
    assert after == before
    assert before[0].owner == lease.owner
    await store.close()
    await catalog.close()


@pytest.mark.parametrize("failure", ["write", "sync"])
async def test_when_a_commit_fails_nothing_is_acknowledged_and_the_store_stays_failed(
    tmp_path: Path, disk: FailingDisk, failure: str
) -> None:
    store = await open_session_store(tmp_path, FakeClock(), vfs=disk.name)
    await given_stream(store)
    disk.is_failing = failure
    with anyio.fail_after(5):
        results = await asyncio.gather(*(append(store, n) for n in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    disk.is_failing = None
    with pytest.raises(StoreUnavailable, match="start Remit again"):
        await append(store, 99)
    with pytest.raises(StoreUnavailable):
        await store.head(ONE, "sesn_1")
    await store.close()

    reopened = await open_session_store(tmp_path, FakeClock(), vfs=disk.name)
    rows = await reopened.read(ONE, "sesn_1")
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    await append(reopened, 99)
    await reopened.close()


async def test_a_fresh_schema_is_a_migrated_schema(tmp_path: Path) -> None:
    for schema in ("sessions", "catalog"):
        scripts = migrations(schema)
        assert scripts
        fresh = open_writer(tmp_path / f"{schema}-fresh.db", vfs=None)
        migrate(fresh, scripts)
        for version in range(len(scripts)):
            old = open_writer(tmp_path / f"{schema}-{version}.db", vfs=None)
            migrate(old, scripts[:version])
            migrate(old, scripts)
            assert schema_of(old) == schema_of(fresh)
            old.close()
        migrate(fresh, scripts)
        fresh.close()


async def test_every_table_carries_the_workspace(tmp_path: Path) -> None:
    for schema in ("sessions", "catalog"):
        connection = open_writer(tmp_path / f"{schema}.db", vfs=None)
        migrate(connection, migrations(schema))
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            assert "workspace_id" in columns, table
        connection.close()


async def test_a_file_of_a_newer_remit_is_refused_untouched(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / SESSIONS_FILE, vfs=None)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(StoreUnavailable, match="newer Remit"):
        await open_session_store(tmp_path, FakeClock())


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / SESSIONS_FILE).write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreUnavailable, match=SESSIONS_FILE):
        await open_session_store(tmp_path, FakeClock())


async def test_long_reads_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    store = await open_session_store(tmp_path, FakeClock())
    await given_stream(store)
    events = tuple(event(f"e{n}", body=b"x" * 1000) for n in range(5_000))
    await store.append(ONE, Append(stream_id="sesn_1", expected_seq=1, events=events))
    reading = asyncio.ensure_future(store.read(ONE, "sesn_1", limit=10_000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reading.done()
    assert len(await reading) == 5_001
    await store.close()


def test_a_data_folder_has_one_owner(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    with DataFolderLock(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with pytest.raises(DataFolderBusy) as busy:
            DataFolderLock(folder).acquire()
        assert busy.value.socket_path == str(folder / "api.sock")
    with DataFolderLock(folder):
        pass


def test_a_data_folder_that_cannot_be_made_is_said_with_the_flag_to_change(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "file").touch()
    for folder in (tmp_path / "link", tmp_path / "file", tmp_path / "file" / "data", Path("/proc/none")):
        with pytest.raises(InvalidRequest, match="--data"):
            DataFolderLock(folder).acquire()


async def test_nobody_else_on_the_machine_can_read_the_databases(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # made by hand, say to put settings into it
    sessions, catalog = await open_sqlite(tmp_path, FakeClock())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await sessions.close()
    await catalog.close()
    assert {"sessions.db", "sessions.db-wal", "catalog.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_the_lock_of_a_killed_owner_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time\n"
        "from remit.stores.sqlite.owner import DataFolderLock\n"
        "DataFolderLock(pathlib.Path(sys.argv[1])).acquire()\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        # An owner that is dropped as garbage would release; this one must hold until it is killed.
        assert owner.stdout is not None
        assert owner.stdout.readline() == "locked\n"
        with pytest.raises(DataFolderBusy):
            DataFolderLock(tmp_path).acquire()
        owner.kill()
        owner.wait()
    with DataFolderLock(tmp_path):
        pass


async def append(store: SqliteSessionStore, number: int) -> None:
    await store.append(ONE, Append(stream_id="sesn_1", events=(event(f"e{number}", key=f"k{number}"),)))


def schema_of(connection: apsw.Connection) -> list[Any]:
    return connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
    ).fetchall()


async def test_a_full_queue_refuses_what_comes_from_outside_and_never_a_workers_leases(
    tmp_path: Path,
) -> None:
    database = await SqliteDatabase.open(tmp_path / "sessions.db", schema="sessions")
    store = SqliteSessionStore(database, FakeClock())
    await given_stream(store)
    disk_is_slow, disk_goes_on = threading.Event(), threading.Event()

    def wait(cursor: Cursor) -> None:
        disk_is_slow.set()
        disk_goes_on.wait()

    writes = [asyncio.ensure_future(database.write(wait))]
    with anyio.fail_after(20):
        while not disk_is_slow.is_set():
            await anyio.lowlevel.checkpoint()
        writes += [
            asyncio.ensure_future(database.write(lambda cursor: None)) for _ in range(QUEUED_OPERATIONS_MAX)
        ]
        await anyio.lowlevel.checkpoint()
        assert database.queued == QUEUED_OPERATIONS_MAX
        with pytest.raises(Overloaded) as refused:
            await store.append(ONE, Append(stream_id="sesn_1", events=(event("e", key="e"),)))
        assert refused.value.retry_after_seconds == QUEUE_FULL_RETRY_SECONDS
        claiming = asyncio.ensure_future(store.claim("worker_1", kinds=["session"], lease_seconds=5, limit=1))
        await anyio.lowlevel.checkpoint()
        disk_goes_on.set()
        assert await claiming == []
        await asyncio.gather(*writes)
    await store.close()
