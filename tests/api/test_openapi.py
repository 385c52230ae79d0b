"""The OpenAPI document: every route is in it, it is true, and a change of it is seen."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.openapi_text import openapi_text
from api.whole import whole_platform
from parity.routes import operations
from remit.schema.operation import AnyOperation
from remit.server.description.openapi import openapi_document
from remit.server.operations.query import query_names
from remit.testing.platform import OPERATOR

pytestmark = pytest.mark.anyio

GOLDEN = Path(__file__).parent / "golden" / "openapi.json"

SERVED = [(method, operation) for operation in operations() for method in operation.methods]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with whole_platform(tmp_path, keys=[OPERATOR]) as here, here.http(OPERATOR) as http:
        yield http


def test_document_is_the_golden_one() -> None:
    made, kept = openapi_text(), GOLDEN.read_text()
    changes = "\n".join(difflib.unified_diff(kept.splitlines(), made.splitlines(), "kept", "made", n=1))
    assert not changes, f"{changes}\nIf that is what was meant: python scripts/make_openapi.py"


@pytest.mark.requirement("openapi")
async def test_document_is_served_and_has_every_route(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/v1/openapi.json")).json()
    assert document == json.loads(openapi_text())
    there = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert there == {(method, operation.plain_path) for method, operation in SERVED}
    assert len(there) > 50


def test_every_reference_leads_somewhere_and_every_id_is_unique() -> None:
    document = openapi_document(operations())
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    entries: list[Any] = [entry for methods in document["paths"].values() for entry in methods.values()]
    assert len({entry["operationId"] for entry in entries}) == len(entries)


@pytest.mark.parametrize(("method", "operation"), SERVED, ids=lambda one: getattr(one, "path", one))
async def test_route_takes_the_query_and_the_body_that_the_document_says(
    http: httpx2.AsyncClient, method: str, operation: AnyOperation
) -> None:
    path = operation.plain_path.format(**await _things(http, operation.plain_path))
    refused = await http.request(method, path, params={"not_there": "1"})
    assert refused.status_code == 400, refused.text
    message = refused.json()["error"]["message"]
    takes = re.search(r"this call takes: (.*)\.$", message)
    assert takes is not None, message
    documented = {name.removesuffix("[]") for name in query_names(operation.query)}
    assert set(takes[1].split(", ")) == (documented or {"none"})
    if method == "GET" or operation.upload is not None:
        return
    answer = await http.request(method, path, json={"not_there": 1})
    if operation.body is None and operation.body_schema is None:
        # Whatever it is, it is refused: for the field, or because there is no such thing.
        assert answer.status_code in (400, 404)
    else:
        assert answer.status_code == 400
        assert "not_there" in answer.json()["error"]["message"] or "required" in answer.text


async def _things(http: httpx2.AsyncClient, path: str) -> dict[str, str]:
    """Ids for the path: streams look for their thing before they look at the query."""
    ids = dict.fromkeys(re.findall(r"{(\w+)", path), "none")
    if "session_id" in ids:
        agent = (await http.post("/v1/agents", json={"name": "a", "model": "scripted/inline"})).json()
        environment = (await http.post("/v1/environments", json={"name": "e"})).json()
        body = {"agent": agent["id"], "environment_id": environment["id"]}
        ids["session_id"] = (await http.post("/v1/sessions", json=body)).json()["id"]
        (thread,) = (await http.get(f"/v1/sessions/{ids['session_id']}/threads")).json()["data"]
        ids["thread_id"] = thread["id"]
    if "remit_id" in ids:
        body = {
            "outcome": "x",
            "verifiers": [{"type": "command", "command": "true"}],
            "budget": {"tokens": 9},
        }
        answer = await http.post("/v1/remits", json={**body, "model": "scripted/inline"})
        ids["remit_id"] = answer.json()["id"]
    return ids
