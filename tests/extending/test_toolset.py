"""A toolset from outside: opened for each session, it may lack tools for a while, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from api.running import open_session, said, script, send, texts, until_idle, use
from extending.opened import opened
from remit.app import Parts
from remit.errors import ToolsUnavailable
from remit.interfaces import Sandbox, ToolSession, Toolset, ToolSource
from remit.values import JsonObject, Tool, ToolContext, ToolResult, ToolUse

pytestmark = pytest.mark.anyio

BUY = Tool(name="buy", description="Buy.", input_schema={"type": "object"}, permission="ask")
CLOSED = ToolsUnavailable("The shop is closed.", server="shop", reason="connection")


class Shop(Toolset):
    """What a session finds there."""

    def __init__(self, *, is_current: bool) -> None:
        self._is_current = is_current

    @property
    def is_current(self) -> bool:
        return self._is_current

    @property
    def tools(self) -> Sequence[Tool]:
        return [BUY] if self._is_current else []

    @property
    def problems(self) -> Sequence[ToolsUnavailable]:
        return [] if self._is_current else [CLOSED]

    def check_input(self, name: str, input: JsonObject) -> str | None:
        return None

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        return ToolResult(content=({"type": "text", "text": "sold"},))


class Shops(ToolSource):
    """Closed at a session's first visit, open from the second on."""

    def __init__(self) -> None:
        self._visitors: set[str] = set()

    async def open(self, session: ToolSession) -> Toolset:
        is_known = session.session_id in self._visitors
        self._visitors.add(session.session_id)
        return Shop(is_current=is_known)


def extend(parts: Parts) -> Parts:
    return replace(parts, tools=[Shops()])


async def test_a_toolset_says_what_is_missing_and_has_it_later(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here:
        session = await open_session(here.sdk, tools=[])
        await send(here.sdk, session.id, script({"text": "nothing"}, use("buy"), {"text": "bought"}))
        closed = await until_idle(here.sdk, session.id)
        await send(here.sdk, session.id, said("on"))
        (asked,) = (await until_idle(here.sdk, session.id, 2))[-1].stop_reason.event_ids
        allow = {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"}
        await send(here.sdk, session.id, allow)
        events = await until_idle(here.sdk, session.id, 3)
    assert [event.error.message for event in closed if event.type == "session.error"] == [
        "The shop is closed."
    ]
    assert texts(events, "agent.tool_result") == ["sold"]
    assert texts(events) == ["nothing", "bought"]
