"""Answers to list calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from starlette.responses import Response

from remit.catalog.resources import Stored
from remit.schema.lists import Paging, encode_list
from remit.server.cursors import ListPage, decode_list_cursor
from remit.server.requests import encoded_response

Config = TypeVar("Config", bound=msgspec.Struct)


def read_page(query: Paging, *, list: str, is_ascending: bool = False) -> ListPage:
    """`limit` and `page` of a list by time of creation. Raises InvalidRequest."""
    text = query.page
    return ListPage(
        list=list,
        limit=query.limit,
        is_ascending=is_ascending,
        cursor=decode_list_cursor(text, list=list, is_ascending=is_ascending) if text else None,
    )


def resource_list(
    page: ListPage,
    resources: Sequence[Stored[Config]],
    to_wire: Callable[[Stored[Config]], object],
    position: Callable[[Stored[Config]], tuple[int, str]] = lambda stored: stored.position,
) -> Response:
    """One page of catalog resources; `resources` may hold one more than the limit."""
    items = [msgspec.json.encode(to_wire(resource)) for resource in resources[: page.limit]]
    return encoded_response(encode_list(items, page.next_page([position(r) for r in resources])))
