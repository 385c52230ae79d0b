"""The streams of one kind, as routes and parents act on them: read, make, change, and put input in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic

from remit.clock import Clock
from remit.ids import Ids
from remit.interfaces import Dispatcher, LiveBus, SessionStore
from remit.streams.deciding import decide, tell
from remit.streams.folds import Folds
from remit.streams.kinds import S, Sight, StreamKind
from remit.streams.rows import RowBody, provisional, stamp
from remit.values import (
    Append,
    Appended,
    Effect,
    EventRow,
    JsonObject,
    NewEvent,
    NewStream,
    Principal,
    StreamHead,
    StreamSummary,
    Value,
)


class StreamChange(Value, frozen=True, kw_only=True):
    """A decision about a stream from its fold: carried out only if that still is its fold."""

    rows: tuple[RowBody, ...] = ()
    effects: tuple[Effect, ...] = ()
    wake_at_us: int | None = None
    summary: StreamSummary | None = None
    """None: as the kind makes it of the rows, unless its fold is one in place."""


class Streams(Generic[S]):
    """The streams of one kind, without a lease: a worker appends through its StreamWriter."""

    def __init__(
        self,
        kind: StreamKind[S],
        *,
        store: SessionStore,
        bus: LiveBus,
        dispatcher: Dispatcher,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self.kind = kind
        self.folds = Folds(kind, store)
        self._store = store
        self._bus = bus
        self._dispatcher = dispatcher
        self._clock = clock
        self._ids = ids

    async def load(self, principal: Principal, stream_id: str) -> tuple[S, StreamHead]:
        """See Folds.load."""
        return await self.folds.load(principal, stream_id)

    async def sight(self, principal: Principal, stream_id: str) -> Sight[S]:
        """The stream as somebody looks at it. Raises NotFound."""
        state, head = await self.folds.load(principal, stream_id)
        return self.sight_of(principal, head, state)

    async def sight_any(self, principal: Principal, stream_id: str) -> Sight[S]:
        """Return the stream as somebody looks at it, also one whose deletion is recorded but not yet carried
        out."""
        loaded = await self.folds.load_all(principal, stream_id, with_deleted=True)
        return self.sight_of(principal, loaded.head, loaded.state)

    def sight_of(self, principal: Principal, head: StreamHead, state: S) -> Sight[S]:
        """Return the sight of what is read already."""
        return Sight(
            store=self._store,
            principal=principal,
            names=self.kind.names,
            head=head,
            state=state,
            now_us=self._clock.now_us(),
        )

    async def view(self, principal: Principal, stream_id: str) -> JsonObject:
        """Return the stream as the API shows it. Raises NotFound."""
        return await self.kind.view(await self.sight(principal, stream_id))

    async def view_of(self, principal: Principal, head: StreamHead) -> JsonObject:
        """Return the view of a stream whose row is read already."""
        return await self.kind.view(self.sight_of(principal, head, await self.folds.at(principal, head)))

    async def interrupt(self, principal: Principal, stream_id: str) -> None:
        """Interrupt what is under way; everything is kept. Raises NotFound."""
        assert self.kind.interruption is not None, (
            f"in streams of kind {self.kind.name!r} nothing is under way"
        )
        await self._put(principal, stream_id, self.kind.interruption(principal.actor, self._ids))

    async def create(
        self,
        principal: Principal,
        stream_id: str,
        *rows: RowBody,
        effects: Sequence[Effect] = (),
        wake_at_us: int | None = None,
        parent_stream_id: str | None = None,
    ) -> Appended:
        """Make a stream with its first rows; nothing if it exists. Raises HoldRefused, StoreUnavailable."""
        now_us = self._clock.now_us()
        events = tuple(stamp(row, now_us, self.kind.event_prefix, self._ids) for row in rows)
        state = self.kind.fold(self._provisional(principal, stream_id, events, 0, now_us), self.kind.start())
        stream = NewStream(
            stream_id=stream_id,
            kind=self.kind.name,
            parent_stream_id=parent_stream_id,
            summary=self.kind.summarize(state),
        )
        append = Append(stream_id=stream_id, events=events, effects=tuple(effects), wake_at_us=wake_at_us)
        appended = await self._store.create_stream(principal, stream, append)
        tell(self._bus, self._dispatcher, append, appended)
        return appended

    async def change(
        self,
        principal: Principal,
        stream_id: str,
        choose: Callable[[S], Awaitable[StreamChange | None]],
    ) -> Appended | None:
        """Carry out what is chosen from the fold, if that still is the fold; choose anew when the stream moved on. None:
        nothing was to be done. Raises NotFound, SequenceConflict, and what `choose` and the append raise."""

        async def attempt() -> Appended | None:
            state, _ = await self.folds.load(principal, stream_id)
            seq, last_us = state.seq, state.last_processed_us  # before `choose` lets a fold in place go on
            chosen = await choose(state)
            if chosen is None:
                return None
            at_us = max(self._clock.now_us(), last_us)
            events = tuple(stamp(row, at_us, self.kind.event_prefix, self._ids) for row in chosen.rows)
            summary = chosen.summary
            if summary is None and not self.kind.folds_in_place:
                rows = self._provisional(principal, stream_id, events, seq, at_us)
                summary = self.kind.summarize(self.kind.fold(rows, state))
            append = Append(
                stream_id=stream_id,
                events=events,
                expected_seq=seq,
                effects=chosen.effects,
                wake_at_us=chosen.wake_at_us,
                summary=summary,
            )
            appended = await self._store.append(principal, append)
            tell(self._bus, self._dispatcher, append, appended)
            return appended

        return await decide(attempt)

    async def receive(
        self, principal: Principal, stream_id: str, row: RowBody, *, key: str, expected_seq: int | None = None
    ) -> Appended:
        """Put input in, once per key, and have the stream taken up: its worker reads it at its own pace. Raises NotFound,
        and SequenceConflict where `expected_seq` is given."""
        event = stamp(row, self._clock.now_us(), self.kind.event_prefix, self._ids, key=key)
        return await self._put(principal, stream_id, event, expected_seq=expected_seq)

    async def _put(
        self, principal: Principal, stream_id: str, event: NewEvent, *, expected_seq: int | None = None
    ) -> Appended:
        append = Append(
            stream_id=stream_id,
            events=(event,),
            expected_seq=expected_seq,
            wake_at_us=self._clock.now_us(),
        )
        appended = await self._store.append(principal, append)
        tell(self._bus, self._dispatcher, append, appended)
        return appended

    @staticmethod
    def _provisional(
        principal: Principal, stream_id: str, events: Sequence[NewEvent], after_seq: int, at_us: int
    ) -> Iterator[EventRow]:
        return provisional(
            events,
            workspace_id=principal.workspace_id,
            stream_id=stream_id,
            after_seq=after_seq,
            at_us=at_us,
        )
