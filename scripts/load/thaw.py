"""A week passes: the whole platform in one process on a clock that can be moved, asked through its API."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessions import Seen
from shapes import Shape

from remit.app import Assembled
from remit.client.client import AsyncClient
from remit.client.errors import AuthenticationError
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.stores.sqlite.folder import open_sqlite
from remit.testing.clock import FakeClock
from remit.testing.platform import OPERATOR, platform

WEEK_SECONDS = 7 * 86_400.0
IDLE_SECONDS = 300.0
STEP_SECONDS = 0.02
SCRIPT = b"""{"rules": [
    {"when": {"last_user_contains": "keep"}, "steps": [
        {"tool_uses": [{"name": "bash", "input": {"command": "head -c 100000 /dev/urandom > kept; N=1"}}]},
        {"text": "Kept."}]},
    {"when": {"last_user_contains": "still there"}, "steps": [
        {"tool_uses": [{"name": "bash", "input": {"command": "wc -c < kept; echo N=$N"}}]},
        {"text": "It is."}]}
]}"""


@dataclass
class World:
    """The platform and its clock."""

    clock: FakeClock
    assembled: Assembled
    client: AsyncClient


@asynccontextmanager
async def living(folder: Path) -> AsyncIterator[World]:
    """Real stores, real sandboxes, a worker, and time that stands still."""
    clock = FakeClock()
    sessions, catalog = await open_sqlite(folder, clock)
    try:
        async with (
            platform(
                folder,
                clock=clock,
                store=sessions,
                catalog=catalog,
                scripts={"keep": json.loads(SCRIPT)},
                sandboxes=lambda runtime, blobs, ids: BubblewrapProvider(
                    runtime, blobs, ids, secret_folders=[folder / "blobs"]
                ),
                settings={"sandbox_idle_seconds": IDLE_SECONDS, "reader_wait_seconds": 0.0},
                public_url="http://load",
                keys=[OPERATOR],
            ) as here,
            here.client(OPERATOR) as client,
        ):
            yield World(clock, here.assembled, client)
    finally:
        await sessions.close()
        await catalog.close()


async def thaw(shape: Shape) -> None:
    """Sessions work, rest for a week, and are all spoken to in one instant."""
    count = shape.count(100)
    cold = shape.row(f"{count} sessions make a sandbox and rest")
    thawed = shape.row("a week later all are spoken to at once")
    with tempfile.TemporaryDirectory(prefix="remit-thaw-") as folder:
        async with living(Path(folder)) as world:
            client = world.client
            given = await _given(client)
            ids = [(await client.sessions.create(**given))["id"] for _ in range(count)]
            async with ticking(world), asyncio.TaskGroup() as group:
                for id in ids:
                    group.create_task(_turn(client, id, "keep this", cold))
            key = await client.keys.create(name="day", expires_in_seconds=86_400)
            await _until_quiet(world)
            live = world.assembled.held.count
            world.clock.jump(WEEK_SECONDS)
            while world.assembled.held.count:
                await _until_quiet(world)
            async with AsyncClient.in_process(world.assembled.asgi, api_key=key["secret"]) as stranger:
                try:
                    await stranger.agents.create(name="late", model="scripted/keep")
                    thawed.failures["a key of a day still opens the API after a week"] += 1
                except AuthenticationError:
                    pass
            async with ticking(world), asyncio.TaskGroup() as group:
                for id in ids:
                    group.create_task(_turn(client, id, "is it still there?", thawed))
            for id in ids:
                await _check(client, id, thawed)
            shape.notes.append(f"{live} sandboxes were live before the week, none after it")


@asynccontextmanager
async def ticking(world: World) -> AsyncIterator[None]:
    """The clock goes on as the real one does: on a busy machine a lease may lapse, and is then waited for."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            await world.clock.advance(STEP_SECONDS)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()


async def _until_quiet(world: World) -> None:
    """What is due is done; the clock goes on as slowly as the real one, or leases would lapse under way."""
    await world.clock.advance(STEP_SECONDS)
    while world.assembled.worker.active:
        await asyncio.sleep(STEP_SECONDS)
        await world.clock.advance(STEP_SECONDS)


async def _given(client: AsyncClient) -> dict[str, str]:
    agent = await client.agents.create(
        name="keeper", model="scripted/keep", tools=[{"type": "agent_toolset_20260401"}]
    )
    environment = await client.environments.create(name="week")
    return {"agent": str(agent["id"]), "environment_id": str(environment["id"])}


async def _turn(client: AsyncClient, session_id: str, text: str, seen: Seen) -> None:
    message: dict[str, Any] = {"type": "user.message", "content": [{"type": "text", "text": text}]}
    started = time.perf_counter()
    sent = await client.sessions.send(session_id, events=[message])
    async with client.sessions.stream(session_id, after=sent["data"][0]["id"]) as events:
        async for event in events:
            if event["type"] == "session.status_idle":
                break
    seen.seconds.append(time.perf_counter() - started)
    if event["stop_reason"] != {"type": "end_turn"}:
        seen.failures[str(event["stop_reason"])] += 1


async def _check(client: AsyncClient, session_id: str, seen: Seen) -> None:
    """The files came back, the shell's variables did not, the log holds together."""
    results = [
        event["content"][0]["text"].split()
        async for event in client.sessions.events(session_id)
        if event["type"] == "agent.tool_result"
    ]
    if results[-1:] != [["100000", "N="]]:
        seen.failures[f"after the week it said {results[-1:]}"] += 1
    violations = (await client.sessions.check(session_id))["violations"]
    if violations:
        seen.failures[f"check: {violations[0]}"] += 1
