"""Every store does what the contract says."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from remit.interfaces import SessionStore
from remit.stores.memory import MemorySessionStore
from remit.stores.postgres.server import open_session_store as open_session_store_on_postgres
from remit.stores.sqlite.folder import open_session_store
from remit.testing.clock import FakeClock
from remit.testing.faulty_store import FaultyStore
from remit.testing.store_checks.given import MakeStore
from remit.testing.store_suite import STORE_CHECKS, StoreCheck, run_store_suite
from support.postgres_server import empty_database

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def make_memory_store() -> AsyncGenerator[tuple[SessionStore, FakeClock], None]:
    clock = FakeClock()
    yield MemorySessionStore(clock), clock


@asynccontextmanager
async def make_sqlite_store() -> AsyncGenerator[tuple[SessionStore, FakeClock], None]:
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        store = await open_session_store(Path(folder), clock)
        try:
            yield store, clock
        finally:
            await store.close()


@asynccontextmanager
async def make_faultless_faulty_store() -> AsyncGenerator[tuple[SessionStore, FakeClock], None]:
    clock = FakeClock()
    yield FaultyStore(MemorySessionStore(clock)).store, clock


@asynccontextmanager
async def make_postgres_store() -> AsyncGenerator[tuple[SessionStore, FakeClock], None]:
    clock = FakeClock()
    async with empty_database() as url:
        store = await open_session_store_on_postgres(url, clock, name="test")
        try:
            yield store, clock
        finally:
            await store.close()


MAKERS: list[MakeStore] = [
    make_memory_store,
    make_sqlite_store,
    make_postgres_store,
    make_faultless_faulty_store,
]


def name_of(function: Callable[..., object]) -> str:
    return function.__name__.removeprefix("check_").removeprefix("make_")


@pytest.mark.parametrize("make_store", MAKERS, ids=name_of)
@pytest.mark.parametrize("check", STORE_CHECKS, ids=name_of)
async def test_store(check: StoreCheck, make_store: MakeStore) -> None:
    with anyio.fail_after(30):
        await check(make_store)


async def test_the_whole_suite_runs_as_one_call() -> None:
    with anyio.fail_after(20):
        await run_store_suite(make_memory_store)
