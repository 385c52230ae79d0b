"""Lists of what cannot be made here: truly empty, so that a program that only looks for something of its own goes on.
Making one of these things is refused by name."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec

from remit.schema.lists import LIMIT_DEFAULT, ListOf, Paging
from remit.schema.operation import Operation
from remit.server.operations.cursors import decode_list_cursor
from remit.server.operations.router import Call, handles


class NotMade(TypedDict):
    """A resource of which there are none."""

    id: str


LongLimit = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class SkillPaging(Paging, frozen=True):
    """The query of a list of skills, as the hosted platform takes it."""

    limit: LongLimit = LIMIT_DEFAULT
    source: str | None = None


class VaultPaging(Paging, frozen=True):
    """The query of a list of vaults, as the hosted platform takes it."""

    include_archived: bool = False


def _list_of_none(path: str, what: str, query: type[Paging]) -> Operation[..., None, Paging, ListOf[NotMade]]:
    return Operation("GET", path, f"List {what}: there are none", query=query, answer=ListOf[NotMade])


class EmptyLists:
    """GET of each of these paths."""

    @handles(
        _list_of_none("/v1/skills", "skills", SkillPaging),
        _list_of_none("/v1/vaults", "vaults", VaultPaging),
    )
    async def list(self, call: Call[None, Paging]) -> ListOf[NotMade]:
        """Answer an empty list; a query that the list does not take is refused as anywhere."""
        if call.query.page is not None:
            decode_list_cursor(call.query.page, list=call.operation.path, is_ascending=False)
        return {"data": [], "next_page": None}
