"""The stores that tests of the whole platform stand on: in memory, or what `make test STORE=postgres` says."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

from remit.clock import Clock
from remit.interfaces import Catalog, SessionStore
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.stores.postgres.server import open_catalog, open_session_store
from support.postgres_server import empty_database

STORE = os.environ.get("REMIT_TEST_STORE", "memory")
STORES = ("memory", "postgres")
assert STORE in STORES, f"REMIT_TEST_STORE is one of {', '.join(STORES)}"


class ChosenStores(NamedTuple):
    sessions: SessionStore
    catalog: Catalog


@asynccontextmanager
async def chosen_stores(clock: Clock) -> AsyncGenerator[ChosenStores, None]:
    """Empty ones, for the length of a test."""
    if STORE == "memory":
        yield ChosenStores(MemorySessionStore(clock), MemoryCatalog(clock))
        return
    async with empty_database() as url:
        sessions = await open_session_store(url, clock, name="test", connections=6)
        catalog = await open_catalog(url, clock)
        try:
            yield ChosenStores(sessions, catalog)
        finally:
            await sessions.close()
            await catalog.close()
