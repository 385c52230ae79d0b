"""The official SDK's own helpers against the whole platform: the real worker, loop, scripted model and tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anthropic import beta_async_tool
from anthropic.lib.sessions import accumulate_managed_agents_event

from api.whole import anthropic, whole_platform

pytestmark = pytest.mark.anyio

SCRIPT = {
    "steps": [
        {
            "text": "I look it up.",
            "tool_uses": [
                {"name": "lookup", "input": {"question": "life"}},
                {"name": "bash", "input": {"command": "echo hi"}},
            ],
        },
        {"text": "The answer is 42."},
    ]
}


@beta_async_tool
async def lookup(question: str) -> str:
    """Look something up."""
    return f"{question}: 42"


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Any]:
    async with whole_platform(folder) as here, anthropic(here, max_retries=2) as client:
        yield client


async def scripted_session(client: Any) -> str:
    tool = lookup.to_dict()
    agent = await client.beta.agents.create(
        name="helper of people",
        model="scripted/inline",
        tools=[
            {
                "type": "agent_toolset_20260401",
                "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
            },
            {
                "type": "custom",
                "name": "lookup",
                "description": "Look something up.",
                "input_schema": tool["input_schema"],  # type: ignore[typeddict-item]
            },
        ],
    )
    environment = await client.beta.environments.create(name="e")
    return (await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)).id


def said(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


@pytest.mark.requirement("sdk tool runner")
@pytest.mark.requirement("sdk accumulator")
async def test_tool_runner_answers_custom_tools_and_a_person_confirms_the_rest(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        session_id = await scripted_session(client)
        seen: list[Any] = []
        previews: list[str] = []

        async def follow_and_confirm(stream: Any) -> None:
            preview = None
            confirmed: set[str] = set()
            async for event in stream:
                seen.append(event)
                preview = accumulate_managed_agents_event(preview, event)
                if event.type == "event_delta" and preview is not None:
                    previews.append("".join(block.text for block in preview.content if block.type == "text"))
                if event.type == "agent.tool_use" and event.id not in confirmed:
                    confirmed.add(event.id)
                    await client.beta.sessions.events.send(
                        session_id,
                        events=[
                            {"type": "user.tool_confirmation", "tool_use_id": event.id, "result": "allow"}
                        ],
                    )
                if event.type == "session.status_idle" and event.stop_reason.type == "end_turn":
                    return

        with anyio.fail_after(20):
            stream = await client.beta.sessions.events.stream(session_id, event_deltas=["agent.message"])
            async with stream, anyio.create_task_group() as tasks:
                tasks.start_soon(follow_and_confirm, stream)
                await client.beta.sessions.events.send(
                    session_id, events=[said(f"```script\n{json.dumps(SCRIPT)}\n```")]
                )
                runner = client.beta.sessions.events.tool_runner(session_id, tools=[lookup], max_idle=0.01)
                calls = [call async for call in runner]
        session = await client.beta.sessions.retrieve(session_id)
        listed = [event async for event in client.beta.sessions.events.list(session_id)]
    posted = {call.name: call.posted for call in calls}
    assert posted["lookup"] is True
    messages = [event.content[0].text for event in listed if event.type == "agent.message"]
    assert messages == ["I look it up.", "The answer is 42."]
    assert set(messages) <= set(previews)
    results = [event for event in listed if event.type == "agent.tool_result"]
    assert [result.content[0].text.strip() for result in results] == ["hi"]
    assert (session.status, session.usage.output_tokens > 0) == ("idle", True)
    # Once each: what the stream showed as processed is the history, in its order.
    shown = [
        e.id for e in seen if getattr(e, "processed_at", None) is not None and not e.type.startswith("event_")
    ]
    assert shown == [event.id for event in listed]
