"""Views of streams in a batch of appends: the rules of an append, carried out in memory in the order of the
contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from remit.errors import Conflict, LeaseLost, NotFound, RemitError, SequenceConflict
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
from remit.streams.rows import provisional
from remit.values import (
    Account,
    Append,
    Appended,
    EventRow,
    GrantRow,
    HoldRow,
    NewStream,
    OutboxItem,
    StreamSummary,
)


@dataclass
class Order:
    """An append that somebody waits for; with `stream` the first one of a new stream."""

    workspace_id: str
    append: Append
    stream: NewStream | None = None

    @property
    def stream_id(self) -> str:
        return self.append.stream_id


class Repeated(NamedTuple):
    """The append was made before; its rows are these."""

    first_seq: int
    last_seq: int
    head_seq: int


Decided = Appended | Repeated | RemitError


@dataclass
class BatchedStream:
    """A stream as it is known, and as this batch makes it."""

    stream_id: str
    workspace_id: str
    is_there: bool = False
    is_deleted: bool = False
    head_seq: int = 0
    created_seq: int = 0
    revision: int = 0
    epoch: int = 0
    keys: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    public_ids: set[str] = field(default_factory=set[str])
    accounts: dict[AccountKey, Account] = field(default_factory=dict[AccountKey, Account])
    holds: dict[HoldKey, HoldRow] = field(default_factory=dict[HoldKey, HoldRow])
    grants: dict[GrantKey, GrantRow] = field(default_factory=dict[GrantKey, GrantRow])

    new_stream: NewStream | None = None
    made_at_us: int = 0
    is_changed: bool = False
    is_fenced: bool = False
    """Something was appended under the epoch, so it must still be this one."""
    rows: list[EventRow] = field(default_factory=list[EventRow])
    new_keys: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    changed_accounts: set[AccountKey] = field(default_factory=set[AccountKey])
    changed_holds: dict[HoldKey, None] = field(default_factory=dict[HoldKey, None])
    changed_grants: dict[GrantKey, None] = field(default_factory=dict[GrantKey, None])
    outbox: list[OutboxItem] = field(default_factory=list[OutboxItem])
    summary: StreamSummary | None = None
    wake_at_us: int | None = None
    wake_while_leased_at_us: int | None = None
    """Of the wakes those that `release` would not learn of from the rows."""

    def decide(self, order: Order, now_us: int) -> Decided:
        """Carry out one append, or say why not; then nothing of it is left."""
        try:
            if order.stream is not None:
                return self._create(order, order.stream, now_us)
            return self._append(order, now_us)
        except RemitError as refusal:
            return refusal

    def _create(self, order: Order, stream: NewStream, now_us: int) -> Decided:
        if self.is_there:
            self._require_there(order)
            return Repeated(1, self.created_seq, self.head_seq)
        self.workspace_id = order.workspace_id
        appended = self._carry_out(order.append, now_us)
        self.is_there, self.new_stream, self.made_at_us = True, stream, now_us
        self.created_seq = self.head_seq
        self.summary = order.append.summary or stream.summary
        return appended

    def _append(self, order: Order, now_us: int) -> Decided:
        append = order.append
        self._require_there(order)
        if append.events and append.events[0].key is not None:
            first_time = self.keys.get(append.events[0].key)
            if first_time is not None:
                return Repeated(*first_time, self.head_seq)
        if append.epoch is not None and append.epoch != self.epoch:
            raise LeaseLost(
                f"{self.stream_id!r} is at epoch {self.epoch}, not {append.epoch}: another worker owns it."
            )
        if append.expected_seq is not None and append.expected_seq != self.head_seq:
            raise position_conflict(self.stream_id, self.head_seq, append.expected_seq)
        appended = self._carry_out(append, now_us)
        self.is_fenced = self.is_fenced or append.epoch is not None
        return appended

    def _require_there(self, order: Order) -> None:
        if not self.is_there or self.is_deleted or self.workspace_id != order.workspace_id:
            raise no_such_stream(self.stream_id)

    def _carry_out(self, append: Append, now_us: int) -> Appended:
        """Everything that can refuse comes first."""
        keys, public_ids = self._new_names(append)
        seq = self.head_seq + len(append.events)
        needed = rows_needed(append.effects)
        changed = apply_effects(
            LedgerRows(
                accounts=tuple(self.accounts.values()),
                holds=tuple(self.holds[key] for key in needed.holds if key in self.holds),
                grants=tuple(self.grants[key] for key in needed.grants if key in self.grants),
            ),
            append.effects,
            stream_id=self.stream_id,
            seq=seq,
            now_us=now_us,
        )
        made_at_us = append.at_us if append.at_us is not None else now_us
        rows = tuple(
            provisional(
                append.events,
                workspace_id=self.workspace_id,
                stream_id=self.stream_id,
                after_seq=self.head_seq,
                at_us=made_at_us,
            )
        )
        for key in keys:
            self.keys[key] = (self.head_seq + 1, seq)
            self.new_keys.append((key, self.head_seq + 1, seq))
        self.public_ids |= public_ids
        self.rows += rows
        self.head_seq = seq
        for account in changed.accounts:
            self.accounts[account_key(account)] = account
            self.changed_accounts.add(account_key(account))
        for hold in changed.holds:
            self.holds[hold_key(hold)] = hold
            self.changed_holds[hold_key(hold)] = None
        for grant in changed.grants:
            self.grants[grant_key(grant)] = grant
            self.changed_grants[grant_key(grant)] = None
        self.outbox += append.outbox
        self.summary = append.summary or self.summary
        self._wake(append, now_us)
        self.is_changed = True
        return Appended(rows=rows, head_seq=seq)

    def _new_names(self, append: Append) -> tuple[list[str], set[str]]:
        keys: list[str] = []
        public_ids: set[str] = set()
        for event in append.events:
            if event.key is not None:
                if event.key in self.keys or event.key in keys:
                    raise Conflict(f"Key {event.key!r} is used already in {self.stream_id!r}.")
                keys.append(event.key)
            if event.visibility == "public":
                if event.event_id in self.public_ids or event.event_id in public_ids:
                    raise Conflict(f"{self.stream_id!r} has a public event {event.event_id!r} already.")
                public_ids.add(event.event_id)
        return keys, public_ids

    def _wake(self, append: Append, now_us: int) -> None:
        """While a stream is leased, `release` learns of new rows by their positions; a wake for now would only cause
        a useless turn when the holder has seen them already."""
        at_us = append.wake_at_us
        if at_us is None:
            return
        self.wake_at_us = _earlier(self.wake_at_us, at_us)
        if not append.events or at_us > now_us:
            self.wake_while_leased_at_us = _earlier(self.wake_while_leased_at_us, at_us)


def no_such_stream(stream_id: str) -> NotFound:
    """The same answer for an unknown stream, a deleted one, and another workspace's."""
    return NotFound(f"No stream {stream_id!r} in this workspace.")


def position_conflict(stream_id: str, head_seq: int, expected_seq: int) -> SequenceConflict:
    """The stream has moved on."""
    return SequenceConflict(f"{stream_id!r} is at position {head_seq}, not {expected_seq}: read it again.")


def _earlier(first_us: int | None, second_us: int) -> int:
    return second_us if first_us is None else min(first_us, second_us)
