"""Kinds of streams, and the table of those a platform has.

Everything that treats streams of any kind alike (routes, ids, `why`, `check`, doctor, reach, telemetry, the worker) asks
this table; nothing asks for a kind by name. The kit lies below every kind it serves and can import none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from remit.clock import rfc3339
from remit.errors import NotFound
from remit.ids import Ids
from remit.interfaces import SessionStore
from remit.schema.stream_operations import StreamOperations
from remit.schema.streams import StreamNames
from remit.streams.reading import read_rows
from remit.streams.rows import RowTypes
from remit.streams.waiting import Reason, Why, attend, lease_sentence, why
from remit.values import (
    Checkpoint,
    EventRow,
    JsonObject,
    NewEvent,
    Principal,
    StreamHead,
    StreamSummary,
    Value,
)


class Folded(Protocol):
    """A state: the fields that every fold has."""

    @property
    def seq(self) -> int:
        """The last row taken into account; 0: none."""
        ...

    @property
    def last_processed_us(self) -> int:
        """The newest `processed_at`: the next one is not earlier."""
        ...


S = TypeVar("S", bound=Folded)


class StoredFolds(Protocol[S]):
    """Storage of a fold, to replay no long log. What is stored can be thrown away any time."""

    ROWS_MIN: int
    """A shorter log is folded as fast as a stored fold is read."""

    def is_due(self, seq: int, stored_seq: int) -> bool:
        """Return whether to store the fold at `seq`, the last one being at `stored_seq` (0: there is
        none)."""
        ...

    def encode(self, state: S) -> Checkpoint:
        """Encode the state for the store."""
        ...

    def decode(self, checkpoint: Checkpoint | None, *, is_whole: bool) -> S:
        """The fold to go on from; a new one where there is none that this version can use. Not whole: without what only
        a worker needs."""
        ...


class Sight(Value, Generic[S], frozen=True, kw_only=True):
    """A stream as somebody looks at it: its fold, its row, and where to read more."""

    store: SessionStore
    principal: Principal
    names: StreamNames
    head: StreamHead
    state: S
    now_us: int

    async def rows(self) -> tuple[EventRow, ...]:
        """Read the stream's log up to the row that `head` tells of. Raises NotFound."""
        rows = await read_rows(self.store, self.principal, self.head.stream_id)
        return tuple(row for row in rows if row.seq <= self.head.seq)


def nobody(state: object) -> str | None:
    """Return None: nobody in particular pays."""


def never(state: object) -> bool:
    """Return False."""
    return False


def at_no_row(state: object) -> int:
    """Return 0: a final row is final wherever it stands."""
    return 0


async def plain_view(sight: Sight[Any]) -> JsonObject:  # Any: of every state
    """The row of a stream, for a kind that has no more to show."""
    head = sight.head
    return {
        "id": head.stream_id,
        "type": head.kind,
        "status": head.summary.status,
        "title": head.summary.title,
        "created_at": rfc3339(head.created_at_us),
    }


async def plain_why(sight: Sight[Any]) -> Why:  # Any: as above
    """Explain by its row alone who works on a stream, for a kind that has no more to say."""
    head, path = sight.head, sight.names.path_of(sight.head.stream_id)
    found = attend(head, path, now_us=sight.now_us)
    if found is None:
        found = Reason(waits_for="worker", since_us=head.lease_until_us, sentences=(lease_sentence(head),))
    return why(found, head)


class StreamKind(Value, Generic[S], frozen=True, kw_only=True):
    """One kind. A platform serves it once it is in the table of kinds and a StreamHandler of its name carries it on."""

    names: StreamNames
    event_prefix: str
    """Of the ids of its rows."""
    rows: RowTypes
    start: Callable[[], S]
    """The state of an empty log."""
    fold: Callable[[Iterable[EventRow], S], S]
    """The state after more rows, in order. Any prefix folds, and folding in parts gives the same as at once."""
    folds_in_place: bool = False
    """The state changes as rows come, so that a long log costs nothing to go on from; whoever holds it sees it move. Its
    writer says itself when the summary changes; for all others it is written with every append."""
    summarize: Callable[[S], StreamSummary]
    """The columns that lists show."""
    stored: StoredFolds[S] | None = None
    payer: Callable[[S], str | None] = nobody
    """The key whose caps bind what its worker spends."""
    is_gone: Callable[[S], bool] = never
    """Its deletion is recorded, and perhaps not carried out yet."""
    went_on_at_seq: Callable[[S], int] = at_no_row
    """A final row before this one is not the end: it was opened again there, or is about to be."""
    busy_statuses: tuple[str, ...] = ()
    """In which something is under way that `POST /v1/stop` interrupts."""
    interruption: Callable[[str, Ids], NewEvent] | None = None
    """The keyed row by which an actor interrupts what is under way; everything is kept."""

    view: Callable[[Sight[S]], Awaitable[JsonObject]] = plain_view
    """The object that the API shows."""
    operations: StreamOperations[Any] | None = None  # Any: as which it is shown
    """The calls that the API has for it; None: those of a plain stream."""
    has_own_events: bool = False
    """Its events are listed and streamed by routes of its own."""
    derive: Callable[[str, S], JsonObject] | None = None
    """What of that the log alone decides: the checker compares it with what is served."""
    receipt: Callable[[Sight[S]], Awaitable[JsonObject]] | None = None
    """The bill, where there is one: the checker adds it up."""
    explain: Callable[[Sight[S]], Awaitable[Why]] = plain_why
    """Why it is where it is, for `/why`."""

    @property
    def name(self) -> str:
        """`session`."""
        return self.names.name

    @property
    def final(self) -> frozenset[str]:
        """Types of public rows that end a live stream."""
        return frozenset(self.names.final_types)

    def missing(self, stream_id: str) -> NotFound:
        """The answer to whoever asks for a stream of this kind that is not there."""
        return NotFound(f"No {self.name} {stream_id!r} in this workspace.")

    def fold_all(self, rows: Iterable[EventRow]) -> S:
        """The state of a whole log."""
        return self.fold(rows, self.start())


class StreamKinds:
    """The table of a platform; `app` makes it."""

    def __init__(self, kinds: Iterable[StreamKind[Any]]) -> None:
        """Each name, prefix and path once. Parents before their children: what is stopped is stopped in this order."""
        self._kinds = {kind.name: kind for kind in kinds}
        self._by_prefix = {kind.names.id_prefix: kind for kind in self._kinds.values()}
        assert len(self._by_prefix) == len(self._kinds), "a prefix is one kind's"

    def with_kind(self, kind: StreamKind[Any]) -> StreamKinds:
        """Return this table with one more kind, or with another in the place of the one of that name."""
        return StreamKinds({**self._kinds, kind.name: kind}.values())

    def __iter__(self) -> Iterator[StreamKind[Any]]:  # Any: of every state
        return iter(self._kinds.values())

    def __getitem__(self, name: str) -> StreamKind[Any]:
        return self._kinds[name]

    def get(self, name: str) -> StreamKind[Any] | None:
        """The kind; None for one that this platform does not have."""
        return self._kinds.get(name)

    @property
    def names(self) -> Sequence[str]:
        """Return the names of all kinds."""
        return tuple(self._kinds)

    @property
    def shown(self) -> Sequence[StreamKind[Any]]:
        """Return the kinds that the API shows."""
        return tuple(kind for kind in self if kind.names.path is not None)

    def of_id(self, id: str) -> StreamKind[Any] | None:
        """Return the kind whose ids begin as this one does."""
        return self._by_prefix.get(id.partition("_")[0])
