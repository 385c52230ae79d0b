"""What is not served is refused by name, so that a program fails at the line that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic, BadRequestError

from parity.manifest import refused_methods
from parity.requirements import EVENTS_REFUSED, event_id
from parity.routes import routes
from remit.server.description.refused import endpoints
from remit.testing.platform import platform

pytestmark = pytest.mark.anyio

BY_METHOD = {one.method: one for one in endpoints()}
REFUSED = sorted(refused_methods(routes()))
AGENT_FIELDS: dict[str, Any] = {
    "multiagent": {"type": "coordinator", "agents": [{"type": "self"}]},
}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with platform(tmp_path) as here, here.http() as http:
        yield http


@pytest.mark.requirement("errors refusals")
@pytest.mark.parametrize(
    "method", [pytest.param(one, marks=pytest.mark.requirement(one), id=one) for one in REFUSED]
)
async def test_method_is_refused_by_its_name(http: httpx2.AsyncClient, method: str) -> None:
    one = BY_METHOD[method]
    answer = await http.request(one.http_method, one.path.replace("{", "").replace("}", ""))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["details"] == {"error_code": "not_supported"}
    assert method in error["message"]
    assert f"({one.http_method} {one.path}) is not served" in error["message"]
    assert answer.headers["x-should-retry"] == "false"


async def test_the_sdk_raises_at_once_and_does_not_retry(http: httpx2.AsyncClient) -> None:
    asked: list[str] = []

    async def count(request: httpx2.Request) -> None:
        asked.append(request.url.path)

    http.event_hooks = {"request": [count]}
    client = AsyncAnthropic(api_key="rk_one", base_url="http://remit", http_client=http)
    with pytest.raises(BadRequestError, match=r"client\.beta\.vaults\.create \(POST /v1/vaults\)") as raised:
        await attrgetter("beta.vaults.create")(client)(display_name="v")
    assert raised.value.error_code == "not_supported"
    assert asked == ["/v1/vaults"]


@pytest.mark.requirement("errors refusals")
@pytest.mark.parametrize(
    "type",
    [
        pytest.param(one, marks=pytest.mark.requirement(event_id(one)), id=one)
        for one in sorted(EVENTS_REFUSED)
    ],
)
async def test_what_an_event_would_need_is_refused_by_name(http: httpx2.AsyncClient, type: str) -> None:
    if type == "user.tool_result":
        agent = (await http.post("/v1/agents", json={"name": "a", "model": "scripted/inline"})).json()
        environment = (await http.post("/v1/environments", json={"name": "e"})).json()
        body = {"agent": agent["id"], "environment_id": environment["id"]}
        session = (await http.post("/v1/sessions", json=body)).json()
        event = {"type": type, "tool_use_id": "sevt_1", "content": []}
        answer = await http.post(f"/v1/sessions/{session['id']}/events", json={"events": [event]})
    else:
        body = {"name": "a", "model": "scripted/inline", **AGENT_FIELDS}
        answer = await http.post("/v1/agents", json=body)
    assert answer.status_code == 400
    named = "user.tool_result" if type == "user.tool_result" else "multiagent"
    assert named in answer.json()["error"]["message"]
