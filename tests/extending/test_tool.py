"""A tool from outside, among those of the built-in toolset: offered, checked, configured and recorded as the others are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from api.running import TOOLSET, open_session, script, send, texts, until_idle, use
from extending.opened import opened
from remit.app import Parts
from remit.interfaces import Sandbox, ToolSession, Toolset, ToolSource
from remit.toolsets.offers import OfferedTools, builtin_tools
from remit.values import JsonObject, Tool, ToolContext, ToolResult, ToolUse

pytestmark = pytest.mark.anyio

SIDES: JsonObject = {"type": "object", "properties": {"sides": {"type": "integer"}}}
ROLL = Tool(name="roll", description="Roll a die.", input_schema=SIDES, is_concurrent=True)


class Dice(ToolSource):
    async def open(self, session: ToolSession) -> Toolset:
        return OfferedTools(builtin_tools(session.agent, [ROLL]), self)

    def check_input(self, name: str, input: JsonObject) -> str | None:
        return None if isinstance(input.get("sides"), int) else "roll: how many sides?"

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        return ToolResult(content=({"type": "text", "text": f"{use.input['sides']}, of all things"},))


def extend(parts: Parts) -> Parts:
    return replace(parts, tools=[Dice()])


async def test_a_tool_is_used_and_asks_where_it_is_to_ask(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here:
        session = await open_session(here.sdk)
        await send(here.sdk, session.id, script(use("roll", sides=6), use("roll"), {"text": "done"}))
        events = await until_idle(here.sdk, session.id)
        careful = await open_session(
            here.sdk, tools=[{**TOOLSET, "default_config": {"permission_policy": {"type": "always_ask"}}}]
        )
        await send(here.sdk, careful.id, script(use("roll", sides=6), {"text": "done"}))
        asked = (await until_idle(here.sdk, careful.id))[-1].stop_reason
    assert texts(events, "agent.tool_result") == ["6, of all things", "roll: how many sides?"]
    assert asked.type == "requires_action"
