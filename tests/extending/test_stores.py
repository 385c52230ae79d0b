"""The recipe of a store: a session store from outside the package, held to the public suite and at work in a platform."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from api.running import open_session, running, script, send, until_idle
from remit.interfaces import SessionStore
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.store_suite import run_store_suite
from support.chosen_stores import ChosenStores

pytestmark = pytest.mark.anyio


class CountingStore:
    """A toy: another store with a count of its appends."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.appends = 0

    def __getattr__(self, name: str) -> Any:
        self.appends += name in ("append", "create_stream")
        return getattr(self._store, name)


@asynccontextmanager
async def make_toy() -> AsyncGenerator[tuple[SessionStore, FakeClock], None]:
    clock = FakeClock()
    yield cast("SessionStore", CountingStore(MemorySessionStore(clock))), clock


async def test_a_store_from_outside_passes_the_public_suite() -> None:
    with anyio.fail_after(30):
        await run_store_suite(make_toy)


async def test_a_platform_works_on_a_store_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys: list[CountingStore] = []

    @asynccontextmanager
    async def toy_stores(clock: Any) -> AsyncGenerator[ChosenStores, None]:
        toys.append(CountingStore(MemorySessionStore(clock)))
        yield ChosenStores(cast("SessionStore", toys[0]), MemoryCatalog(clock))

    monkeypatch.setattr("api.whole.chosen_stores", toy_stores)
    async with running(tmp_path) as (client, _):
        session = await open_session(client)
        await send(client, session.id, script({"text": "Hello."}))
        events = await until_idle(client, session.id)
    assert any(event.type == "agent.message" for event in events)
    assert toys[0].appends > 0
