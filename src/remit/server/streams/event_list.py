"""Pages of a stream's events: public rows by position, then input that is still pending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from remit.clock import parse_rfc3339
from remit.interfaces import SessionStore
from remit.schema.lists import Paging
from remit.server.operations.cursors import EventsCursor, decode_events_cursor, encode
from remit.streams.reading import BYTES_PER_READ, ROWS_PER_READ, is_all, size_bytes
from remit.values import EventRow, JsonObject, Principal

PAGE_BYTES_MAX = 8 << 20
"""A page ends with the event that fills this, however many were asked for."""
SEQ_MAX = 2**62


class EventFilter(NamedTuple):
    """The selection of shown events; bounds are exclusive and of `processed_at`."""

    selects: Callable[[str], bool]
    after_us: int | None = None
    before_us: int | None = None

    def matches(self, row: EventRow) -> bool:
        """Return whether a row is shown; rows are public here."""
        if not self.selects(row.type):
            return False
        if self.after_us is None and self.before_us is None:
            return True
        at_us = parse_rfc3339(msgspec.json.decode(row.body, type=_Processed).processed_at)
        return (self.after_us is None or at_us > self.after_us) and (
            self.before_us is None or at_us < self.before_us
        )

    def matches_pending(self, event: JsonObject) -> bool:
        """Return whether pending input is shown: what has no time is in no range."""
        return self.selects(str(event["type"])) and self.after_us is None and self.before_us is None


class _Processed(msgspec.Struct):
    processed_at: str


class EventPage(NamedTuple):
    """Encoded events and how to go on."""

    items: list[bytes]
    next_page: str | None


class PagePlace(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a page: where it begins, how long it is and which way it goes."""

    list: str
    limit: int
    is_ascending: bool
    cursor: EventsCursor | None

    @classmethod
    def read(cls, query: Paging, stream_id: str, *, is_ascending: bool = True) -> PagePlace:
        """Raises InvalidRequest."""
        name, page = f"events of {stream_id}", query.page
        return cls(
            list=name,
            limit=query.limit,
            is_ascending=is_ascending,
            cursor=decode_events_cursor(page, list=name, is_ascending=is_ascending) if page else None,
        )

    def next(self, seq: int, pending_id: str | None) -> str:
        """The cursor to go on from."""
        return encode(
            EventsCursor(list=self.list, is_ascending=self.is_ascending, seq=seq, pending_id=pending_id)
        )


async def list_events(
    store: SessionStore,
    principal: Principal,
    stream_id: str,
    place: PagePlace,
    shown: EventFilter,
    pending: Sequence[JsonObject] = (),
) -> EventPage:
    """Read one page. Ascending: rows, then pending input; descending the other way round."""
    waiting = [event for event in pending if shown.matches_pending(event)]
    if place.is_ascending:
        return await _ascending(store, principal, stream_id, place, shown, waiting)
    return await _descending(store, principal, stream_id, place, shown, waiting)


async def _ascending(
    store: SessionStore,
    principal: Principal,
    stream_id: str,
    place: PagePlace,
    shown: EventFilter,
    waiting: Sequence[JsonObject],
) -> EventPage:
    cursor = place.cursor
    seq = cursor.seq if cursor is not None else 0
    found: list[EventRow] = []
    while not _is_full(found, place.limit):
        rows = await store.read(
            principal,
            stream_id,
            after_seq=seq,
            limit=ROWS_PER_READ,
            bytes_max=BYTES_PER_READ,
            visibility="public",
        )
        found.extend(row for row in rows if shown.matches(row))
        if is_all(rows):
            break
        seq = rows[-1].seq
    page = _page_of(found, place.limit)
    items = [row.body for row in page]
    last_seq = page[-1].seq if page else (cursor.seq if cursor is not None else 0)
    if len(found) > len(page):
        return EventPage(items, place.next(last_seq, None))
    # An input that was consumed since the last page is among the rows now.
    seen = {row.event_id for row in page}
    rest = [
        e for e in _after(waiting, cursor.pending_id if cursor is not None else None) if e["id"] not in seen
    ]
    room = rest[: place.limit - len(items)]
    items.extend(msgspec.json.encode(event) for event in room)
    if len(room) < len(rest):
        return EventPage(items, place.next(last_seq, str(room[-1]["id"]) if room else None))
    return EventPage(items, None)


async def _descending(
    store: SessionStore,
    principal: Principal,
    stream_id: str,
    place: PagePlace,
    shown: EventFilter,
    waiting: Sequence[JsonObject],
) -> EventPage:
    cursor = place.cursor
    newest_first = list(reversed(waiting))
    if cursor is None:
        rest = newest_first
    else:
        rest = list(_after(newest_first, cursor.pending_id)) if cursor.pending_id is not None else []
    room = rest[: place.limit]
    items = [msgspec.json.encode(event) for event in room]
    if len(room) < len(rest):
        return EventPage(items, place.next(SEQ_MAX, str(room[-1]["id"])))
    before_seq = cursor.seq if cursor is not None else SEQ_MAX
    wanted = place.limit - len(items)
    found: list[EventRow] = []
    while not _is_full(found, wanted):
        rows = await store.read_before(
            principal,
            stream_id,
            before_seq=before_seq,
            limit=ROWS_PER_READ,
            bytes_max=BYTES_PER_READ,
            visibility="public",
        )
        found.extend(row for row in rows if shown.matches(row))
        if is_all(rows):
            break
        before_seq = rows[-1].seq
    page = _page_of(found, wanted)
    items.extend(row.body for row in page)
    if len(found) > len(page):
        last_seq = page[-1].seq if page else (cursor.seq if cursor is not None else SEQ_MAX)
        return EventPage(items, place.next(last_seq, None))
    return EventPage(items, None)


def _is_full(found: Sequence[EventRow], limit: int) -> bool:
    """Whether a page and the sign that there is more are there."""
    return len(found) > limit or (len(found) > 1 and size_bytes(found[:-1]) >= PAGE_BYTES_MAX)


def _page_of(found: Sequence[EventRow], limit: int) -> Sequence[EventRow]:
    size = 0
    for index, row in enumerate(found[:limit]):
        size += len(row.body)
        if size >= PAGE_BYTES_MAX:
            return found[: index + 1]
    return found[:limit]


def _after(events: Sequence[JsonObject], id: str | None) -> Sequence[JsonObject]:
    """Those behind the one with this id; all of them if it is gone (it was consumed)."""
    for index, event in enumerate(events):
        if event["id"] == id:
            return events[index + 1 :]
    return events
