"""A session on a route: when another model answers than the one named first, log and check say so."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import pytest

from api.gateway_world import SOMEONE, gateway_world
from remit.testing.model_server import ServedAnswer

pytestmark = pytest.mark.anyio


async def test_the_log_names_the_model_asked_for_and_the_one_that_served(tmp_path: Path) -> None:
    routes = {"main": {"targets": ["anthropic/m", "spare/m"]}}
    answers = {
        "anthropic": [ServedAnswer(status=529, headers={"retry-after": "60"})],
        "spare": [ServedAnswer(chunks=("Good day",))],
    }
    async with (
        gateway_world(tmp_path, answers, routes=routes, is_at_work=True) as world,
        world.anthropic() as client,
    ):
        with anyio.fail_after(5):
            agent = await client.beta.agents.create(name="a", model="main")
            environment = await client.beta.environments.create(name="e")
            session = await client.beta.sessions.create(
                agent=agent.id,
                environment_id=environment.id,
                initial_events=[{"type": "user.message", "content": [{"type": "text", "text": "hello"}]}],
            )
            async with world.http() as http:
                async with http.stream("GET", f"/v1/sessions/{session.id}/events/stream?after=0") as live:
                    async for line in live.aiter_lines():
                        if line == "event: session.status_idle":
                            break
                check = (await http.get(f"/v1/sessions/{session.id}/check")).json()
        rows = await world.platform.services.sessions.read(SOMEONE, session.id)
    started = [msgspec.json.decode(row.body) for row in rows if row.type == "model.started"]
    ended = [msgspec.json.decode(row.body) for row in rows if row.type == "model.ended"]
    assert [(row["model"], row["served_model"]) for row in started] == [
        ("main", "anthropic/m"),
        ("main", "spare/m"),
    ]
    assert [(row["served_model"], row["error_reason"]) for row in ended] == [
        ("anthropic/m", "overloaded"),
        ("spare/m", None),
    ]
    assert check["ok"] is True
