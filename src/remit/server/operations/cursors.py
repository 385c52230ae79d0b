"""Opaque page cursors. They carry the list's name and its order, so that a cursor used elsewhere is refused."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import msgspec

from remit.errors import InvalidRequest
from remit.values import Page

Direction = Literal["next", "prev"]
Place = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A number that a store can compare with; whoever sends a larger one did not get it from here."""


class ListCursor(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A place in a list by time of creation (or version)."""

    list: str
    is_ascending: bool
    direction: Direction
    position: tuple[Place, str]


class EventsCursor(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A place in a stream's events: after (or before) this row; then after this pending input."""

    list: str
    is_ascending: bool
    seq: Place
    pending_id: str | None


def encode(cursor: ListCursor | EventsCursor) -> str:
    """Encode a cursor as it stands in `next_page`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_list_cursor(text: str, *, list: str, is_ascending: bool) -> ListCursor:
    """Raises InvalidRequest when it is no cursor of this list in this order."""
    return _checked(_decode(text, ListCursor), list, is_ascending)


def decode_events_cursor(text: str, *, list: str, is_ascending: bool) -> EventsCursor:
    """Raises InvalidRequest when it is no cursor of this stream in this order."""
    return _checked(_decode(text, EventsCursor), list, is_ascending)


def _decode(
    text: str, type: Any
) -> Any:  # Any: one of the two cursor types, checked by the callers' signatures
    try:
        return msgspec.json.decode(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), type=type
        )
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise InvalidRequest(
            "`page`: this is no cursor of this list; use `next_page` of a former answer or leave it out."
        ) from error


def _checked(cursor: Any, list: str, is_ascending: bool) -> Any:  # Any: as above
    if cursor.list != list:
        raise InvalidRequest("`page`: this cursor belongs to another list; leave it out to start anew.")
    if cursor.is_ascending != is_ascending:
        raise InvalidRequest(
            "`page`: this cursor was made with another `order`; keep the order while paging."
        )
    return cursor


class ListPage(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a page: what to ask of the store (one more than the limit), and how to go on."""

    list: str
    limit: int
    is_ascending: bool
    cursor: ListCursor | None = None

    @property
    def is_backwards(self) -> bool:
        """Going to the previous page: the store is asked in the opposite order."""
        return self.cursor is not None and self.cursor.direction == "prev"

    def query(self) -> Page:
        """Return the page to ask the store for."""
        return Page(
            limit=self.limit + 1,
            position=self.cursor.position if self.cursor is not None else None,
            is_ascending=self.is_ascending != self.is_backwards,
        )

    def check_within(self, after_us: int | None, before_us: int | None) -> None:
        """Refuse a cursor that the time filter excludes. Raises InvalidRequest."""
        if self.cursor is None:
            return
        at_us = self.cursor.position[0]
        if (after_us is not None and at_us <= after_us) or (before_us is not None and at_us >= before_us):
            raise InvalidRequest(
                "`page`: the `created_at` filter excludes this cursor; leave it out to start anew."
            )

    def next_page(self, positions: list[tuple[int, str]]) -> str | None:
        """The cursor after these items (all that the store returned, in its order)."""
        if not positions:
            return None
        if self.is_backwards:
            return self._cursor("next", positions[0])
        return self._cursor("next", positions[self.limit - 1]) if len(positions) > self.limit else None

    def prev_page(self, positions: list[tuple[int, str]]) -> str | None:
        """The cursor before these items; None on the first page."""
        if self.cursor is None or not positions:
            return None
        if self.is_backwards:
            return self._cursor("prev", positions[self.limit - 1]) if len(positions) > self.limit else None
        return self._cursor("prev", positions[0])

    def _cursor(self, direction: Direction, position: tuple[int, str]) -> str:
        return encode(
            ListCursor(list=self.list, is_ascending=self.is_ascending, direction=direction, position=position)
        )
