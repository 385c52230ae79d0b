"""Opening SQLite databases: durability settings and numbered, forward-only migrations."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import apsw

from remit.errors import StoreUnavailable
from remit.stores.sqlite.cursor import cursor_of

_BUSY_TIMEOUT_MS = 5_000
_PAGE_BYTES = 4_096
_WAL_BYTES_KEPT_MAX = 64 << 20


def open_writer(path: Path, *, vfs: str | None) -> apsw.Connection:
    """The connection that writes: WAL, and every commit is on the disk when it returns."""
    # Made here, because SQLite would let everybody on the machine read what people and models said. Its other files
    # get the permissions of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = _open(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs)
    cursor = cursor_of(connection)
    cursor.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA temp_store = MEMORY")  # what undoes a large savepoint goes into no file
    cursor.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT_MAX}")
    return connection


def open_reader(path: Path, *, vfs: str | None) -> apsw.Connection:
    """A connection that only reads; in WAL it waits for nobody."""
    return _open(path, apsw.SQLITE_OPEN_READONLY, vfs)


def _open(path: Path, flags: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    # A plan is made of the statement alone: otherwise each new value of a `LIMIT ?` has it made anew, which is two thirds
    # of what a read costs.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


def migrations(database: str) -> list[str]:
    """The scripts of a database, oldest first; script n brings a schema from version n-1 to n."""
    folder = resources.files("remit.stores.sqlite").joinpath("migrations", database)
    scripts = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name
    )
    return [script.read_text("utf-8") for script in scripts]


def migrate(connection: apsw.Connection, scripts: list[str]) -> None:
    """Bring the schema to the newest version. Raises StoreUnavailable when the file is of a newer Remit."""
    version = schema_version(connection)
    if version > len(scripts):
        raise StoreUnavailable(
            f"{connection.filename!r} has schema version {version}, but this Remit knows only {len(scripts)}: "
            "start the newer Remit that wrote it."
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        with connection:
            cursor = cursor_of(connection)
            cursor.execute(script)
            cursor.execute(f"PRAGMA user_version = {number}")


def schema_version(connection: apsw.Connection) -> int:
    """Return how many migrations the file has had."""
    row = cursor_of(connection).execute("PRAGMA user_version").fetchone()
    assert row is not None
    return int(row[0])
