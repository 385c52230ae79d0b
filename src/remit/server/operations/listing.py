"""Answers to list calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeVar

import msgspec
from starlette.responses import Response

from remit.schema.files import FilePaging
from remit.schema.lists import LIMIT_DEFAULT, Paging, encode_list
from remit.server.operations.cursors import ListPage, decode_list_cursor
from remit.server.operations.requests import encoded_response

T = TypeVar("T")


def read_page(query: Paging | FilePaging, *, list: str, is_ascending: bool = False) -> ListPage:
    """`limit` and `page` of a list by time of creation. Raises InvalidRequest."""
    text = query.page
    return ListPage(
        list=list,
        limit=query.limit or LIMIT_DEFAULT,
        is_ascending=is_ascending,
        cursor=decode_list_cursor(text, list=list, is_ascending=is_ascending) if text else None,
    )


def resource_list(
    page: ListPage,
    resources: Sequence[T],
    to_wire: Callable[[T], object],
    position: Callable[[T], tuple[int, str]] = attrgetter("position"),
) -> Response:
    """One page of catalog resources, or of what else has a position; `resources` may hold one more than the limit."""
    items = [msgspec.json.encode(to_wire(resource)) for resource in resources[: page.limit]]
    return encoded_response(encode_list(items, page.next_page([position(r) for r in resources])))
