"""A worker that comes to a rest loses nothing, and what a session at rest held is no alarm when it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from remit.app.kinds import KINDS
from remit.orchestrator.check import check_stream
from remit.values import JsonObject
from support.session_bench import PRINCIPAL, SessionBench, say, script, texts, use

pytestmark = pytest.mark.anyio

STEPS: tuple[JsonObject, ...] = (
    use("bash", command="echo one >> log.txt; sleep 0.05"),
    use("bash", command="echo two >> log.txt; sleep 0.05"),
    use("read", file_path="/workspace/log.txt"),
    say("done"),
)
POINTS = [
    (type, count)
    for type, most in (("session.status_running", 1), ("model.started", 4), ("tool.started", 3))
    for count in range(1, most + 1)
]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[SessionBench]:
    bench = SessionBench(tmp_path, scripts={"script": script(*STEPS, say("again"))})
    yield bench
    await bench.close()


async def leave(bench: SessionBench) -> None:
    """What an owner does that has ended in order: nothing is kept of it."""
    assert bench.held.count == 0
    bench.hints.is_resting = False
    await bench.store.raise_epochs()


@pytest.mark.parametrize(("type", "count"), POINTS)
async def test_a_turn_that_is_left_at_a_rest_goes_on_with_nothing_cut_and_nothing_done_twice(
    bench: SessionBench, type: str, count: int
) -> None:
    session_id = await bench.create()
    async with bench.running() as worker:
        await bench.say(session_id, "go")
        await bench.wait_for(session_id, type, count=count)
        await worker.come_to_rest()
        assert worker.active == 0
        await bench.held.let_go()
        before = await bench.bodies(session_id)
        await bench.say(session_id, "and this came meanwhile")  # nothing new is begun
        await anyio.lowlevel.checkpoint()
        assert len(await bench.bodies(session_id)) == len(before) + 1
    await leave(bench)
    async with bench.running():
        await bench.wait_for(session_id, "session.status_idle")
        await bench.wait_for(session_id, "session.status_idle", "agent.message", count=2)
    results = await bench.bodies(session_id, "agent.tool_result")
    assert [result.get("may_have_run") for result in results] == [None] * 3
    assert "one" in texts(results[2])
    assert texts(results[2]).count("two") == 1, "its files are there"
    ended = await bench.bodies(session_id, "model.ended")
    assert [call["is_assumed"] for call in ended] == [False] * len(ended)
    assert len(await bench.bodies(session_id, "tool.started")) == 3
    lost = await bench.bodies(session_id, "session.sandbox_lost")
    assert all(one["cause"] == "handed_over" for one in lost)
    assert all(one["lost"]["tool_use_ids"] == [] for one in lost if isinstance(one["lost"], dict))
    report = await check_stream(bench.store, PRINCIPAL, session_id, now_us=bench.clock.now_us(), kinds=KINDS)
    assert report.violations == ()


async def test_sandboxes_of_sessions_at_rest_keep_their_files_and_go_without_an_alarm(
    bench: SessionBench,
) -> None:
    session_id = await bench.create()
    async with bench.running() as worker:
        await bench.say(session_id, "go")
        await bench.wait_idle(session_id)
        assert bench.held.count == 1
        await worker.come_to_rest()
        with anyio.fail_after(5):
            await bench.held.let_go()
    await leave(bench)
    async with bench.running():
        await bench.say(session_id, "and on")
        await bench.wait_idle(session_id, count=2)
    assert await bench.bodies(session_id, "session.sandbox_lost") == []
    assert len(await bench.bodies(session_id, "sandbox.released")) == 1


async def test_a_sandbox_that_dies_with_its_server_after_the_work_is_told_only_when_the_session_goes_on(
    bench: SessionBench,
) -> None:
    session_id = await bench.create()
    async with bench.running():
        await bench.say(session_id, "go")
        await bench.wait_idle(session_id)
        await bench.wait_released(session_id)
    await bench.held.close()
    for _ in range(3):  # looked at, restarted, looked at again
        await bench.store.raise_epochs()
        await bench.store.wake(PRINCIPAL, session_id, at_us=bench.clock.now_us())
        async with bench.running() as worker:
            await anyio.lowlevel.checkpoint()
            await worker.come_to_rest()
        bench.hints.is_resting = False
    assert await bench.bodies(session_id, "session.sandbox_lost") == []
    async with bench.running():
        await bench.say(session_id, "and on")
        await bench.wait_idle(session_id, count=2)
    (lost,) = await bench.bodies(session_id, "session.sandbox_lost")
    assert lost["cause"] == "server_ended"


async def test_a_sandbox_that_goes_since_its_server_stood_still_is_said_to_have_gone_for_that(
    bench: SessionBench,
) -> None:
    """The server lives, and takes its own session up again."""
    session_id = await bench.create()
    async with bench.running():
        await bench.say(session_id, "go")
        await bench.wait_idle(session_id)
    await bench.held.give_up(session_id)
    async with bench.running():
        await bench.say(session_id, "and on")
        await bench.wait_idle(session_id, count=2)
    (lost,) = await bench.bodies(session_id, "session.sandbox_lost")
    assert lost["cause"] == "lease_lost"
    assert "did not answer for longer than its lease" in str(lost["reason"])
