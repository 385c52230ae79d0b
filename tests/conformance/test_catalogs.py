"""Every catalog does what the contract says."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from remit.clock import SystemClock
from remit.interfaces import Catalog
from remit.stores.memory import MemoryCatalog
from remit.stores.postgres.server import open_catalog as open_catalog_on_postgres
from remit.stores.sqlite.folder import open_catalog
from remit.testing.catalog_selection import CatalogCheck, MakeCatalog
from remit.testing.catalog_suite import CATALOG_CHECKS, run_catalog_suite
from remit.testing.clock import FakeClock
from support.postgres_server import empty_database

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def make_memory_catalog() -> AsyncGenerator[Catalog, None]:
    yield MemoryCatalog(FakeClock())


@asynccontextmanager
async def make_sqlite_catalog() -> AsyncGenerator[Catalog, None]:
    with tempfile.TemporaryDirectory() as folder:
        catalog = await open_catalog(Path(folder))
        try:
            yield catalog
        finally:
            await catalog.close()


@asynccontextmanager
async def make_postgres_catalog() -> AsyncGenerator[Catalog, None]:
    async with empty_database() as url:
        catalog = await open_catalog_on_postgres(url, SystemClock())
        try:
            yield catalog
        finally:
            await catalog.close()


def name_of(function: Callable[..., object]) -> str:
    return function.__name__.removeprefix("check_").removeprefix("make_")


@pytest.mark.parametrize(
    "make_catalog", [make_memory_catalog, make_sqlite_catalog, make_postgres_catalog], ids=name_of
)
@pytest.mark.parametrize("check", CATALOG_CHECKS, ids=name_of)
async def test_catalog(check: CatalogCheck, make_catalog: MakeCatalog) -> None:
    with anyio.fail_after(30):
        await check(make_catalog)


async def test_the_whole_suite_runs_as_one_call() -> None:
    with anyio.fail_after(30):
        await run_catalog_suite(make_memory_catalog)
