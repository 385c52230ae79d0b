"""Every failure has one shape, names what is wrong, and shows nothing of the inside."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx2
import msgspec
import pytest
import structlog

from api.samples import HELLO, new_session
from api.world import KEY_ONE, World
from remit.errors import InvalidRequest, RateLimited
from remit.schema.operation import NoQuery, Operation
from remit.schema.wire import FORMS, JsonMap, convert, whole
from remit.server.app import create_app
from remit.server.operations.router import Call, handles

OPENAI = ("/v1/chat/completions", "/v1/responses")
"""Doors with the errors of their own protocol."""

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Bad:
    """A request that cannot be served, and what it is answered."""

    method: str
    path: str
    status: int
    type: str
    says: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


INVALID, MISSING = "invalid_request_error", "not_found_error"
HUGE_VERSION = (
    b'{"agent": {"type": "agent", "id": "agent_x", "version": 9223372036854775808}, "environment_id": "e"}'
)
HUGE_AMOUNT = (
    b'{"agent": "agent_x", "environment_id": "e", '
    b'"budget": {"type": "limit", "max_list_cost": {"amount": "999999999999", "currency": "USD"}}}'
)
"""More nano-dollars than a store can count."""


def cursor(*fields: Any) -> str:
    """What nobody got from us."""
    return base64.urlsafe_b64encode(msgspec.json.encode(fields)).decode().rstrip("=")


BAD: list[Bad] = [
    Bad("GET", "/v1/agents", 401, "authentication_error", "API key", headers={"authorization": "Bearer no"}),
    Bad("GET", "/v1/agents", 401, "authentication_error", "Bearer", headers={"authorization": "Basic x"}),
    Bad(
        "GET",
        "/v1/agents",
        403,
        "permission_error",
        "anthropic-workspace-id",
        headers={"anthropic-workspace-id": "wrkspc_two"},
    ),
    Bad("GET", "/v1/nothing", 404, MISSING, "path"),
    Bad("GET", "/v1/agents/", 404, MISSING, "path"),
    Bad("PUT", "/v1/agents", 405, INVALID, "GET, HEAD, POST"),
    Bad("GET", "/v1/agents/agent_x", 404, MISSING, "agent_x"),
    Bad("GET", "/v1/agents/%00%ff", 404, MISSING, ""),
    Bad("GET", "/v1/sessions/sesn_x", 404, MISSING, "sesn_x"),
    Bad("GET", "/v1/sessions/sesn_x/events", 404, MISSING, "sesn_x"),
    Bad("GET", "/v1/sessions/sesn_x/events/stream", 404, MISSING, "sesn_x"),
    Bad("DELETE", "/v1/environments/env_x", 404, MISSING, "env_x"),
    Bad("GET", "/v1/agents?colour=red", 400, INVALID, "`colour`"),
    Bad("GET", "/v1/agents?limit=0", 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?limit=101", 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?limit=ten", 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?limit=" + "9" * 5000, 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?limit=%D9%A3", 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?limit=00000000000000000005999", 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?limit=00000000000000000005" + "9" * 5000, 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?limit=1&limit=2", 400, INVALID, "`limit`"),
    Bad("GET", "/v1/agents?page=nonsense", 400, INVALID, "`page`"),
    Bad("GET", "/v1/agents?page=", 400, INVALID, "`page`"),
    Bad("GET", f"/v1/agents?page={cursor('agents', False, 'next', [2**63, 'x'])}", 400, INVALID, "`page`"),
    Bad("GET", f"/v1/files?page={cursor('files', False, 'next', [-(2**63), 'x'])}", 400, INVALID, "`page`"),
    Bad("GET", "/v1/agents?include_archived=yes", 400, INVALID, "`include_archived`"),
    Bad("GET", "/v1/agents?created_at[gte]=yesterday", 400, INVALID, "`created_at[gte]`"),
    Bad("GET", "/v1/agents?created_at[gte]=2026-13-01T00:00:00Z", 400, INVALID, "`created_at[gte]`"),
    Bad("GET", "/v1/agents?%ff=%ff", 400, INVALID, "UTF-8"),
    Bad("GET", "/v1/sessions?order=up", 400, INVALID, "`order`"),
    Bad("GET", "/v1/sessions?statuses[]=dead", 400, INVALID, "`statuses[]`"),
    Bad("POST", "/v1/agents", 400, INVALID, "empty", b""),
    Bad("POST", "/v1/agents", 400, INVALID, "JSON", b"{"),
    Bad("POST", "/v1/agents", 400, INVALID, "JSON", b'{"name": "\xff", "model": "m"}'),
    Bad("POST", "/v1/agents", 400, INVALID, "`body`", b"[]"),
    Bad("POST", "/v1/agents", 400, INVALID, "", b"[" * 100_000),
    Bad("POST", "/v1/agents", 400, INVALID, "`name`", b'{"name": null, "model": "m"}'),
    Bad("POST", "/v1/agents?colour=red", 400, INVALID, "`colour`", b'{"name": "a", "model": "m"}'),
    Bad("POST", "/v1/agents/agent_x", 400, INVALID, "`colour`", b'{"colour": 1}'),
    Bad("POST", "/v1/agents/agent_x", 404, MISSING, "agent_x", b"{}"),
    Bad("POST", "/v1/agents/agent_x/archive", 400, INVALID, "`force`", b'{"force": true}'),
    Bad("POST", "/v1/agents", 413, "request_too_large", "33554432", headers={"content-length": "99999999"}),
    Bad("POST", "/v1/agents", 400, INVALID, "`content-encoding`", b"\x1f\x8b", {"content-encoding": "gzip"}),
    Bad("POST", "/v1/files", 400, INVALID, "`content-encoding`", b"\x1f\x8b", {"content-encoding": "br"}),
    Bad("POST", "/v1/sessions", 400, INVALID, "`agent`", b'{"environment_id": "e"}'),
    Bad("POST", "/v1/sessions", 404, MISSING, "agent_x", b'{"agent": "agent_x", "environment_id": "e"}'),
    Bad("POST", "/v1/sessions", 400, INVALID, "`agent.version`", HUGE_VERSION),
    Bad("POST", "/v1/sessions", 400, INVALID, "whole cents as text", HUGE_AMOUNT),
    Bad("POST", "/v1/sessions/sesn_x/events", 400, INVALID, "`events`", b'{"events": []}'),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.method} {bad.path[:40]} {bad.status} {bad.says}")
@pytest.mark.requirement("errors envelope")
@pytest.mark.requirement("errors names")
async def test_every_bad_request_gets_the_one_envelope(world: World, bad: Bad) -> None:
    async with world.http() as http:
        request = http.build_request(bad.method, bad.path, content=bad.body, headers=bad.headers)
        answer = await http.send(request)
    assert_envelope(answer, bad.status, bad.type)
    assert bad.says in answer.json()["error"]["message"]


def assert_envelope(answer: httpx2.Response, status: int, type: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == type
    assert body["error"]["message"]
    assert set(body) == {"type", "error", "request_id"}
    assert set(body["error"]) <= {"type", "message", "details"}
    assert body["request_id"] == answer.headers["request-id"]
    assert "Traceback" not in answer.text


@pytest.mark.requirement("errors size")
async def test_body_that_grows_too_large_is_refused_while_it_comes(world: World) -> None:
    pieces = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal pieces
        while True:
            pieces += 1
            yield b" " * (1 << 20)

    async with world.http() as http:
        answer = await http.post("/v1/agents", content=endless())
    assert_envelope(answer, 413, "request_too_large")
    assert pieces <= 34


async def test_request_without_a_key_is_refused_on_every_route(world: World) -> None:
    async with world.http(key=None) as http:
        for route in world.app.routes:
            for method in route.operation.methods:
                if method == "*":
                    continue  # a preview: its address is its key
                path = route.operation.path.replace("{", "x").replace("}", "")
                answer = await http.request(method, path)
                if path in OPENAI:
                    assert (answer.status_code, answer.json()["error"]["type"]) == (
                        401,
                        "authentication_error",
                    )
                else:
                    assert_envelope(answer, 401, "authentication_error")


@pytest.mark.requirement("transport keys")
async def test_either_header_carries_the_key(world: World) -> None:
    async with world.http(key=None) as http:
        for headers in ({"x-api-key": KEY_ONE}, {"authorization": f"Bearer {KEY_ONE}"}):
            assert (await http.get("/v1/agents", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"revoked_at_us": 1}, 401, "revoked"),
        ({"expires_at_us": 1}, 401, "expired"),
        ({"kind": "environment"}, 403, "environment"),
    ],
)
async def test_key_that_no_longer_opens_says_why(
    world: World, change: dict[str, Any], status: int, says: str
) -> None:
    (key,) = await world.services.catalog.list_keys("wrkspc_one")
    await world.services.catalog.put_key(msgspec.structs.replace(key, **change))
    async with world.http() as http:
        answer = await http.get("/v1/agents")
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


@pytest.mark.requirement("errors internal")
async def test_our_own_failure_is_logged_and_tells_nothing_of_the_inside(world: World) -> None:
    class Failing:
        @handles(Operation("GET", "/v1/broken", "Fail", answer=JsonMap))
        async def broken(self, call: Call[None, NoQuery]) -> JsonMap:
            raise RuntimeError("the secret is forty-two")

        @handles(Operation("GET", "/v1/busy", "Refuse", answer=JsonMap))
        async def busy(self, call: Call[None, NoQuery]) -> JsonMap:
            raise RateLimited("Too many; wait.", retry_after_seconds=7)

    world.app = create_app(world.services, Failing())
    with structlog.testing.capture_logs() as logs:
        async with world.http() as http:
            answer = await http.get("/v1/broken")
            limited = await http.get("/v1/busy")
    assert_envelope(answer, 500, "api_error")
    assert "forty-two" not in answer.text
    assert [entry["event"] for entry in logs] == ["request_failed"]
    assert logs[0]["request_id"] == answer.json()["request_id"]
    assert_envelope(limited, 429, "rate_limit_error")
    assert limited.headers["retry-after"] == "7"


@pytest.mark.requirement("transport betas")
async def test_beta_query_and_unknown_betas_are_passed_over(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client, initial_events=[HELLO])
        answer = await http.get(
            f"/v1/sessions/{session.id}?beta=true", headers={"anthropic-beta": "managed-agents-2026-04-01"}
        )
    assert answer.status_code == 200


@pytest.mark.parametrize("form", FORMS)
def test_a_text_of_another_form_is_told_the_form_in_words(form: str) -> None:
    params = msgspec.defstruct("Given", [("field", Annotated[str, whole(form)])])
    for text in ("", "\n", "DE\n", "\x00"):
        with pytest.raises(InvalidRequest) as refused:
            convert({"field": text}, params, what="body")
        assert refused.value.message == f"`field`: must be {FORMS[form]}."
