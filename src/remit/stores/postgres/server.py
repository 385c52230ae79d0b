"""Both stores of one database."""

from __future__ import annotations

from remit.clock import Clock
from remit.stores.postgres.catalog import PostgresCatalog
from remit.stores.postgres.database import CONNECTIONS, PostgresDatabase, skew_us
from remit.stores.postgres.lanes import OnCommit, unobserved
from remit.stores.postgres.session_store import PostgresSessionStore

CATALOG_CONNECTIONS = 4


async def open_session_store(
    url: str,
    clock: Clock,
    *,
    name: str,
    connections: int = CONNECTIONS,
    is_pooled: bool = False,
    is_compared: bool = False,
    on_commit: OnCommit = unobserved,
) -> PostgresSessionStore:
    """Open the database's streams; `name` is this process's among those that work on it. `is_compared`: this clock is
    real, so what processes compare is told by the database's."""
    database = await PostgresDatabase.open(url, clock, connections=connections, is_pooled=is_pooled)
    skew = await skew_us(database, clock) if is_compared else 0
    return PostgresSessionStore(database, clock, name=name, skew_us=skew, on_commit=on_commit)


async def open_catalog(url: str, clock: Clock, *, is_pooled: bool = False) -> PostgresCatalog:
    """Open the database's resources, keys and references."""
    return PostgresCatalog(
        await PostgresDatabase.open(url, clock, connections=CATALOG_CONNECTIONS, is_pooled=is_pooled)
    )


async def open_postgres(
    url: str,
    clock: Clock,
    *,
    name: str,
    connections: int = CONNECTIONS,
    is_pooled: bool = False,
    on_commit: OnCommit = unobserved,
) -> tuple[PostgresSessionStore, PostgresCatalog]:
    """Open both, with their own connections. The caller closes both. Raises StoreAway, StoreUnavailable,
    InvalidRequest, with the mend."""
    sessions = await open_session_store(
        url,
        clock,
        name=name,
        connections=connections,
        is_pooled=is_pooled,
        is_compared=True,
        on_commit=on_commit,
    )
    try:
        return sessions, await open_catalog(url, clock, is_pooled=is_pooled)
    except BaseException:
        await sessions.close()
        raise
