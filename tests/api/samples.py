"""Requests that many tests send."""

from __future__ import annotations

from typing import Any

HELLO: dict[str, Any] = {"type": "user.message", "content": [{"type": "text", "text": "hello"}]}
OUTCOME: dict[str, Any] = {
    "type": "user.define_outcome",
    "description": "tests pass",
    "verifiers": [{"type": "command", "command": "pytest -q"}],
}
BUDGET: dict[str, Any] = {"type": "limit", "max_list_cost": {"amount": "250", "currency": "USD"}}


async def new_session(client: Any, **fields: Any) -> Any:
    agent = await client.beta.agents.create(
        name="a", model="scripted/echo", system="s", tools=[{"type": "agent_toolset_20260401"}]
    )
    environment = await client.beta.environments.create(name="e")
    return await client.beta.sessions.create(
        **{"agent": agent.id, "environment_id": environment.id, **fields}
    )
