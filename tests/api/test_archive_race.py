"""An update that races an archive: whichever was first, what is archived stays archived."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anthropic import BadRequestError

from api.world import World
from remit.errors import WrongState

pytestmark = pytest.mark.anyio


async def test_update_that_read_before_an_archive_does_not_undo_it(world: World) -> None:
    catalog = world.services.catalog
    async with world.sdk() as client:
        agent = await client.beta.agents.create(name="a", model="scripted/echo")
        stale = await catalog.retrieve(world.one, "agent", agent.id)
        await client.beta.agents.archive(agent.id)
        with pytest.raises(WrongState, match="archived"):
            await catalog.update(world.one, stale, expected_version=1, is_new_version=True)
        with pytest.raises(BadRequestError, match="archived"):
            await client.beta.agents.update(agent.id, name="b")
        assert (await client.beta.agents.retrieve(agent.id)).archived_at is not None


async def test_concurrent_archives_and_updates_all_end_archived(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(name="a", model="scripted/echo")

        async def update(number: int) -> Any:
            return await client.beta.agents.update(agent.id, name=f"n{number}")

        results = await asyncio.gather(
            *(update(number) for number in range(5)),
            *(client.beta.agents.archive(agent.id) for _ in range(3)),
            return_exceptions=True,
        )
        assert (await client.beta.agents.retrieve(agent.id)).archived_at is not None
    assert all(not isinstance(r, Exception) or isinstance(r, BadRequestError) for r in results)
