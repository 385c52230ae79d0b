"""Agents with MCP servers, on the whole platform: the official client in front, real MCP servers behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from api.running import running, script, send, texts, until_idle, use
from mcp_forge import serving_forge

pytestmark = pytest.mark.anyio

OPEN: dict[str, Any] = {"egress_private_hosts": ("127.0.0.1",), "egress_ports": tuple(range(1, 65_536))}
FORGE = Path(__file__).parents[1] / "mcp_forge.py"
ALLOWED: dict[str, Any] = {"default_config": {"permission_policy": {"type": "always_allow"}}}
UNRESTRICTED: dict[str, Any] = {"type": "cloud", "networking": {"type": "unrestricted"}}


def url(place: str, name: str = "forge") -> dict[str, Any]:
    return {"type": "url", "name": name, "url": place}


def stdio(name: str = "forge") -> dict[str, Any]:
    return {"type": "stdio", "name": name, "command": [sys.executable, str(FORGE)]}


def toolset(name: str = "forge", **more: Any) -> dict[str, Any]:
    return {"type": "mcp_toolset", "mcp_server_name": name, **more}


async def open_session(
    client: AsyncAnthropic,
    servers: list[Any],
    tools: list[Any],
    *,
    config: dict[str, Any] = UNRESTRICTED,
    **fields: Any,
) -> str:
    agent = await client.beta.agents.create(
        name="a", model="scripted/inline", tools=tools, mcp_servers=servers
    )
    environment = await client.beta.environments.create(name="e", config=config)  # type: ignore[arg-type]
    session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, **fields)
    return session.id


def results(events: list[Any]) -> list[str]:
    return [
        "".join(block.text for block in event.content if block.type == "text")
        for event in events
        if event.type == "agent.mcp_tool_result"
    ]


def errors(events: list[Any]) -> list[Any]:
    return [event.error for event in events if event.type == "session.error"]


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_tool_of_a_server_is_called_and_its_answer_is_marked(tmp_path: Path, kind: str) -> None:
    async with serving_forge(kind=kind) as served, running(tmp_path, settings=OPEN) as (client, _):
        session = await open_session(client, [url(served.url)], [toolset(**ALLOWED)])
        await send(client, session, script(use("mcp__forge__add", a=2, b=3), {"text": "five"}))
        events = await until_idle(client, session)
        used = next(event for event in events if event.type == "agent.mcp_tool_use")
        assert (used.name, used.mcp_server_name, used.input) == ("add", "forge", {"a": 2, "b": 3})
        assert (used.evaluated_permission, used.evaluation.type) == ("allow", "always_allow")
        result = next(event for event in events if event.type == "agent.mcp_tool_result")
        assert (result.mcp_tool_use_id, result.is_error) == (used.id, False)
        assert "\n5\n" in results(events)[0]
        assert results(events)[0].startswith('<untrusted_tool_content source="forge"')
        assert texts(events) == ["five"]
        assert errors(events) == []


async def test_a_person_is_asked_where_nothing_else_was_said(tmp_path: Path) -> None:
    async with serving_forge() as served, running(tmp_path, settings=OPEN) as (client, _):
        only_add = toolset(configs=[{"name": "add", "permission_policy": {"type": "always_allow"}}])
        session = await open_session(client, [url(served.url)], [only_add])
        await send(
            client,
            session,
            script(
                use("mcp__forge__add", a=1, b=1), use("mcp__forge__keep", key="n", word="w"), {"text": "done"}
            ),
        )
        events = await until_idle(client, session)
        idle = events[-1]
        asked = [event for event in events if event.type == "agent.mcp_tool_use"][-1]
        assert (idle.stop_reason.type, idle.stop_reason.event_ids) == ("requires_action", [asked.id])
        assert (asked.name, asked.evaluated_permission) == ("keep", "ask")
        answer = {"type": "user.tool_confirmation", "tool_use_id": asked.id, "result": "allow"}
        await send(client, session, answer)
        events = await until_idle(client, session, 2)
        assert "kept" in results(events)[-1]
        assert texts(events) == ["done"]


async def test_a_server_in_the_sandbox_keeps_what_it_knows_from_turn_to_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client, [stdio()], [toolset(**ALLOWED)], config={"type": "cloud"})
        await send(
            client,
            session,
            script(
                use("mcp__forge__keep", key="n", word="iron"),
                {"text": "one"},
                use("mcp__forge__recall", key="n"),
                {"text": "two"},
            ),
        )
        await until_idle(client, session)
        await send(client, session, {"type": "user.message", "content": [{"type": "text", "text": "on"}]})
        events = await until_idle(client, session, 2)
        assert "iron" in results(events)[-1]
        assert errors(events) == []
