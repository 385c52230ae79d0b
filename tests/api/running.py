"""The whole platform at work, with the official client in front and a scripted model behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

import anyio

from api.whole import anthropic, whole_platform
from remit.testing.platform import Options, PlatformUnderTest

WAIT_SECONDS = 20
TOOLSET: dict[str, Any] = {"type": "agent_toolset_20260401"}


@asynccontextmanager
async def running(folder: Path, **given: Unpack[Options]) -> AsyncIterator[tuple[Any, PlatformUnderTest]]:
    """A client of workspace one, and the platform it talks to."""
    async with whole_platform(folder, **given) as here, anthropic(here) as client:
        yield client, here


def script(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A session's first message: it tells the model what to do, step by step, in this turn and those that follow."""
    text = json.dumps({"steps": list(steps), **fields})
    return said(f"```script\n{text}\n```")


def said(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def use(name: str, **input: Any) -> dict[str, Any]:
    """A step with one tool use."""
    return {"tool_uses": [{"name": name, "input": input}]}


async def open_session(
    client: Any, *, model: str = "scripted/inline", tools: list[Any] | None = None, **fields: Any
) -> Any:
    agent = await client.beta.agents.create(
        name="a", model=model, tools=[TOOLSET] if tools is None else tools
    )
    environment = await client.beta.environments.create(name="e")
    return await client.beta.sessions.create(
        **{"agent": agent.id, "environment_id": environment.id, **fields}
    )


async def send(client: Any, session_id: str, *events: dict[str, Any]) -> list[Any]:
    return (await client.beta.sessions.events.send(session_id, events=list(events))).data  # type: ignore[arg-type]


async def events_of(client: Any, session_id: str) -> list[Any]:
    return [event async for event in client.beta.sessions.events.list(session_id)]


async def until(client: Any, session_id: str, type: str, count: int = 1) -> list[Any]:
    """All events of the session as soon as there are so many of this type."""
    with anyio.fail_after(WAIT_SECONDS):
        async with await client.beta.sessions.events.stream(session_id) as stream:
            news = stream.__aiter__()
            while True:
                events = await events_of(client, session_id)
                if sum(event.type == type and event.processed_at is not None for event in events) >= count:
                    return events
                await news.__anext__()


async def until_idle(client: Any, session_id: str, count: int = 1) -> list[Any]:
    return await until(client, session_id, "session.status_idle", count)


def texts(events: list[Any], type: str = "agent.message") -> list[str]:
    return ["".join(block.text for block in event.content) for event in events if event.type == type]
