"""The data folder's databases."""

from __future__ import annotations

from pathlib import Path

from remit.clock import Clock
from remit.stores.sqlite.catalog import SqliteCatalog
from remit.stores.sqlite.database import SqliteDatabase
from remit.stores.sqlite.session_store import SqliteSessionStore
from remit.stores.sqlite.writer import OnCommit, unobserved

SESSIONS_FILE = "sessions.db"
CATALOG_FILE = "catalog.db"


async def open_session_store(
    folder: Path, clock: Clock, *, vfs: str | None = None, on_commit: OnCommit = unobserved
) -> SqliteSessionStore:
    """Open or make `sessions.db`. `vfs` names another SQLite file layer (one that encrypts, or injects faults)."""
    database = await SqliteDatabase.open(
        folder / SESSIONS_FILE, schema="sessions", vfs=vfs, on_commit=on_commit
    )
    return SqliteSessionStore(database, clock)


async def open_catalog(folder: Path, *, vfs: str | None = None) -> SqliteCatalog:
    """Open or make `catalog.db`."""
    return SqliteCatalog(await SqliteDatabase.open(folder / CATALOG_FILE, schema="catalog", vfs=vfs))


async def open_sqlite(
    folder: Path, clock: Clock, *, on_commit: OnCommit = unobserved
) -> tuple[SqliteSessionStore, SqliteCatalog]:
    """Open or make both. The caller owns the folder (see `owner.DataFolderLock`) and closes both."""
    sessions = await open_session_store(folder, clock, on_commit=on_commit)
    try:
        catalog = await open_catalog(folder)
    except BaseException:
        await sessions.close()
        raise
    return sessions, catalog
