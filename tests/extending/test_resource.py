"""A resource from outside: its schema with the operations, its kind and its routes, and what a program calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, TypeVar

import msgspec
import pytest
from starlette.types import ASGIApp

from extending.opened import opened
from remit.app import Parts
from remit.catalog.resources import ResourceKind, Resources, Stored
from remit.client.calls import InLoop, call, call_one, items
from remit.client.calls import Resource as Calls
from remit.client.errors import ApiError, BadRequestError, ConflictError, NotFoundError
from remit.schema.lists import ListOf, PagingByTime
from remit.schema.operation import NoQuery, Operation
from remit.schema.wire import Params
from remit.server.operations.listing import read_page, resource_list
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services

pytestmark = pytest.mark.anyio
M = TypeVar("M")

# ------------------------------------------------------------------------------ one file: what is on the wire


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


class TermDeleted(TypedDict):
    """It is gone."""

    id: str
    type: Literal["term_deleted"]


class TermPaging(PagingByTime, frozen=True):
    """Which terms are listed."""

    language: str | None = None


_ALL, _ONE = "/v1/terms", "/v1/terms/{term_id}"
CREATE = Operation("POST", _ALL, "Create a term", body=TermCreate, answer=Term)
LIST = Operation("GET", _ALL, "List terms", query=TermPaging, answer=ListOf[Term])
RETRIEVE = Operation("GET", _ONE, "Retrieve a term", answer=Term)
UPDATE = Operation("POST", _ONE, "Update a term", body=TermUpdate, answer=Term)
ARCHIVE = Operation("POST", f"{_ONE}/archive", "Archive a term", answer=Term)
DELETE = Operation("DELETE", _ONE, "Delete a term", answer=TermDeleted)


class Terms(Calls[M]):
    """What a program calls."""

    create = call(CREATE)
    list = items(LIST)
    retrieve = call_one(RETRIEVE)
    update = call_one(UPDATE)
    archive = call_one(ARCHIVE)
    delete = call_one(DELETE)


# ----------------------------------------------------------------------------- one file: its kind, its routes


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
    """Create, list, retrieve, update, archive, delete."""

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

    @handles(DELETE)
    async def delete(self, call: Call[None, NoQuery], term_id: str) -> TermDeleted:
        await self._terms.delete(call.principal, term_id)
        return {"id": term_id, "type": "term_deleted"}


def to_wire(term: Stored[TermConfig]) -> Term:
    """Return it as the API shows it."""
    config = term.config
    return {"id": term.id, "type": "term", "word": config.word, "meaning": config.meaning, **term.stamps()}


def extend(parts: Parts) -> Parts:
    return replace(parts, more_routes=[TermRoutes])


# -------------------------------------------------------------------------------------------------------- test


async def test_a_resource_is_served_like_those_inside(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here:
        terms = Terms[InLoop](here.client.caller)
        made = await terms.create(word="lease", meaning="?")
        other = await terms.create(word="Pacht", meaning="lease", language="de")
        changed = await terms.update(made["id"], meaning="the right to write")
        assert changed == await terms.retrieve(made["id"])
        assert (changed["id"], changed["meaning"]) == (made["id"], "the right to write")
        with pytest.raises(ConflictError):
            await terms.create(word="lease", meaning="!")
        assert [term["id"] async for term in terms.list()] == [other["id"], made["id"]]
        assert [term["id"] async for term in terms.list(limit=1)] == [other["id"], made["id"]]
        assert [term["id"] async for term in terms.list(language="de")] == [other["id"]]
        assert (await terms.archive(made["id"]))["archived_at"] is not None
        with pytest.raises(BadRequestError, match="archived"):
            await terms.update(made["id"], meaning="x")
        assert (await terms.delete(made["id"]))["type"] == "term_deleted"
        with pytest.raises(NotFoundError, match=r"No term 'term_"):
            await terms.retrieve(made["id"])
        with pytest.raises(ApiError, match="`limit`"):
            _ = [term async for term in terms.list(limit=0)]
