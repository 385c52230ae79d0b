"""Exactly one session for each firing: two workers on one store, and one of them dies or stands still at the instant of firing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest

from fault_matrix.judge import firings_of
from fault_matrix.person import Person
from fault_matrix.process import Point, Process
from fault_matrix.stories import EVERY_MINUTE
from fault_matrix.world import Life, Stores, World, WorldClock, a_task
from remit.testing.faulty_store import Crash
from support.simulation import simulate

DECIDED = "append deployment_run.decided"
OPENED = "create_stream session.created+input.received"
ENDED = "append deployment_run.succeeded"
LISTED = "catalog.create"
AT = [(label, when) for label in (DECIDED, OPENED, ENDED, LISTED) for when in ("before", "after")]


async def fire(folder: Path, label: str, when: Literal["before", "after"], *, dies: bool) -> list[str]:
    """Three firings with two workers. Whichever comes to this point of the second firing first goes no further."""
    clock = WorldClock()
    world = World(
        folder, await Stores.open("memory", folder, clock), clock, {"default": {"text": "Done."}}, 1
    )
    await world.open()
    hit: list[Process] = []
    seen = 0

    async def strike(process: Process, point: Point) -> None:
        nonlocal seen
        if (point.label, point.when) != (label, when) or hit:
            return
        seen += 1
        if seen == 2:
            hit.append(process)
            process.die() if dies else process.stop()

    async def live(life: Life) -> None:
        async with life.working() as worker:
            await asyncio.wait([worker])

    lives = [Life(world, world.process(strike=strike, is_set_up=False)) for _ in range(2)]
    person = Person()
    async with a_task(live(lives[0])), a_task(live(lives[1])):
        person.connect(lives[0].assembled.asgi)
        await person.set_up(())
        for life in lives:
            life.process.is_set_up = True
        made: Any = await person.post(
            "/v1/deployments",
            {
                "name": "n",
                "agent": person.agent_id,
                "environment_id": person.environment_id,
                "initial_events": [{"type": "user.message", "content": [{"type": "text", "text": "go"}]}],
                "schedule": EVERY_MINUTE,
            },
        )
        await asyncio.sleep(240.0)
        alive = next(life for life in lives if life.process not in hit)
        for process in hit:
            if not dies:
                process.wake_up(None)  # after others took over
        await asyncio.sleep(12.0)
        person.connect(alive.assembled.asgi)
        await person.post(f"/v1/deployments/{made['id']}/archive")
        await asyncio.sleep(12.0)
        runs: Any = (await person.get("/v1/deployment_runs?trigger_type=schedule"))["data"]
        sessions: Any = (await person.get(f"/v1/sessions?deployment_id={made['id']}"))["data"]
        person.hang_up()
    rows = {head.stream_id: await world.rows(head.stream_id) for head in await world.heads()}
    wrong = firings_of(rows) + world.watch.complaints
    if not hit:
        wrong.append(f"nobody came to {when} {label}")
    if len(runs) < 3 or len(sessions) != len(runs):
        wrong.append(f"{len(runs)} runs, {len(sessions)} sessions")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("dies", [True, False], ids=["killed", "stopped past its lease"])
@pytest.mark.parametrize(("label", "when"), AT, ids=[f"{when} {label}" for label, when in AT])
def test_a_firing_opens_one_session_whatever_becomes_of_the_worker_that_fires(
    tmp_path: Path, label: str, when: Literal["before", "after"], dies: bool
) -> None:
    def ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The tasks of the dead leave their deaths behind."""
        assert isinstance(context.get("exception"), Crash), context

    async def main() -> list[str]:
        asyncio.get_running_loop().set_exception_handler(ignore)
        return await fire(tmp_path, label, when, dies=dies)

    assert simulate(main()) == []
