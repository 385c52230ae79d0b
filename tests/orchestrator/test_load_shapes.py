"""Small versions of the load shapes (`make load` has the large ones): many at one instant, and one after a long time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import anyio
import pytest

from remit.orchestrator.worker import Worker
from remit.testing.clock import FakeClock
from remit.values import JsonObject
from support.session_bench import PRINCIPAL, SessionBench, say, script, texts, use

pytestmark = pytest.mark.anyio
MANY = 60
WEEK_SECONDS = 7 * 86_400.0
ASKING: JsonObject = {
    "tools": [
        {
            "type": "agent_toolset_20260401",
            "default_config": {"enabled": True, "permission_policy": {"type": "always_ask"}},
            "configs": [],
        }
    ]
}
SCRIPTS: dict[str, JsonObject] = {
    "script": script(
        use("bash", command="echo 42 > kept; N=1"), say("kept"), use("bash", command="cat kept; echo N=$N")
    )
}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SessionBench]:
    made = SessionBench(
        tmp_path, scripts=SCRIPTS, clock=FakeClock(), settings={"streams_max": 8, "sandboxes_max": 8}
    )
    yield made
    await made.close()


async def until_quiet(bench: SessionBench, worker: Worker) -> None:
    """The worker has nothing in hand and nothing is due."""
    clock = cast("FakeClock", bench.clock)
    while worker.active or ((due := await bench.store.next_wake_us(["session"])) or 2**62) <= clock.now_us():
        # Fake time goes on no faster than real time, or leases would lapse under way.
        await anyio.sleep(0.01)
        await clock.advance(0.01)
    assert due is None or due > clock.now_us()


@pytest.mark.long
async def test_a_herd_that_wakes_in_one_instant_is_served_whole(bench: SessionBench) -> None:
    sessions = [await bench.create() for _ in range(MANY)]
    for session_id in sessions:
        await bench.say(session_id, "go")
    with anyio.fail_after(50):
        async with bench.running() as worker:
            await until_quiet(bench, worker)
    for session_id in sessions:
        assert (await bench.state(session_id)).stop_reason == {"type": "end_turn"}


async def test_decisions_that_come_all_at_once_are_all_carried_out(bench: SessionBench) -> None:
    sessions = [await bench.create(agent=ASKING) for _ in range(MANY)]
    with anyio.fail_after(50):
        async with bench.running() as worker:
            for session_id in sessions:
                await bench.say(session_id, "go")
            await until_quiet(bench, worker)
            uses = [next(iter((await bench.state(id)).tool_uses)) for id in sessions]
            async with asyncio.TaskGroup() as group:
                for session_id, use_id in zip(sessions, uses, strict=True):
                    group.create_task(
                        bench.send(session_id, "user.tool_confirmation", tool_use_id=use_id, result="deny")
                    )
            await until_quiet(bench, worker)
    for session_id in sessions:
        (result,) = await bench.bodies(session_id, "agent.tool_result")
        assert "refused this call" in texts(result)
        assert (await bench.state(session_id)).status == "idle"


async def test_after_a_week_of_rest_files_are_there_and_the_machine_is_a_new_one(bench: SessionBench) -> None:
    clock = cast("FakeClock", bench.clock)
    with anyio.fail_after(50):
        async with bench.running() as worker:
            session_id = await bench.create()
            await bench.say(session_id, "go")
            await until_quiet(bench, worker)
            assert bench.held.count == 1
            clock.jump(WEEK_SECONDS)
            await until_quiet(bench, worker)
            assert bench.held.count == 0
            head = await bench.store.head(PRINCIPAL, session_id)
            assert (head.owner, head.wake_at_us) == (None, None)  # it costs a row
            await bench.say(session_id, "go on")
            await until_quiet(bench, worker)
    last = (await bench.bodies(session_id, "agent.tool_result"))[-1]
    assert texts(last).split() == ["42", "N="]
    assert len(await bench.bodies(session_id, "sandbox.released")) == 1
