"""Answers to list calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from starlette.responses import Response

from remit.schema.lists import Paging, encode_list
from remit.server.cursors import ListPage, decode_list_cursor
from remit.server.requests import encoded_response
from remit.values import Resource


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
    resources: Sequence[Resource],
    to_wire: Callable[[Resource], object],
    position: Callable[[Resource], tuple[int, str]] = lambda r: (r.created_at_us, r.id),
) -> Response:
    """One page of catalog resources; `resources` may hold one more than the limit."""
    items = [msgspec.json.encode(to_wire(resource)) for resource in resources[: page.limit]]
    return encoded_response(encode_list(items, page.next_page([position(r) for r in resources])))
