"""Lists: `{data, next_page}`, and `prev_page` where both directions exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypedDict, TypeVar

import msgspec

from remit.clock import parse_rfc3339
from remit.schema.operation import Time
from remit.schema.wire import Params

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
EVENTS_LIMIT_DEFAULT = 1000
EVENTS_LIMIT_MAX = 1000

T = TypeVar("T")


class ListOf(TypedDict, Generic[T]):
    """A page of a list."""

    data: list[T]
    next_page: str | None


class ListBothWays(ListOf[T], Generic[T]):
    """A page that can also be turned back."""

    prev_page: str | None


class Paging(Params, frozen=True):
    """The page of a list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    page: str | None = None


class PagingByTime(Paging, frozen=True):
    """The same, of what was made from or until some time."""

    created_at_gte: Time | None = msgspec.field(default=None, name="created_at[gte]")
    created_at_lte: Time | None = msgspec.field(default=None, name="created_at[lte]")

    @property
    def created_after_us(self) -> int | None:
        """The exclusive lower bound."""
        return _bound(None, self.created_at_gte, -1, max)

    @property
    def created_before_us(self) -> int | None:
        """The exclusive upper bound."""
        return _bound(None, self.created_at_lte, +1, min)


class PagingWithinTimes(PagingByTime, frozen=True):
    """The same, with bounds that leave the time itself out."""

    created_at_gt: Time | None = msgspec.field(default=None, name="created_at[gt]")
    created_at_lt: Time | None = msgspec.field(default=None, name="created_at[lt]")

    @property
    def created_after_us(self) -> int | None:
        """The exclusive lower bound."""
        return _bound(self.created_at_gt, self.created_at_gte, -1, max)

    @property
    def created_before_us(self) -> int | None:
        """The exclusive upper bound."""
        return _bound(self.created_at_lt, self.created_at_lte, +1, min)


def _bound(
    exclusive: str | None, inclusive: str | None, step: int, choose: Callable[[list[int]], int]
) -> int | None:
    bounds = [parse_rfc3339(exclusive)] if exclusive is not None else []
    if inclusive is not None:
        bounds.append(parse_rfc3339(inclusive) + step)
    return choose(bounds) if bounds else None


def encode_list(items: Sequence[bytes], next_page: str | None) -> bytes:
    """A page of items that are already encoded: their bytes are copied, not made again."""
    return b'{"data":[' + b",".join(items) + b'],"next_page":' + msgspec.json.encode(next_page) + b"}"


def encode_list_both_ways(items: Sequence[bytes], next_page: str | None, prev_page: str | None) -> bytes:
    """A page that can also be turned back."""
    return encode_list(items, next_page)[:-1] + b',"prev_page":' + msgspec.json.encode(prev_page) + b"}"
