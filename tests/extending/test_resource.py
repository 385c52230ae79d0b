"""A resource from outside the package: its schema with the operations, and one file with its kind and its routes.

Here both stand in one; the parts between the lines are what the two files would hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

import anyio
import httpx2
import msgspec
import pytest
from starlette.types import ASGIApp

from api.whole import whole_platform
from remit.catalog.resources import ResourceKind, Resources, Stored
from remit.schema.lists import ListOf, PagingByTime
from remit.schema.operation import NoQuery, Operation
from remit.schema.wire import Params
from remit.server.listing import read_page, resource_list
from remit.server.routes import Call, handles
from remit.server.services import Services

pytestmark = pytest.mark.anyio

# ---------------------------------------------------------------------------------------- schema/glossaries.py


class TermCreate(Params, frozen=True):
    """POST /v1/terms."""

    word: str
    meaning: str
    language: str = "en"


class TermUpdate(Params, frozen=True):
    """POST /v1/terms/{id}."""

    meaning: str


class Term(TypedDict):
    """A word and what it means."""

    id: str
    type: Literal["term"]
    word: str
    meaning: str
    created_at: str
    updated_at: str
    archived_at: str | None


class TermPaging(PagingByTime, frozen=True):
    """Which terms are listed."""

    language: str | None = None


_ALL, _ONE = "/v1/terms", "/v1/terms/{term_id}"
CREATE = Operation("POST", _ALL, "Create a term", body=TermCreate, answer=Term)
LIST = Operation("GET", _ALL, "List terms", query=TermPaging, answer=ListOf[Term])
RETRIEVE = Operation("GET", _ONE, "Retrieve a term", answer=Term)
UPDATE = Operation("POST", _ONE, "Update a term", body=TermUpdate, answer=Term)
ARCHIVE = Operation("POST", f"{_ONE}/archive", "Archive a term", answer=Term)

# ------------------------------------------------------------------------------------------ the kind, its routes


class TermConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of it."""

    word: str
    meaning: str
    language: str


TERM = ResourceKind(
    name="term",
    id_prefix="term",
    config=TermConfig,
    unique_key=lambda term: f"{term.language} {term.word}",
    labels=lambda term: {"language": term.language},
)


class TermRoutes:
    """Create, list, retrieve, update, archive."""

    def __init__(self, services: Services) -> None:
        self._terms = Resources(TERM, services.catalog, services.clock, services.ids)

    @handles(CREATE)
    async def create(self, call: Call[TermCreate, NoQuery]) -> Term:
        body = call.body
        config = TermConfig(word=body.word, meaning=body.meaning, language=body.language)
        return to_wire(await self._terms.create(call.principal, config))

    @handles(LIST)
    async def list(self, call: Call[None, TermPaging]) -> ASGIApp:
        page = read_page(call.query, list="terms")
        language = call.query.language
        labels = {} if language is None else {"language": language}
        return resource_list(
            page, await self._terms.list(call.principal, page.query(), labels=labels), to_wire
        )

    @handles(RETRIEVE)
    async def retrieve(self, call: Call[None, NoQuery], term_id: str) -> Term:
        return to_wire(await self._terms.retrieve(call.principal, term_id))

    @handles(UPDATE)
    async def update(self, call: Call[TermUpdate, NoQuery], term_id: str) -> Term:
        def decide(before: TermConfig) -> TermConfig:
            return msgspec.structs.replace(before, meaning=call.body.meaning)

        return to_wire(await self._terms.change(call.principal, term_id, decide))

    @handles(ARCHIVE)
    async def archive(self, call: Call[None, NoQuery], term_id: str) -> Term:
        return to_wire(await self._terms.archive(call.principal, term_id))


def to_wire(term: Stored[TermConfig]) -> Term:
    """Return it as the API shows it."""
    config = term.config
    return {"id": term.id, "type": "term", "word": config.word, "meaning": config.meaning, **term.stamps()}


# -------------------------------------------------------------------------------------------------------- tests


async def test_a_resource_from_outside_is_served_like_those_inside(tmp_path: Path) -> None:
    async with whole_platform(tmp_path, more_routes=(TermRoutes,)) as here, here.http() as http:
        with anyio.fail_after(30):
            await _use(http)


async def _use(http: httpx2.AsyncClient) -> None:
    made = (await http.post(_ALL, json={"word": "lease", "meaning": "?"})).json()
    other = (await http.post(_ALL, json={"word": "Pacht", "meaning": "lease", "language": "de"})).json()
    one = f"{_ALL}/{made['id']}"
    changed = (await http.post(one, json={"meaning": "the right to write"})).json()
    assert changed == (await http.get(one)).json()
    assert (changed["id"], changed["meaning"]) == (made["id"], "the right to write")
    assert (await http.post(_ALL, json={"word": "lease", "meaning": "!"})).status_code == 409
    assert [term["id"] for term in (await http.get(_ALL)).json()["data"]] == [other["id"], made["id"]]
    assert [term["id"] for term in (await http.get(f"{_ALL}?language=de")).json()["data"]] == [other["id"]]
    archived = (await http.post(f"{one}/archive")).json()
    assert archived["archived_at"] is not None
    refused = await http.post(one, json={"meaning": "x"})
    assert (refused.status_code, "archived" in refused.json()["error"]["message"]) == (400, True)
    assert (await http.get(one, headers={"authorization": "Bearer rk_two"})).status_code == 404
    unknown = await http.post(_ALL, json={"word": "w", "meaning": "m", "colour": "red"})
    assert "`colour`" in unknown.json()["error"]["message"]
    document = (await http.get("/v1/openapi.json")).json()
    assert document["paths"][_ALL]["post"]["summary"] == "Create a term"
