"""The recipe "operation" of docs/extending.md: a call that no file of the package knows of, declared, handled and served;
reading, scopes, gates, errors, the document and both clients' methods come of the declaration."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar

import anyio
import httpx2
import msgspec
import pytest
from anyio import to_thread
from starlette.types import ASGIApp

from api.world import World, open_world
from remit import AsyncClient, Client
from remit.client.asgi import StreamingASGITransport
from remit.client.calls import Blocking, InLoop, Resource, call_one, items
from remit.errors import NotFound
from remit.schema.lists import ListOf, Paging
from remit.schema.operation import NoQuery, Operation
from remit.schema.wire import Params
from remit.server.app import create_app
from remit.server.openapi import openapi_document
from remit.server.routes import Call, handles
from remit.testing.platform import OPERATOR, GivenKey

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World, None]:
    async with open_world(tmp_path) as world:
        yield world


# ------------------------------------------------------------------------------- one file: what is on the wire

M = TypeVar("M")


class BellRing(Params, frozen=True):
    """POST /v1/bells/{bell_id}/ring."""

    times: Annotated[int, msgspec.Meta(ge=1, le=12)] = 1


class Bell(TypedDict):
    """A bell, and how often it rang."""

    id: str
    type: Literal["bell"]
    rang: int


class BellPaging(Paging, frozen=True):
    """Which bells are listed."""

    loud: bool = False


LIST = Operation("GET", "/v1/bells", "List bells", query=BellPaging, answer=ListOf[Bell])
RING = Operation(
    "POST", "/v1/bells/{bell_id}/ring", "Ring a bell", body=BellRing, answer=Bell, is_body_optional=True
)
MELT = Operation("DELETE", "/v1/bells/{bell_id}", "Melt a bell down", answer=Bell, scope="operator")


class Bells(Resource[M]):
    """What a program calls."""

    list = items(LIST)
    ring = call_one(RING)


# ------------------------------------------------------------------------------------- one file: who answers it


class BellRoutes:
    def __init__(self) -> None:
        self.rang = {"bell_1": 0}

    @handles(LIST)
    async def list(self, call: Call[None, BellPaging]) -> ListOf[Bell]:
        shown = [self._view(bell_id) for bell_id in self.rang if not call.query.loud or self.rang[bell_id]]
        return {"data": shown, "next_page": None}

    @handles(RING)
    async def ring(self, call: Call[BellRing, NoQuery], bell_id: str) -> Bell:
        if bell_id not in self.rang:
            raise NotFound(f"No bell {bell_id!r} in {call.principal.workspace_id!r}.")
        self.rang[bell_id] += call.body.times
        return self._view(bell_id)

    @handles(MELT)
    async def melt(self, call: Call[None, NoQuery], bell_id: str) -> Bell:
        return {"id": bell_id, "type": "bell", "rang": self.rang.pop(bell_id)}

    def _view(self, bell_id: str) -> Bell:
        return {"id": bell_id, "type": "bell", "rang": self.rang[bell_id]}


# ----------------------------------------------------------------------------------------------- what comes of it


@asynccontextmanager
async def http_of(app: ASGIApp, key: str = "rk_one") -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        transport=StreamingASGITransport(app),
        base_url="http://remit",
        headers={"authorization": f"Bearer {key}"},
    ) as http:
        yield http


def client_of(app: ASGIApp) -> AsyncClient:
    return AsyncClient.in_process(app, api_key="rk_one")


async def test_a_declared_operation_is_served_and_reads_what_it_says(world: World) -> None:
    app = create_app(world.services, BellRoutes())
    async with http_of(app) as http:
        rung = await http.post("/v1/bells/bell_1/ring", json={"times": 3})
        once = await http.post("/v1/bells/bell_1/ring")
        listed = await http.get("/v1/bells", params={"loud": "true"})
        refused = {
            await said(await http.post("/v1/bells/bell_1/ring", json={"times": 13})),
            await said(await http.post("/v1/bells/bell_1/ring", json={"tone": "c"})),
            await said(await http.get("/v1/bells?loud=maybe")),
            await said(await http.get("/v1/bells?quiet=true")),
            await said(await http.post("/v1/bells/bell_2/ring")),
            await said(await http.delete("/v1/bells/bell_1")),
            await said(await http.delete("/v1/bells")),
        }
    assert rung.json() == {"id": "bell_1", "type": "bell", "rang": 3}
    assert once.json()["rang"] == listed.json()["data"][0]["rang"] == 4
    assert refused == {
        (400, "`times`: expected `int` <= 12."),
        (400, "`tone`: there is no such field; remove it or correct its name."),
        (400, "`loud`: must be true or false, not 'maybe'."),
        (400, "`quiet`: there is no such query parameter; this call takes: limit, loud, page."),
        (404, "No bell 'bell_2' in 'wrkspc_one'."),
        (
            403,
            "Key 'apikey_one' lacks the scope `operator`; use one that has it, such as the operator's (the file `key` of "
            "the data folder).",
        ),
        (405, "This path does not take the method; use one of: GET, HEAD."),
    }


async def said(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


async def test_its_scope_and_its_gate_are_those_of_any_operation(world: World) -> None:
    for key in (GivenKey(name="read", scopes=("read",)), OPERATOR):
        await world.services.catalog.put_key(key.row())
    app = create_app(world.services, BellRoutes())
    async with http_of(app, "rk_read") as reader, http_of(app, "rk_operator") as operator:
        assert (await reader.get("/v1/bells")).status_code == 200
        assert (await reader.post("/v1/bells/bell_1/ring")).status_code == 403
        with world.services.admission.admit("requests", {}, world.one):
            assert world.services.admission.requests.total == 1
        assert (await operator.delete("/v1/bells/bell_1")).json()["rang"] == 0
    assert world.services.admission.requests.total == 0


async def test_it_stands_in_the_document_with_its_types(world: World) -> None:
    app = create_app(world.services, BellRoutes())
    document: Any = openapi_document(app.operations)
    ring = document["paths"]["/v1/bells/{bell_id}/ring"]["post"]
    assert ring["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Bell"
    }
    assert ring["requestBody"]["required"] is False
    assert document["components"]["schemas"]["Bell"]["required"] == ["id", "rang", "type"]
    listed = document["paths"]["/v1/bells"]["get"]
    assert [one["name"] for one in listed["parameters"]] == ["limit", "page", "loud"]


async def test_both_clients_call_it(world: World) -> None:
    app = create_app(world.services, BellRoutes())
    async with client_of(app) as client:
        bells = Bells[InLoop](client.caller)
        assert (await bells.ring("bell_1", times=2))["rang"] == 2
        assert [bell["id"] async for bell in bells.list(loud=True)] == ["bell_1"]
        with pytest.raises(TypeError, match="tone"):
            await bells.ring("bell_1", tone="c")  # pyright: ignore[reportCallIssue]  # what is tried

    def ring_without_a_loop() -> list[int]:
        client = Client(client=client_of(app))
        bells = Bells[Blocking](client.caller)
        bells.ring("bell_1")
        return [bell["rang"] for bell in bells.list()]

    with anyio.fail_after(5):
        assert await to_thread.run_sync(ring_without_a_loop) == [3]
