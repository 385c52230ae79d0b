"""An operation from outside: declared, handled and served; reading, scope, errors, document and clients' methods come of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar

import httpx2
import msgspec
import pytest
from anyio import to_thread

from extending.opened import Opened, opened
from remit import Client
from remit.app import Parts
from remit.client.calls import Blocking, InLoop, Resource, call_one, items
from remit.errors import NotFound
from remit.schema.lists import ListOf, Paging
from remit.schema.operation import NoQuery, Operation
from remit.schema.wire import Params
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services

pytestmark = pytest.mark.anyio
M = TypeVar("M")

# ------------------------------------------------------------------------------- one file: what is on the wire


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
    def __init__(self, services: Services) -> None:
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


def extend(parts: Parts) -> Parts:
    return replace(parts, more_routes=[BellRoutes])


# ----------------------------------------------------------------------------------------------- what comes of it


def http_of(here: Opened, key: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=here.url, headers={"authorization": f"Bearer {key}"})


def said(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


async def test_an_operation_reads_what_it_says_and_refuses_the_rest(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here, http_of(here, here.api_key) as http:
        rung = await http.post("/v1/bells/bell_1/ring", json={"times": 3})
        once = await http.post("/v1/bells/bell_1/ring")
        listed = await http.get("/v1/bells", params={"loud": "true"})
        refused = {
            said(await http.post("/v1/bells/bell_1/ring", json={"times": 13})),
            said(await http.post("/v1/bells/bell_1/ring", json={"tone": "c"})),
            said(await http.get("/v1/bells?loud=maybe")),
            said(await http.get("/v1/bells?quiet=true")),
            said(await http.post("/v1/bells/bell_2/ring")),
            said(await http.delete("/v1/bells")),
        }
        document: Any = (await http.get("/v1/openapi.json")).json()
    assert rung.json() == {"id": "bell_1", "type": "bell", "rang": 3}
    assert once.json()["rang"] == listed.json()["data"][0]["rang"] == 4
    assert refused == {
        (400, "`times`: expected `int` <= 12."),
        (400, "`tone`: there is no such field; remove it or correct its name."),
        (400, "`loud`: must be true or false, not 'maybe'."),
        (400, "`quiet`: there is no such query parameter; this call takes: limit, loud, page."),
        (404, "No bell 'bell_2' in 'wrkspc_default'."),
        (405, "This path does not take the method; use one of: GET, HEAD."),
    }
    ring = document["paths"]["/v1/bells/{bell_id}/ring"]["post"]
    assert ring["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Bell"
    }
    assert ring["requestBody"]["required"] is False
    assert document["components"]["schemas"]["Bell"]["required"] == ["id", "rang", "type"]
    listing = document["paths"]["/v1/bells"]["get"]
    assert [one["name"] for one in listing["parameters"]] == ["limit", "page", "loud"]


async def test_its_scope_and_its_gate_are_those_of_any_operation(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here:
        reading = await here.client.keys.create(name="reading", scopes=["read"])
        everything = await here.client.keys.create(name="everything", scopes=["*"])
        async with http_of(here, reading["secret"]) as reader, http_of(here, everything["secret"]) as caller:
            answers = [
                await reader.get("/v1/bells"),
                await reader.post("/v1/bells/bell_1/ring"),
                await caller.post("/v1/bells/bell_1/ring"),
                await caller.delete("/v1/bells/bell_1"),
            ]
        async with http_of(here, here.api_key) as operator:
            answers.append(await operator.delete("/v1/bells/bell_1"))
    assert [answer.status_code for answer in answers] == [200, 403, 200, 403, 200]


async def test_both_clients_call_it(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here:
        bells = Bells[InLoop](here.client.caller)
        assert (await bells.ring("bell_1", times=2))["rang"] == 2
        assert [bell["id"] async for bell in bells.list(loud=True)] == ["bell_1"]
        with pytest.raises(TypeError, match="tone"):
            await bells.ring("bell_1", tone="c")  # pyright: ignore[reportCallIssue]  # what is tried

        def ring_without_a_loop() -> list[int]:
            with Client(api_key=here.api_key, base_url=here.url) as client:
                bells = Bells[Blocking](client.caller)
                bells.ring("bell_1")
                return [bell["rang"] for bell in bells.list()]

        assert await to_thread.run_sync(ring_without_a_loop) == [3]
