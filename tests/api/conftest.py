"""The server under test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from api.world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World, None]:
    async with open_world(tmp_path) as world:
        yield world
