"""A person says stop, and the sandbox dies of it: the turn stops all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.clock import SystemClock
from remit.errors import SandboxLost
from remit.sandboxes.local import LocalProvider
from remit.values import SandboxSpec
from support.session_bench import SessionBench, say, script, use

pytestmark = pytest.mark.anyio


class FragileSandbox:
    """A real sandbox that dies when it is told to interrupt something."""

    def __init__(self, sandbox: Any) -> None:
        self._sandbox = sandbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandbox, name)

    async def interrupt(self, call_id: str) -> None:
        await self._sandbox.destroy()
        raise SandboxLost(f"died while {call_id} was interrupted")


class FragileProvider(LocalProvider):
    """Makes sandboxes that die when they are told to interrupt something."""

    async def create(self, spec: SandboxSpec) -> Any:
        return FragileSandbox(await super().create(spec))


async def test_an_interrupt_that_kills_the_sandbox_still_ends_the_turn(tmp_path: Path) -> None:
    clock = SystemClock()
    bench = SessionBench(
        folder=tmp_path,
        clock=clock,
        scripts={"script": script(use("bash", command="sleep 60"), say("I went on."))},
        sandboxes=FragileProvider,
    )
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "go")
        await bench.wait_for(session_id, "tool.started")
        await bench.send(session_id, "user.interrupt")
        await bench.wait_idle(session_id)
    assert "agent.message" not in await bench.types(session_id)
    assert len(await bench.bodies(session_id, "model.started")) == 1
    assert len(await bench.bodies(session_id, "agent.tool_result")) == 1
    await bench.close()
