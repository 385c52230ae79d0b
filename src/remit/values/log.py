"""Streams, their rows, and who may write them."""

from __future__ import annotations

from typing import Literal

from remit.values.ledger import Account, Effect
from remit.values.value import Value

Visibility = Literal["public", "private"]


class EventRow(Value, frozen=True, kw_only=True):
    """One durable row of a stream. `body` is the JSON exactly as encoded once, at append."""

    workspace_id: str
    stream_id: str
    seq: int
    """1, 2, 3 … without a gap, per stream."""
    event_id: str
    type: str
    visibility: Visibility
    schema_version: int
    created_at_us: int
    body: bytes
    thread_id: str | None = None


class NewEvent(Value, frozen=True, kw_only=True):
    """A row to append; the store assigns `seq` and `created_at_us`."""

    event_id: str
    type: str
    visibility: Visibility
    body: bytes
    schema_version: int = 1
    thread_id: str | None = None
    key: str | None = None
    """Idempotency key, unique in the stream."""


class StreamSummary(Value, frozen=True, kw_only=True):
    """Columns that exist only to list and filter; the fold could compute them. Written with the append."""

    status: str
    title: str | None = None
    agent_id: str | None = None
    agent_version: int | None = None
    archived_at_us: int | None = None


class OutboxItem(Value, frozen=True, kw_only=True):
    """An append into another stream that becomes due with this one (child → parent). Delivered at least once;
    `event.key` makes it exactly once."""

    target_stream_id: str
    event: NewEvent


class Append(Value, frozen=True, kw_only=True):
    """One transaction on one stream: fence, positions, events, account effects, outbox, wake.

    With `epoch`: refused (LeaseLost) unless it is the stream's. Without: outside input; every event needs a `key`
    or `expected_seq` must be given.
    """

    stream_id: str
    events: tuple[NewEvent, ...] = ()
    epoch: int | None = None
    expected_seq: int | None = None
    effects: tuple[Effect, ...] = ()
    outbox: tuple[OutboxItem, ...] = ()
    wake_at_us: int | None = None
    """Wake the stream at this time or earlier (the earlier of this and what stands). None: leave it."""
    summary: StreamSummary | None = None
    at_us: int | None = None
    """`created_at_us` of the rows, for a writer that has folded them already; None: the store's own time."""


class Appended(Value, frozen=True, kw_only=True):
    """The result of an append."""

    rows: tuple[EventRow, ...]
    head_seq: int
    is_duplicate: bool = False
    """The first event's key was already there: nothing was done; `rows` are the rows of the first time (all of that
    append)."""


class NewStream(Value, frozen=True, kw_only=True):
    """A stream to create, with its first append (epoch and expected_seq are not looked at)."""

    stream_id: str
    kind: str
    parent_stream_id: str | None = None
    summary: StreamSummary
    refers_to: tuple[str, ...] = ()
    """Ids of what it was made with, for lists to select by."""


class StreamHead(Value, frozen=True, kw_only=True):
    """The row of a stream: everything about it that is not in its events."""

    workspace_id: str
    stream_id: str
    kind: str
    parent_stream_id: str | None
    seq: int
    epoch: int
    owner: str | None
    lease_until_us: int
    wake_at_us: int | None
    created_at_us: int
    summary: StreamSummary


class StreamRead(Value, frozen=True, kw_only=True):
    """A stream at one instant."""

    head: StreamHead
    rows: tuple[EventRow, ...]
    accounts: tuple[Account, ...]
    """Sorted by (purpose, unit)."""


class Lease(Value, frozen=True, kw_only=True):
    """The exclusive right to append to a stream for a time."""

    workspace_id: str
    stream_id: str
    kind: str
    epoch: int
    owner: str
    until_us: int


class Checkpoint(Value, frozen=True, kw_only=True):
    """A stored fold, usable only when `version` is the code's; can always be thrown away."""

    stream_id: str
    seq: int
    version: int
    body: bytes


class StreamFilter(Value, frozen=True, kw_only=True):
    """A selection of streams. Every given field must match."""

    kind: str
    statuses: tuple[str, ...] = ()
    agent_id: str | None = None
    agent_version: int | None = None
    parent_stream_id: str | None = None
    refers_to: str | None = None
    include_archived: bool = False
    due_by_us: int | None = None
    """Those that a worker has, or that one may take by then."""
    created_after_us: int | None = None
    """Exclusive."""
    created_before_us: int | None = None
    """Exclusive."""


class Page(Value, frozen=True, kw_only=True):
    """A keyset page over (created_at_us, id); the position is that of the last item seen."""

    limit: int
    position: tuple[int, str] | None = None
    is_ascending: bool = False


class LiveItem(Value, frozen=True, kw_only=True):
    """An item on the bus: a hint that the log grew (rows None: read them), or a live frame."""

    stream_id: str
    rows: tuple[EventRow, ...] = ()
    frame: bytes | None = None
    """JSON of a live-only event (event_start, event_delta, the echo of a queued input)."""
    frame_type: str | None = None
    thread_id: str | None = None
    is_deleted: bool = False
    """The stream is gone: readers close after what they have."""


NEAR_US = 1_000_000
"""So long after its wake a stream waits for who has something of it near, before anybody may have it."""


class HandlerResult(Value, frozen=True, kw_only=True):
    """The word of a handler that ran on what to do with the lease."""

    seen_seq: int
    """The last row the handler has taken into account; if there are newer ones the stream is due at once."""
    wake_at_us: int | None = None
    is_near: bool = False
    """Something of the stream is kept here that another process would have to do without (a sandbox)."""
