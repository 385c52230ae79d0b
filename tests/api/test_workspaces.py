"""Two workspaces: nothing of the one can be seen, changed or even noticed with a key of the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from api.samples import HELLO, new_session
from api.world import KEY_TWO, World

pytestmark = pytest.mark.anyio

BODIES: Mapping[tuple[str, str], Any] = {
    ("POST", "/v1/agents/{agent_id}"): {"name": "stolen"},
    ("POST", "/v1/environments/{environment_id}"): {"name": "stolen"},
    ("POST", "/v1/sessions/{session_id}"): {"title": "stolen"},
    ("POST", "/v1/sessions/{session_id}/events"): {"events": [HELLO]},
}
"""What routes with a body need to get as far as looking for the thing. Others take none."""


async def make_things(world: World) -> dict[str, str]:
    """One of everything in the first workspace, by the name of the path parameter."""
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        state = await world.state(session.id)
        return {
            "agent_id": session.agent.id,
            "environment_id": session.environment_id,
            "session_id": session.id,
            "thread_id": state.thread_id,
        }


async def everything(world: World, things: dict[str, str]) -> list[Any]:
    async with world.http() as http:
        return [
            (await http.get(f"/v1/agents/{things['agent_id']}")).json(),
            (await http.get(f"/v1/environments/{things['environment_id']}")).json(),
            (await http.get(f"/v1/sessions/{things['session_id']}")).json(),
            (await http.get(f"/v1/sessions/{things['session_id']}/events")).json(),
        ]


async def test_every_route_hides_what_belongs_to_the_other_workspace(world: World) -> None:
    things = await make_things(world)
    before = await everything(world, things)
    tried: list[str] = []
    async with world.http(KEY_TWO) as http:
        for route in world.app.routes:
            names = re.findall(r"{(\w+)}", route.path)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                if not names:
                    continue
                assert set(names) <= set(things), f"make one of these for the test: {names}"
                path = route.path.format(**things)
                body = BODIES.get(("POST" if method == "PATCH" else method, route.path))
                with anyio.fail_after(5):
                    answer = await http.request(method, path, json=body)
                assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"
                assert answer.json()["error"]["type"] == "not_found_error"
                tried.append(f"{method} {path}")
    assert len(tried) > 15
    assert await everything(world, things) == before


async def test_lists_show_only_what_is_ours(world: World) -> None:
    things = await make_things(world)
    async with world.http(KEY_TWO) as http:
        for route in world.app.routes:
            if "GET" in (route.methods or ()) and "{" not in route.path:
                answer = await http.get(route.path)
                assert answer.status_code == 200
                assert answer.json()["data"] == [], route.path
    assert things


async def test_session_cannot_be_made_from_the_others_agent_or_environment(world: World) -> None:
    things = await make_things(world)
    async with world.sdk(KEY_TWO) as client, world.http(KEY_TWO) as http:
        own = await new_session(client)
        for body in (
            {"agent": things["agent_id"], "environment_id": own.environment_id},
            {"agent": own.agent.id, "environment_id": things["environment_id"]},
        ):
            assert (await http.post("/v1/sessions", json=body)).status_code == 404
