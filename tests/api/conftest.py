"""The server under test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from api.world import World, make_world
from chosen_stores import chosen_stores
from remit.testing.clock import FakeClock


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World, None]:
    clock = FakeClock()
    async with chosen_stores(clock) as stores:
        yield await make_world(tmp_path, clock, stores)
