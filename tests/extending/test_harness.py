"""A harness from outside: an agent names it, it runs the turn, and the public suite holds it to the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from api.running import TOOLSET, script, send, texts, until_idle, use
from extending.opened import opened
from remit.app import Parts
from remit.interfaces import Harness, Turn
from remit.schema.agents import HarnessParams
from remit.testing.harness_suite import CHECKS
from remit.values import TurnEnd

pytestmark = pytest.mark.anyio


class Plain(Harness):
    """Ask, run, ask again; no reminders, no limits."""

    name = "plain"
    version = "7"

    async def run(self, turn: Turn) -> TurnEnd:
        view = await turn.take_input()
        while view.needs_model or view.open_tool_uses:
            if view.open_tool_uses:
                await turn.run_tools(view.open_tool_uses)
            else:
                await turn.call_model(view.request)
            view = await turn.take_input()
        return TurnEnd(reason="requires_action" if view.blocking_event_ids else "end_turn")


def extend(parts: Parts) -> Parts:
    return replace(parts, harnesses=[*parts.harnesses, Plain()])


async def test_a_harness_passes_the_public_suite() -> None:
    for check in CHECKS:
        with anyio.fail_after(30):
            await check(Plain)


async def test_a_harness_runs_the_turns_of_agents_that_name_it(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here:
        agent = await here.client.agents.create(
            name="a",
            model="scripted/inline",
            harness=HarnessParams(name="plain"),
            tools=[TOOLSET],  # pyright: ignore[reportArgumentType]  # as JSON
        )
        environment = await here.sdk.beta.environments.create(name="e")
        session = await here.sdk.beta.sessions.create(agent=agent["id"], environment_id=environment.id)
        # The built-in loop would remind an agent that writes a file and checks nothing; this one does not.
        write = use("write", file_path="a.txt", content="a")
        await send(here.sdk, session.id, script(write, {"text": "done"}, {"text": "reminded"}))
        events = await until_idle(here.sdk, session.id)
    assert agent["harness"] == {"name": "plain", "version": "7"}
    assert texts(events) == ["done"]
