"""Two workspaces: nothing of the one can be seen, changed or even noticed with a key of the other.

The routes are those of the whole platform, asked of the application itself: a new route is tried without a line here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from api.samples import HELLO
from api.whole import whole_platform
from remit.client.asgi import StreamingASGITransport
from remit.schema.operation import AnyOperation
from remit.server.app import App

pytestmark = pytest.mark.anyio

OUTCOME: dict[str, Any] = {
    "outcome": "Answer",
    "verifiers": [{"type": "command", "command": "true"}],
    "model": "scripted/inline",
    "budget": {"tokens": 10_000},
}
BODIES: Mapping[tuple[str, str], Any] = {
    ("POST", "/v1/agents/{agent_id}"): {"name": "stolen"},
    ("POST", "/v1/environments/{environment_id}"): {"name": "stolen"},
    ("POST", "/v1/remits/{remit_id}/budget"): {"usd": "9"},
    ("POST", "/v1/deployments/{deployment_id}"): {"name": "stolen"},
    ("POST", "/v1/memory_stores/{memory_store_id}"): {"name": "stolen"},
    ("POST", "/v1/memory_stores/{memory_store_id}/memories"): {"path": "/b.md", "content": "stolen"},
    ("POST", "/v1/memory_stores/{memory_store_id}/memories/{memory_id}"): {"content": "stolen"},
    ("POST", "/v1/sessions/{session_id}"): {"title": "stolen"},
    ("POST", "/v1/sessions/{session_id}/events"): {"events": [HELLO]},
    ("POST", "/v1/sessions/{session_id}/previews"): {"port": 8000},
    ("POST", "/v1/sessions/{session_id}/resources"): {"type": "file", "file_id": "file_stolen"},
    ("POST", "/v1/sessions/{session_id}/resources/{resource_id}"): {"authorization_token": "t"},
}
"""What routes with a required body need to get as far as looking for the thing. Others are sent none."""


@dataclass
class Two:
    """A platform without a worker, so that nothing changes by itself; one of everything is in workspace one."""

    app: App
    things: dict[str, str]

    @property
    def operations(self) -> list[tuple[str, AnyOperation]]:
        return [(method, operation) for operation in self.app.operations for method in operation.methods]

    def path(self, operation: AnyOperation) -> str:
        values = {**self.things, "name": "files.tar"}
        path = operation.plain_path
        missing = set(re.findall(r"{(\w+)}", path)) - set(values)
        assert not missing, f"make one of these for this test: {missing}"
        return path.format(**values)

    def client(self, number: str) -> httpx2.AsyncClient:
        return _client(self.app, number)


def _client(app: App, number: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=StreamingASGITransport(app),
        base_url="http://remit",
        headers={"authorization": f"Bearer rk_{number}"},
    )


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with whole_platform(tmp_path, is_at_work=False) as here:
        app = here.api
        assert isinstance(app, App)
        yield Two(app, await make_things(app))


async def make_things(app: App) -> dict[str, str]:
    """Their ids, by the names that paths have for them."""
    async with _client(app, "one") as http:

        async def make(path: str, body: dict[str, Any]) -> Any:
            answer = await http.post(path, json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        agent = await make("/v1/agents", {"name": "a", "model": "scripted/inline"})
        environment = await make("/v1/environments", {"name": "e"})
        session = await make(
            "/v1/sessions",
            {"agent": agent["id"], "environment_id": environment["id"], "initial_events": [HELLO]},
        )
        remit = await make("/v1/remits", OUTCOME)
        uploaded = await http.post("/v1/files", files={"file": ("a.txt", b"secret", "text/plain")})
        file_id: str = uploaded.json()["id"]
        resource = await make(f"/v1/sessions/{session['id']}/resources", {"type": "file", "file_id": file_id})
        store = await make("/v1/memory_stores", {"name": "s"})
        memories = f"/v1/memory_stores/{store['id']}/memories"
        memory = await make(memories, {"path": "/a.md", "content": "secret"})
        deployment = await make(
            "/v1/deployments",
            {
                "name": "d",
                "agent": agent["id"],
                "environment_id": environment["id"],
                "initial_events": [HELLO],
                "schedule": {"type": "cron", "expression": "0 9 * * *", "timezone": "UTC"},
            },
        )
        (thread,) = (await http.get(f"/v1/sessions/{session['id']}/threads")).json()["data"]
        return {
            "agent_id": agent["id"],
            "environment_id": environment["id"],
            "session_id": session["id"],
            "stream_id": session["id"],
            "thread_id": thread["id"],
            "remit_id": remit["id"],
            "file_id": file_id,
            "model_id": "scripted/none",
            "resource_id": resource["id"],
            "key_id": "apikey_one",
            "memory_store_id": store["id"],
            "memory_id": memory["id"],
            "memory_version_id": memory["memory_version_id"],
            "deployment_id": deployment["id"],
            "deployment_run_id": "drun_none",  # a worker makes them; tests/api/test_deployments.py looks at one
        }


async def _everything(two: Two) -> dict[str, Any]:
    """All that workspace one can read at once, without what only tells the time."""
    found: dict[str, Any] = {}
    async with two.client("one") as http:
        for method, operation in two.operations:
            if method == "GET" and not operation.path.endswith("stream"):
                answer = await http.get(two.path(operation))
                if not answer.headers["content-type"].startswith("application/json"):
                    found[operation.path] = answer.text
                    continue
                body = answer.json()
                body.pop("request_id", None)
                if "{" not in operation.path and "data" not in body:
                    continue  # tells of the machine, not of a workspace
                found[operation.path] = re.sub(r"'(duration|active)_seconds': [0-9.]+", "", str(body))
    return found


@pytest.mark.requirement("workspaces")
async def test_every_route_hides_what_belongs_to_the_other_workspace(two: Two) -> None:
    before = await _everything(two)
    tried = 0
    async with two.client("two") as http:
        for method, operation in two.operations:
            if "{" not in operation.path:
                continue
            body = BODIES.get(("POST" if method == "PATCH" else method, operation.path))
            with anyio.fail_after(10):
                answer = await http.request(method, two.path(operation), json=body)
            told = "permission_error" if operation.scope == "operator" else "not_found_error"
            assert answer.json()["error"]["type"] == told, f"{method} {operation.path}: {answer.text}"
            tried += 1
    assert tried >= 35
    assert await _everything(two) == before


async def test_lists_show_only_what_is_ours(two: Two) -> None:
    lists = 0
    async with two.client("two") as http:
        for method, operation in two.operations:
            if method == "GET" and "{" not in operation.path:
                body = (await http.get(operation.path)).json()
                assert body.get("data", []) == [], operation.path
                lists += "data" in body
    assert lists >= 4


async def test_nothing_new_can_be_made_from_the_others_things(two: Two) -> None:
    async with two.client("two") as http:
        agent = (await http.post("/v1/agents", json={"name": "a", "model": "scripted/inline"})).json()
        environment = (await http.post("/v1/environments", json={"name": "e"})).json()
        for path, body in (
            ("/v1/sessions", {"agent": two.things["agent_id"], "environment_id": environment["id"]}),
            ("/v1/sessions", {"agent": agent["id"], "environment_id": two.things["environment_id"]}),
            ("/v1/remits", {**OUTCOME, "agent": two.things["agent_id"], "model": None}),
        ):
            assert (await http.post(path, json=body)).status_code == 404, body
