"""Stores in memory: for tests, and the oracle of every durable store. The catalog has its own file, offered here too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from remit.clock import Clock
from remit.errors import Conflict, LeaseLost, NotFound, SequenceConflict, StoreUnavailable
from remit.ledger.accounts import (
    AccountKey,
    GrantKey,
    HoldKey,
    LedgerRows,
    account_key,
    apply_effects,
    grant_key,
    hold_key,
    rows_needed,
)
from remit.stores.append_rules import require_valid_append, require_valid_creation
from remit.stores.fair_turns import Due, in_turns
from remit.stores.memory_catalog import MemoryCatalog
from remit.stores.memory_pages import is_after, matches, stream_position
from remit.stores.read_rules import up_to
from remit.streams.rows import provisional
from remit.values import (
    NEAR_US,
    Account,
    Append,
    Appended,
    Checkpoint,
    EventRow,
    GrantRow,
    HoldRow,
    Lease,
    NewEvent,
    NewStream,
    OutboxItem,
    Page,
    Principal,
    StreamFilter,
    StreamHead,
    StreamRead,
    Visibility,
)

__all__ = ["MemoryCatalog", "MemorySessionStore"]


class _Stream:
    """Everything about one stream."""

    def __init__(self, head: StreamHead, refers_to: tuple[str, ...]) -> None:
        self.head = head
        self.rows: list[EventRow] = []
        self.keys: dict[str, tuple[int, int]] = {}
        """Key → first and last seq of the append that brought it."""
        self.public_ids: set[str] = set()
        self.created_seq = 0
        """Last seq of the first append."""
        self.accounts: dict[AccountKey, Account] = {}
        self.holds: dict[HoldKey, HoldRow] = {}
        self.grants: dict[GrantKey, GrantRow] = {}
        self.checkpoint: Checkpoint | None = None
        self.is_deleted = False
        self.near: str | None = None
        self.refers_to = refers_to

    def due_us(self) -> int | None:
        """When the stream may be claimed: at its wake, or, while it is leased, when the lease lapses."""
        return self.head.wake_at_us if self.head.owner is None else self.head.lease_until_us

    def due_for_us(self, owner: str | None) -> int | None:
        """The same for this owner: what is near to another waits for it a little."""
        due_us = self.due_us()
        is_anothers = self.head.owner is None and self.near is not None and self.near != owner
        return due_us + NEAR_US if is_anothers and due_us is not None else due_us


class MemorySessionStore:
    """`SessionStore` in memory. Atomic because no method awaits in the middle."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        self._outbox: dict[int, tuple[str, OutboxItem]] = {}
        self._outbox_position = 0
        self._is_closed = False

    # ------------------------------------------------------------------------------------------- appends

    async def create_stream(self, principal: Principal, stream: NewStream, append: Append) -> Appended:
        self._require_open()
        require_valid_creation(stream, append)
        if stream.stream_id in self._streams:
            existing = self._find(principal, stream.stream_id)
            return self._duplicate(existing, 1, existing.created_seq)
        now_us = self._clock.now_us()
        head = StreamHead(
            workspace_id=principal.workspace_id,
            stream_id=stream.stream_id,
            kind=stream.kind,
            parent_stream_id=stream.parent_stream_id,
            seq=0,
            epoch=0,
            owner=None,
            lease_until_us=0,
            wake_at_us=None,
            created_at_us=now_us,
            summary=stream.summary,
        )
        created = _Stream(head, stream.refers_to)
        appended = self._carry_out(created, append, now_us)
        created.created_seq = appended.head_seq
        self._streams[stream.stream_id] = created
        return appended

    async def append(self, principal: Principal, append: Append) -> Appended:
        self._require_open()
        require_valid_append(append)
        stream = self._find(principal, append.stream_id)
        if append.events and append.events[0].key is not None:
            first_time = stream.keys.get(append.events[0].key)
            if first_time is not None:
                return self._duplicate(stream, *first_time)
        if append.epoch is not None and append.epoch != stream.head.epoch:
            raise LeaseLost(
                f"{append.stream_id!r} is at epoch {stream.head.epoch}, not {append.epoch}: another worker owns it."
            )
        if append.expected_seq is not None and append.expected_seq != stream.head.seq:
            raise SequenceConflict(
                f"{append.stream_id!r} is at position {stream.head.seq}, not {append.expected_seq}: read it again."
            )
        return self._carry_out(stream, append, self._clock.now_us())

    def _carry_out(self, stream: _Stream, append: Append, now_us: int) -> Appended:
        """Everything that can refuse comes first, so that a refusal leaves nothing."""
        head = stream.head
        self._require_new_names(stream, append.events)
        seq = head.seq + len(append.events)
        needed = rows_needed(append.effects)
        view = LedgerRows(
            accounts=tuple(stream.accounts.values()),
            holds=tuple(stream.holds[key] for key in needed.holds if key in stream.holds),
            grants=tuple(stream.grants[key] for key in needed.grants if key in stream.grants),
        )
        changed = apply_effects(view, append.effects, stream_id=head.stream_id, seq=seq, now_us=now_us)
        rows = tuple(
            provisional(
                append.events,
                workspace_id=head.workspace_id,
                stream_id=head.stream_id,
                after_seq=head.seq,
                at_us=now_us if append.at_us is None else append.at_us,
            )
        )
        stream.rows.extend(rows)
        for event in append.events:
            if event.key is not None:
                stream.keys[event.key] = (head.seq + 1, seq)
            if event.visibility == "public":
                stream.public_ids.add(event.event_id)
        stream.accounts.update((account_key(row), row) for row in changed.accounts)
        stream.holds.update((hold_key(row), row) for row in changed.holds)
        stream.grants.update((grant_key(row), row) for row in changed.grants)
        for item in append.outbox:
            self._outbox_position += 1
            self._outbox[self._outbox_position] = (head.workspace_id, item)
        wake_at_us = head.wake_at_us
        if append.wake_at_us is not None and not _is_told_by_rows(head, append, now_us):
            wake_at_us = _earlier(wake_at_us, append.wake_at_us)
        stream.head = msgspec.structs.replace(
            head, seq=seq, wake_at_us=wake_at_us, summary=append.summary or head.summary
        )
        return Appended(rows=rows, head_seq=seq)

    @staticmethod
    def _require_new_names(stream: _Stream, events: Sequence[NewEvent]) -> None:
        keys: set[str] = set()
        public_ids: set[str] = set()
        for event in events:
            if event.key is not None:
                if event.key in stream.keys or event.key in keys:
                    raise Conflict(f"Key {event.key!r} is used already in {stream.head.stream_id!r}.")
                keys.add(event.key)
            if event.visibility == "public":
                if event.event_id in stream.public_ids or event.event_id in public_ids:
                    raise Conflict(
                        f"{stream.head.stream_id!r} has a public event {event.event_id!r} already."
                    )
                public_ids.add(event.event_id)

    @staticmethod
    def _duplicate(stream: _Stream, first_seq: int, last_seq: int) -> Appended:
        return Appended(
            rows=tuple(stream.rows[first_seq - 1 : last_seq]), head_seq=stream.head.seq, is_duplicate=True
        )

    # --------------------------------------------------------------------------------------------- reads

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
        self._require_open()
        rows = self._find(principal, stream_id).rows[max(0, after_seq) :]
        found = [row for row in rows if visibility is None or row.visibility == visibility]
        return up_to(found[:limit], bytes_max)

    async def read_stream(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
    ) -> StreamRead:
        self._require_open()
        stream = self._find(principal, stream_id)
        rows = stream.rows[max(0, after_seq) :][:limit]
        return StreamRead(
            head=stream.head, rows=tuple(up_to(rows, bytes_max)), accounts=_sorted(stream.accounts.values())
        )

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
        self._require_open()
        rows = self._find(principal, stream_id).rows[: max(0, before_seq - 1)]
        found = [row for row in reversed(rows) if visibility is None or row.visibility == visibility]
        return up_to(found[:limit], bytes_max)

    async def find_events(self, principal: Principal, stream_id: str, event_id: str) -> Sequence[EventRow]:
        self._require_open()
        return [row for row in self._find(principal, stream_id).rows if row.event_id == event_id]

    async def head(self, principal: Principal, stream_id: str) -> StreamHead:
        self._require_open()
        return self._find(principal, stream_id).head

    async def list_streams(
        self, principal: Principal, filter: StreamFilter, page: Page
    ) -> Sequence[StreamHead]:
        self._require_open()
        heads = [
            stream.head
            for stream in self._streams.values()
            if not stream.is_deleted
            and stream.head.workspace_id == principal.workspace_id
            and matches(filter, stream.head, stream.refers_to)
        ]
        heads.sort(key=stream_position, reverse=not page.is_ascending)
        return [head for head in heads if is_after(page, stream_position(head))][: page.limit]

    async def accounts(
        self, principal: Principal, stream_id: str, *, purposes: Sequence[str] | None = None
    ) -> Sequence[Account]:
        self._require_open()
        accounts = self._find(principal, stream_id, with_deleted=True).accounts.values()
        return _sorted(account for account in accounts if purposes is None or account.purpose in purposes)

    async def holds(
        self, principal: Principal, stream_id: str, *, only_open: bool = False
    ) -> Sequence[HoldRow]:
        self._require_open()
        holds = self._find(principal, stream_id, with_deleted=True).holds.values()
        return [hold for hold in holds if not only_open or hold.state == "open"]

    async def grants(self, principal: Principal, stream_id: str) -> Sequence[GrantRow]:
        self._require_open()
        return list(self._find(principal, stream_id, with_deleted=True).grants.values())

    async def delete_stream(self, principal: Principal, stream_id: str, *, expected_seq: int) -> None:
        self._require_open()
        stream = self._find(principal, stream_id)
        if stream.head.seq != expected_seq:
            raise SequenceConflict(
                f"{stream_id!r} is at position {stream.head.seq}, not {expected_seq}: read it again."
            )
        stream.is_deleted = True
        stream.rows.clear()
        stream.keys.clear()
        stream.public_ids.clear()
        stream.checkpoint = None
        if stream.head.parent_stream_id is None:
            stream.holds = {key: hold for key, hold in stream.holds.items() if hold.state == "open"}

    # -------------------------------------------------------------------------------- wakes and leases

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
        self._require_open()
        now_us = self._clock.now_us()
        due: list[Due] = []
        for stream in self._streams.values():
            due_us = stream.due_us()
            for_us = stream.due_for_us(owner)
            if due_us is None or for_us is None or for_us > now_us:
                continue
            if stream.is_deleted or stream.head.kind not in kinds:
                continue
            if stream_id is None or stream.head.stream_id == stream_id:
                due.append(Due(due_us, stream.head.stream_id, stream.head.workspace_id))
        chosen = in_turns(due, limit=limit, running=running or {}, each_max=each_max)
        return [self._lease(self._streams[id], owner, now_us, lease_seconds) for id in chosen]

    @staticmethod
    def _lease(stream: _Stream, owner: str, now_us: int, lease_seconds: float) -> Lease:
        stream.near = None
        stream.head = msgspec.structs.replace(
            stream.head,
            epoch=stream.head.epoch + 1,
            owner=owner,
            lease_until_us=now_us + round(lease_seconds * 1_000_000),
            wake_at_us=None,
        )
        return Lease(
            workspace_id=stream.head.workspace_id,
            stream_id=stream.head.stream_id,
            kind=stream.head.kind,
            epoch=stream.head.epoch,
            owner=owner,
            until_us=stream.head.lease_until_us,
        )

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        self._require_open()
        until_us = self._clock.now_us() + round(lease_seconds * 1_000_000)
        lost: list[str] = []
        for lease in leases:
            stream = self._leased(lease)
            if stream is None:
                lost.append(lease.stream_id)
            else:
                stream.head = msgspec.structs.replace(stream.head, lease_until_us=until_us)
        return lost

    async def release(
        self, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool = False
    ) -> None:
        self._require_open()
        stream = self._leased(lease)
        if stream is None:
            return
        if stream.head.seq > seen_seq:
            wake_at_us = self._clock.now_us()
        stream.near = lease.owner if is_near else None
        stream.head = msgspec.structs.replace(
            stream.head, owner=None, lease_until_us=0, wake_at_us=_earlier(stream.head.wake_at_us, wake_at_us)
        )

    async def wake(self, principal: Principal, stream_id: str, *, at_us: int) -> None:
        self._require_open()
        stream = self._find(principal, stream_id)
        stream.head = msgspec.structs.replace(stream.head, wake_at_us=_earlier(stream.head.wake_at_us, at_us))

    async def next_wake_us(self, kinds: Sequence[str], *, owner: str | None = None) -> int | None:
        self._require_open()
        now_us = self._clock.now_us()
        return min(
            (
                due_us
                for stream in self._streams.values()
                if not stream.is_deleted
                and stream.head.kind in kinds
                and (due_us := stream.due_for_us(owner)) is not None
                and (stream.head.owner is None or due_us <= now_us)
            ),
            default=None,
        )

    async def raise_epochs(self) -> None:
        self._require_open()
        now_us = self._clock.now_us()
        for stream in self._streams.values():
            head = stream.head
            stream.near = None
            is_waited_for = head.owner is not None or head.wake_at_us is not None
            wake_at_us = _earlier(head.wake_at_us, now_us) if is_waited_for else None
            stream.head = msgspec.structs.replace(
                head, epoch=head.epoch + 1, owner=None, lease_until_us=0, wake_at_us=wake_at_us
            )

    # ------------------------------------------------------------------------------ outbox, checkpoints

    async def outbox_due(self, limit: int) -> Sequence[tuple[int, str, OutboxItem]]:
        self._require_open()
        return [(position, workspace_id, item) for position, (workspace_id, item) in self._outbox.items()][
            :limit
        ]

    async def outbox_done(self, positions: Sequence[int]) -> None:
        self._require_open()
        for position in positions:
            self._outbox.pop(position, None)

    async def put_checkpoint(self, principal: Principal, checkpoint: Checkpoint) -> None:
        self._require_open()
        stream = self._find(principal, checkpoint.stream_id)
        stored = stream.checkpoint
        if stored is None or (stored.version, stored.seq) <= (checkpoint.version, checkpoint.seq):
            stream.checkpoint = checkpoint

    async def checkpoint(self, principal: Principal, stream_id: str) -> Checkpoint | None:
        self._require_open()
        return self._find(principal, stream_id).checkpoint

    async def close(self) -> None:
        self._is_closed = True

    # ------------------------------------------------------------------------------------------- helpers

    def _require_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")

    def _find(self, principal: Principal, stream_id: str, *, with_deleted: bool = False) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None or stream.head.workspace_id != principal.workspace_id:
            raise NotFound(f"No stream {stream_id!r} in this workspace.")
        if stream.is_deleted and not with_deleted:
            raise NotFound(f"No stream {stream_id!r} in this workspace.")
        return stream

    def _leased(self, lease: Lease) -> _Stream | None:
        """The stream, if this lease is still the one it has."""
        stream = self._streams.get(lease.stream_id)
        if stream is None or stream.is_deleted:
            return None
        is_current = stream.head.epoch == lease.epoch and stream.head.owner == lease.owner
        return stream if is_current else None


def _is_told_by_rows(head: StreamHead, append: Append, now_us: int) -> bool:
    """While a stream is leased, `release` learns of new rows by their positions; a wake for now would only cause a
    useless turn when the holder has seen them already."""
    return (
        head.owner is not None
        and bool(append.events)
        and append.wake_at_us is not None
        and append.wake_at_us <= now_us
    )


def _earlier(first_us: int | None, second_us: int | None) -> int | None:
    if first_us is None or second_us is None:
        return second_us if first_us is None else first_us
    return min(first_us, second_us)


def _sorted(accounts: Iterable[Account]) -> tuple[Account, ...]:
    return tuple(sorted(accounts, key=lambda account: (account.purpose, account.unit)))
