"""A tool, and a toolset of a sort of its own, from outside the package: the recipes of docs/extending.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from api.running import open_session, running, script, send, texts, until_idle, use
from remit.errors import ToolsUnavailable
from remit.interfaces import Sandbox, ToolSession, Toolset, ToolSource
from remit.toolsets.offers import OfferedTools, builtin_tools
from remit.values import JsonValue, Tool, ToolContext, ToolResult, ToolUse

pytestmark = pytest.mark.anyio


class Dice(ToolSource):
    """A tool of the built-in toolset, configured as its others are."""

    async def open(self, session: ToolSession) -> Toolset:
        schema: dict[str, Any] = {"type": "object", "properties": {"sides": {"type": "integer"}}}
        roll = Tool(name="roll", description="Roll a die.", input_schema=schema, is_concurrent=True)
        return OfferedTools(builtin_tools(session.agent, [roll]), self)

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        return None if isinstance(input.get("sides"), int) else "roll: how many sides?"

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        return ToolResult(content=({"type": "text", "text": f"{use.input['sides']}, of all things"},))


class Shop(Toolset):
    """What a session finds in a shop that opens with it, and is out of stock at first."""

    def __init__(self, visits: int) -> None:
        self._visits = visits

    @property
    def tools(self) -> Sequence[Tool]:
        schema: dict[str, Any] = {"type": "object"}
        buy = Tool(name="buy", description="Buy.", input_schema=schema, permission="ask")
        return [buy] if self._visits > 1 else []

    @property
    def problems(self) -> Sequence[ToolsUnavailable]:
        closed = ToolsUnavailable("The shop is closed.", server="shop", reason="connection")
        return () if self._visits > 1 else [closed]

    @property
    def is_current(self) -> bool:
        return self._visits > 1

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        return None

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        return ToolResult(content=({"type": "text", "text": "sold"},))


class Shops(ToolSource):
    def __init__(self) -> None:
        self._visits: dict[str, int] = {}

    async def open(self, session: ToolSession) -> Toolset:
        visits = self._visits[session.session_id] = self._visits.get(session.session_id, 0) + 1
        return Shop(visits)


async def test_a_tool_from_outside_stands_in_the_built_in_toolset(tmp_path: Path) -> None:
    async with running(tmp_path, tools=[Dice()]) as (client, _):
        session = await open_session(client)
        await send(client, session.id, script(use("roll", sides=6), use("roll"), {"text": "done"}))
        events = await until_idle(client, session.id)
        assert texts(events, "agent.tool_result") == ["6, of all things", "roll: how many sides?"]


async def test_a_toolset_from_outside_opens_with_each_session_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, tools=[Shops()]) as (client, _):
        session = await open_session(client, tools=[])
        await send(client, session.id, script({"text": "nothing"}, use("buy"), {"text": "bought"}))
        events = await until_idle(client, session.id)
        assert [event.error.message for event in events if event.type == "session.error"] == [
            "The shop is closed."
        ]
        await send(client, session.id, {"type": "user.message", "content": [{"type": "text", "text": "on"}]})
        (asked,) = (await until_idle(client, session.id, 2))[-1].stop_reason.event_ids
        await send(
            client, session.id, {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"}
        )
        events = await until_idle(client, session.id, 3)
        assert texts(events, "agent.tool_result") == ["sold"]
        assert texts(events) == ["nothing", "bought"]
