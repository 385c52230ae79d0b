"""A session store from outside: held to the public suite, and at work in a platform."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from api.running import open_session, script, send, texts, until_idle
from extending.opened import opened
from remit.app import Parts
from remit.interfaces import SessionStore
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.store_suite import run_store_suite

pytestmark = pytest.mark.anyio


class Counted:
    """Another store, and how often it was written to."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.writes = 0

    def __getattr__(self, name: str) -> Any:  # Any: whatever a store has
        self.writes += name in ("append", "create_stream")
        return getattr(self._store, name)


@asynccontextmanager
async def make_store() -> AsyncGenerator[tuple[SessionStore, FakeClock]]:
    clock = FakeClock()
    yield cast("SessionStore", Counted(MemorySessionStore(clock))), clock


async def test_a_store_passes_the_public_suite() -> None:
    with anyio.fail_after(60):
        await run_store_suite(make_store)


async def test_a_store_carries_a_turn(tmp_path: Path) -> None:
    stores: list[Counted] = []

    def extend(parts: Parts) -> Parts:
        stores.append(Counted(parts.sessions))
        return replace(parts, sessions=cast("SessionStore", stores[0]))

    async with opened(tmp_path, extend) as here:
        before = stores[0].writes
        session = await open_session(here.sdk)
        await send(here.sdk, session.id, script({"text": "Hello."}))
        events = await until_idle(here.sdk, session.id)
    assert texts(events) == ["Hello."]
    assert stores[0].writes - before >= 4  # the session, its input, the call, its end
