"""What a deleted session leaves behind in its server: nothing that grows. `make soak` looks at all of it, for longer."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from api.running import TOOLSET, running, said, script, send, until_idle, use
from support.waiting import eventually

pytestmark = pytest.mark.anyio

ROUNDS = 4
OF_THE_SERVER = tuple(
    f"remit.{package}."
    for package in ("session", "sessions", "orchestrator", "catalog", "sandboxes", "server")
)
"""The stores here are in memory, and keep what a store keeps."""


@pytest.mark.long
async def test_deleted_sessions_leave_no_object_and_no_blob_that_is_needed(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, platform):
        agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])
        environment = await client.beta.environments.create(name="e")

        async def make_use_and_delete() -> None:
            for number in range(ROUNDS):
                await _one(client, agent.id, environment.id, interrupts=number % 3 == 0)
            await asyncio.sleep(0)

        await make_use_and_delete()
        before = _objects()
        await make_use_and_delete()

        def stays() -> dict[str, int]:
            return {name: more for name, more in (_objects() - before).items() if more >= ROUNDS // 2}

        # What works on the last one may have its history in hand a moment longer.
        with suppress(TimeoutError):
            await eventually(lambda: not stays())
        assert stays() == {}
        blobs = await platform.services.blobs.look(touched_before_us=2**62)
    assert blobs.count == len(blobs.leftovers)  # they go when they are a day old


async def _one(client: Any, agent_id: str, environment_id: str, *, interrupts: bool) -> None:
    session = await client.beta.sessions.create(agent=agent_id, environment_id=environment_id)
    await send(
        client, session.id, script(use("bash", command="seq 1 20000 > large; cat large"), {"text": "done"})
    )
    await until_idle(client, session.id)
    if interrupts:
        await send(client, session.id, said("again"), {"type": "user.interrupt"})
        await until_idle(client, session.id, 2)
    await client.beta.sessions.delete(session.id)


def _objects() -> Counter[str]:
    gc.collect()
    return Counter(name for each in gc.get_objects() if (name := _own_type(each)) is not None)


def _own_type(each: object) -> str | None:
    kind = type(each)
    module = (
        kind.__module__ if isinstance(kind.__module__, str) else ""
    )  # some types say it to their instances alone
    return f"{module}.{kind.__qualname__}" if module.startswith(OF_THE_SERVER) else None
