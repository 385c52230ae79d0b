"""Reading a log in pieces that fit into memory, however large its rows are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from msgspec.structs import replace

from remit.interfaces import SessionStore
from remit.values import EventRow, Page, Principal, StreamFilter, StreamHead, Visibility

ROWS_PER_READ = 1_000
BYTES_PER_READ = 8 << 20
HEADS_PER_READ = 200


async def read_on(
    store: SessionStore,
    principal: Principal,
    stream_id: str,
    *,
    after_seq: int,
    visibility: Visibility | None = None,
) -> AsyncGenerator[Sequence[EventRow], None]:
    """Every row after this one, in pieces. Raises NotFound."""
    while True:
        rows = await store.read(
            principal,
            stream_id,
            after_seq=after_seq,
            limit=ROWS_PER_READ,
            bytes_max=BYTES_PER_READ,
            visibility=visibility,
        )
        if rows:
            yield rows
            after_seq = rows[-1].seq
        if is_all(rows):
            return


def is_all(rows: Sequence[EventRow]) -> bool:
    """Return whether a read of `ROWS_PER_READ` and `BYTES_PER_READ` gave everything there was."""
    return len(rows) < ROWS_PER_READ and size_bytes(rows) < BYTES_PER_READ


def size_bytes(rows: Sequence[EventRow]) -> int:
    """Return the size of the rows' bodies in bytes."""
    return sum(len(row.body) for row in rows)


async def read_rows(
    store: SessionStore, principal: Principal, stream_id: str, *, after_seq: int = 0
) -> list[EventRow]:
    """Read all rows of a stream after a position. Raises NotFound."""
    rows: list[EventRow] = []
    async for some in read_on(store, principal, stream_id, after_seq=after_seq):
        rows.extend(some)
    return rows


async def list_all(
    store: SessionStore, principal: Principal, filter: StreamFilter, *, is_ascending: bool = False
) -> AsyncGenerator[StreamHead, None]:
    """Every stream that matches, newest first or oldest first, page after page."""
    page = Page(limit=HEADS_PER_READ, is_ascending=is_ascending)
    while heads := await store.list_streams(principal, filter, page):
        for head in heads:
            yield head
        page = replace(page, position=(heads[-1].created_at_us, heads[-1].stream_id))
