"""A fuzzer that knows the OpenAPI document: no request, fitting or not, is answered with a 5xx or without the envelope.

The application runs in this process; there is no worker, so that nothing a fuzzer asks for is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import requests
import schemathesis
from anyio import fail_after, from_thread, move_on_after, to_thread
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from api.whole import whole_platform
from parity.routes import operations as described
from remit.server.description.openapi import openapi_document
from remit.testing.platform import OPERATOR

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EXAMPLES = 12
"""Of each mode, for each operation: the whole takes less than a minute."""
REQUEST_SECONDS_MAX = 30
"""Nothing hangs; where the machine is full, much takes its time."""
WAITS = ("/attend", "/run")
"""Answered when a remit has ended or a run has begun, and none does here: who asks soon leaves."""
WAIT_SECONDS = 0.1
URL = "http://remit"
HEADERS = {"authorization": f"Bearer {OPERATOR.secret}"}
SCRIPT = '```script\n{"steps": [{"text": "Hello."}]}\n```'
SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType] -- its own metaclass iterates
)


def operations() -> Iterator[Any]:
    """One for each call; PATCH is another word for POST."""
    document = json.loads(json.dumps(openapi_document(described())))
    del document["security"]  # every request has a good key: what a bad one gets is tested elsewhere
    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions", "/v1/responses"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        body["additionalProperties"] = (
            False  # what the document leaves to the providers' own is not invented here
        )
    schema = schemathesis.openapi.from_dict(document)
    for result in cast("Any", schema.get_all_operations()):
        operation = result.ok()
        if operation.method.upper() != "PATCH":
            yield pytest.param(operation, id=f"{operation.method.upper()} {operation.path}")


@pytest.mark.long
@pytest.mark.requirement("no internal errors")
@pytest.mark.parametrize("operation", list(operations()))
async def test_no_request_makes_the_server_fail(tmp_path: Path, operation: Any) -> None:
    async with (
        whole_platform(
            tmp_path,
            keys=[OPERATOR],
            is_at_work=False,
            is_strict=False,  # the doors take what callers send
        ) as here,
        here.http(OPERATOR) as http,
    ):
        answered = await to_thread.run_sync(fuzz, operation, http, await things(http))
    assert answered >= 1


def fuzz(operation: Any, http: httpx2.AsyncClient, ids: Mapping[str, str]) -> int:
    """How many requests were answered as they should."""
    answered = 0
    names = [parameter.name for parameter in operation.path_parameters]
    path_parameters = {name: ids.get(name, "none") for name in names}
    examples = EXAMPLES if list(operation.query) or list(operation.body) else 2

    def ask_and_judge(case: Any) -> None:
        nonlocal answered
        sent = requests.Request(**case.as_transport_kwargs(base_url=URL)).prepare()
        status, body = from_thread.run(ask, http, sent)
        assert status < 500, f"{sent.method} {sent.url} {sent.body!r}: {status} {body!r}"
        if status >= 400:
            assert json.loads(body)["error"]["message"], f"{sent.url}: {body!r}"
        answered += 1

    @settings(SETTINGS, max_examples=examples)
    @given(case=operation.as_strategy(path_parameters=path_parameters or None))
    def run_fitting(case: Any) -> None:
        case.body = made_real(case.body, ids)
        ask_and_judge(case)

    @settings(SETTINGS, max_examples=examples)
    @given(
        case=operation.as_strategy(
            generation_mode=GenerationMode.NEGATIVE, path_parameters=path_parameters or None
        )
    )
    def run_unfitting(case: Any) -> None:
        ask_and_judge(case)

    run_fitting()
    with suppress(Unsatisfiable):  # where anything fits
        run_unfitting()
    return answered


def made_real(value: Any, ids: Mapping[str, str]) -> Any:
    """Ids that exist in the place of ids that could: the request then gets to what it is about."""
    if isinstance(value, list):
        return [made_real(one, ids) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: ids[name] if name in ids and isinstance(one, str) else made_real(one, ids)
        for name, one in value.items()
    }


async def ask(http: httpx2.AsyncClient, sent: requests.PreparedRequest) -> tuple[int, bytes]:
    """Status and, where it was refused, the body: streams that begin are not followed."""
    headers = {**sent.headers, **HEADERS}
    content: Any = sent.body.encode() if isinstance(sent.body, str) else sent.body
    request = http.build_request(sent.method or "", sent.url or "", headers=headers, content=content)
    is_left = request.url.path.endswith(WAITS)
    with move_on_after(WAIT_SECONDS) if is_left else fail_after(REQUEST_SECONDS_MAX):
        answer = await http.send(request, stream=True)
        try:
            return answer.status_code, await answer.aread() if answer.status_code >= 400 else b""
        finally:
            await answer.aclose()
    return 200, b""


async def things(http: httpx2.AsyncClient) -> dict[str, str]:
    """One of everything, by the names that paths have for it."""

    async def make(path: str, body: Any) -> str:
        answer = await http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    agent_id = await make("/v1/agents", {"name": "a", "model": "scripted/inline"})
    environment_id = await make("/v1/environments", {"name": "e"})
    session_id = await make("/v1/sessions", {"agent": agent_id, "environment_id": environment_id})
    outcome = {"outcome": "x", "verifiers": [{"type": "command", "command": "true"}]}
    limits = {"budget": {"tokens": 9}, "model": "scripted/inline"}
    remit_id = await make("/v1/remits", {**outcome, **limits})
    (thread,) = (await http.get(f"/v1/sessions/{session_id}/threads")).json()["data"]
    store_id = await make("/v1/memory_stores", {"name": "s"})
    memory = await http.post(f"/v1/memory_stores/{store_id}/memories", json={"path": "/a", "content": "a"})
    said = [{"type": "user.message", "content": [{"type": "text", "text": "Go."}]}]
    deployed = {"name": "d", "agent": agent_id, "environment_id": environment_id, "initial_events": said}
    deployment_id = await make("/v1/deployments", deployed)
    upload = await http.post("/v1/files", files={"file": ("a.txt", b"a", "text/plain")})
    return {
        "agent_id": agent_id,
        "environment_id": environment_id,
        "session_id": session_id,
        "thread_id": thread["id"],
        "remit_id": remit_id,
        "stream_id": session_id,
        "memory_store_id": store_id,
        "memory_id": memory.json()["id"],
        "memory_version_id": memory.json()["memory_version_id"],
        "deployment_id": deployment_id,
        "file_id": upload.json()["id"],
        "model_id": "scripted/inline",
        "agent": agent_id,
        "model": "scripted/inline",
        "content": SCRIPT,
        "input": SCRIPT,
    }
