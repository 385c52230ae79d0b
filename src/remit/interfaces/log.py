"""The log of streams: where every event and every account of money stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from remit.values import (
    Account,
    Append,
    Appended,
    Checkpoint,
    EventRow,
    GrantRow,
    HoldRow,
    Lease,
    NewStream,
    OutboxItem,
    Page,
    Principal,
    StreamFilter,
    StreamHead,
    StreamRead,
    Visibility,
)


class SessionStore(Protocol):
    """Durable keeper of streams: logs, accounts, outbox, wakes. Dumb: it fences, numbers, adds up and refuses;
    what an event means is not its business. Every method that takes a stream id sees only the principal's workspace
    (another workspace's id raises NotFound)."""

    async def create_stream(self, principal: Principal, stream: NewStream, append: Append) -> Appended:
        """Make a stream and its first append in one transaction. Idempotent by stream id: if it exists, the result has
        `is_duplicate` and nothing is done. Raises HoldRefused, StoreUnavailable; NotFound when the id is that of a
        deleted stream or another workspace's."""
        ...

    async def append(self, principal: Principal, append: Append) -> Appended:
        """Append in one transaction, all or nothing; durable when this returns; rows are numbered in call
        order.

        Checks in this order: the stream exists (NotFound); the first event's key is new (else a duplicate: no error,
        nothing done); the epoch is the stream's (LeaseLost); `expected_seq` is the head (SequenceConflict); every
        other key and every public event id is new (Conflict); every effect fits (HoldRefused). An append may have no
        events (effects or summary alone need an epoch or expected_seq). With neither epoch nor expected_seq every
        event must have a key.
        """
        ...

    async def read(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        """Rows in order of seq; with `bytes_max` none after the one whose body fills it. Sees every append that returned
        before the call. Raises NotFound."""
        ...

    async def read_stream(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
    ) -> StreamRead:
        """The head, the rows as `read` gives them, and all accounts, of one instant and in one round trip. Raises
        NotFound."""
        ...

    async def read_before(
        self,
        principal: Principal,
        stream_id: str,
        *,
        before_seq: int,
        limit: int,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        """Rows with seq < before_seq, newest first; `bytes_max` as in `read`."""
        ...

    async def find_events(self, principal: Principal, stream_id: str, event_id: str) -> Sequence[EventRow]:
        """The rows with this event id (a receipt and its public row share one), by seq; empty if none."""
        ...

    async def head(self, principal: Principal, stream_id: str) -> StreamHead:
        """The stream's row. Raises NotFound."""
        ...

    async def list_streams(
        self, principal: Principal, filter: StreamFilter, page: Page
    ) -> Sequence[StreamHead]:
        """Streams by (created_at, id)."""
        ...

    async def delete_stream(self, principal: Principal, stream_id: str, *, expected_seq: int) -> None:
        """Remove events, checkpoint and summary; accounts, open holds and grants stay readable, and settled holds where
        the stream has a parent, whose receipt shows them. For everything else the stream is NotFound afterwards, for ever. Raises SequenceConflict."""
        ...

    async def accounts(
        self, principal: Principal, stream_id: str, *, purposes: Sequence[str] | None = None
    ) -> Sequence[Account]:
        """The stream's accounts, or those with these purposes, sorted by (purpose, unit)."""
        ...

    async def holds(
        self, principal: Principal, stream_id: str, *, only_open: bool = False
    ) -> Sequence[HoldRow]:
        """The stream's holds in order of creation."""
        ...

    async def grants(self, principal: Principal, stream_id: str) -> Sequence[GrantRow]:
        """Return the stream's grants of both directions, in order of creation."""
        ...

    async def claim(
        self,
        owner: str,
        *,
        kinds: Sequence[str],
        lease_seconds: float,
        limit: int,
        stream_id: str | None = None,
        running: Mapping[str, int] | None = None,
        each_max: int | None = None,
    ) -> Sequence[Lease]:
        """Take leases on due streams (wake_at <= now, no live lease); the epoch goes up by one. Workspaces take turns: each
        next lease goes to the one with the fewest, those counted that it has `running` already; among equals, and within
        a workspace, to the oldest wake. A workspace that has `each_max` gets none. With `stream_id`: only that one. Never hands the same stream to two owners. Crosses workspaces (workers only).
        A claim takes the wake away; a stream whose lease lapses unreleased is due when it does. One that was released
        as near to another owner is due `NEAR_US` after its wake."""
        ...

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        """Extend; returns the stream ids that are lost (their epoch has moved on)."""
        ...

    async def release(
        self, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool = False
    ) -> None:
        """Give up the lease. If rows after `seen_seq` exist the stream is due at once, else at `wake_at_us`
        (None: when something is appended), or at an earlier wake that came while it was leased and that the rows do not
        tell of. `is_near`: this owner keeps something for it, and gets it before others. A stale epoch is ignored."""
        ...

    async def wake(self, principal: Principal, stream_id: str, *, at_us: int) -> None:
        """Make the stream due at this time or earlier."""
        ...

    async def next_wake_us(self, kinds: Sequence[str], *, owner: str | None = None) -> int | None:
        """Return the earliest unleased wake for this owner (a lapsed lease counts); None if there is none."""
        ...

    async def raise_epochs(self) -> None:
        """Raise every epoch by one. Only for a store that one process owns exclusively, at start: the former
        owner is dead, so every lease ends, and interrupted streams are due again at once. So are all with a
        wake: the clock may have been set back since it was written, and who is woken too early only looks."""
        ...

    async def outbox_due(self, limit: int) -> Sequence[tuple[int, str, OutboxItem]]:
        """Undelivered items, oldest first: (position, workspace id, item)."""
        ...

    async def outbox_done(self, positions: Sequence[int]) -> None:
        """Forget delivered items."""
        ...

    async def put_checkpoint(self, principal: Principal, checkpoint: Checkpoint) -> None:
        """Keep the newest fold; losing it is harmless."""
        ...

    async def checkpoint(self, principal: Principal, stream_id: str) -> Checkpoint | None:
        """The stored fold, if any."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then close. Further calls raise StoreUnavailable."""
        ...
