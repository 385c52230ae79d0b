"""Answers to list calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from starlette.responses import Response

from remit.catalog.resources import Stored
from remit.schema.lists import LIMIT_DEFAULT, LIMIT_MAX, encode_list
from remit.server.cursors import ListPage, decode_list_cursor
from remit.server.requests import Query, encoded_response
from remit.values import JsonObject

T = TypeVar("T")
Config = TypeVar("Config", bound=msgspec.Struct)

PAGING = ("limit", "page")


def read_page(query: Query, *, list: str, is_ascending: bool = False) -> ListPage:
    """`limit` and `page` of a list by time of creation. Raises InvalidRequest."""
    text = query.text("page")
    return ListPage(
        list=list,
        limit=query.number("limit", minimum=1, maximum=LIMIT_MAX, default=LIMIT_DEFAULT),
        is_ascending=is_ascending,
        cursor=decode_list_cursor(text, list=list, is_ascending=is_ascending) if text else None,
    )


def resource_list(
    page: ListPage,
    resources: Sequence[Stored[Config]],
    to_wire: Callable[[Stored[Config]], JsonObject],
    position: Callable[[Stored[Config]], tuple[int, str]] = lambda stored: (
        stored.row.created_at_us,
        stored.id,
    ),
) -> Response:
    """One page of catalog resources; `resources` may hold one more than the limit."""
    items = [msgspec.json.encode(to_wire(resource)) for resource in resources[: page.limit]]
    return encoded_response(encode_list(items, page.next_page([position(r) for r in resources])))
