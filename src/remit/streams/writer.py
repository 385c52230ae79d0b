"""The one writer of a stream: appends under its lease's epoch and keeps the fold up to date.

Rows from outside may come between two appends; they are folded in their place, so the state always equals the fold of
the log up to `state.seq`, with buffered rows at the end of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from msgspec.structs import replace

from remit.clock import Clock
from remit.errors import LeaseLost, SequenceConflict
from remit.ids import Ids
from remit.interfaces import LiveBus, SessionStore
from remit.shielded import run_shielded
from remit.streams.deciding import decide
from remit.streams.kinds import S, StreamKind
from remit.streams.reading import read_on
from remit.streams.rows import Body, Draft, NewRow, RowBody, provisional, stamp
from remit.values import (
    Append,
    Appended,
    Effect,
    JsonValue,
    Lease,
    LiveItem,
    NewEvent,
    OutboxItem,
    Principal,
    Settle,
    StreamSummary,
)

BUFFERED_TICKS = 12
"""Turns of the event loop that buffered rows wait for an append to go with. Going on from a model's answer or a tool's
result to the next append takes half of them; whatever waits for a disk, a network or a clock takes more."""


@dataclass
class _Buffered:
    """Rows that are folded and not yet durable."""

    at_us: int
    events: tuple[NewEvent, ...] = ()
    effects: tuple[Effect, ...] = ()
    summary: StreamSummary | None = None


class StreamWriter(Generic[S]):
    """Append and fold. Every append may raise LeaseLost (stop at once), HoldRefused, StoreUnavailable."""

    def __init__(
        self,
        kind: StreamKind[S],
        *,
        store: SessionStore,
        bus: LiveBus,
        clock: Clock,
        ids: Ids,
        lease: Lease,
        is_fenced: Callable[[], bool],
        state: S | None = None,
    ) -> None:
        """`state`: a fold of the log to go on from."""
        self.kind = kind
        self.store = store
        self.clock = clock
        self.ids = ids
        self.lease = lease
        self.state = kind.start() if state is None else state
        self.durable_seq = self.state.seq
        """The last row of the state that is durable; what is folded beyond it is buffered."""
        self._bus = bus
        self._is_fenced = is_fenced
        self._lock = asyncio.Lock()
        self._buffered: _Buffered | None = None
        self._needs_rebuild = False
        """Reading the log anew was cut."""
        self._has_waited = asyncio.Event()
        self._ticks_left = 0

    @property
    def principal(self) -> Principal:
        """The worker, paying as whoever the kind says pays."""
        lease = self.lease
        return Principal(
            workspace_id=lease.workspace_id,
            actor=lease.owner,
            kind="worker",
            pays_as=self.kind.payer(self.state),
        )

    @property
    def stream_id(self) -> str:
        return self.lease.stream_id

    @property
    def epoch(self) -> int:
        return self.lease.epoch

    def require_lease(self) -> None:
        """Raise LeaseLost when it was not renewed in time: before what no append fences."""
        if self._is_fenced():
            raise LeaseLost(f"{self.lease.owner!r} has not renewed its lease on {self.stream_id!r} in time.")

    def new(self, row: Body) -> Body:
        """The row with an id, for whoever needs that before it is appended."""
        return replace(row, id=self.ids.new(self.kind.event_prefix))

    def row(self, type: str, /, **fields: JsonValue) -> RowBody:
        """A row of a registered type with a new id, for whoever knows the type by its name alone."""
        return self.kind.rows.make(type, id=self.ids.new(self.kind.event_prefix), **fields)

    async def append(
        self,
        *new: NewRow,
        effects: Sequence[Effect] = (),
        outbox: Sequence[OutboxItem] = (),
        summary: StreamSummary | None = None,
    ) -> None:
        """Make rows durable, after those that are buffered and in one transaction with them; fold them, tell the readers."""
        async with self._lock:
            await self._rebuild_if_needed()
            await self._append(new, tuple(effects), tuple(outbox), summary)

    async def buffer(
        self,
        *new: NewRow,
        effects: Sequence[Settle] = (),
        summary: StreamSummary | None = None,
    ) -> None:
        """Fold rows now; the next append makes them durable, or `keep_flushing` does when none follows at once.

        For rows that say what is over (an answer came, input is taken): whatever begins because of them is itself
        appended before it begins, and dying before that is dying before they were written. Nobody hears of them earlier.
        """
        async with self._lock:
            await self._rebuild_if_needed()
            buffered = self._buffered = self._buffered or _Buffered(at_us=self.clock.now_us())
            stamped = self._stamped(new)
            self.state = self._folded_ahead(stamped, buffered.at_us)
            buffered.events += stamped
            buffered.effects += tuple(effects)
            buffered.summary = summary or buffered.summary
        self._flush_soon()

    async def flush(self) -> None:
        """Make what is buffered durable now."""
        async with self._lock:
            await self._rebuild_if_needed()
            if self._buffered is not None:
                await self._append((), (), (), None)

    @property
    def has_buffered_settlements(self) -> bool:
        """Return whether the store's accounts still show holds as open that are over."""
        return self._buffered is not None and bool(self._buffered.effects)

    async def keep_flushing(self) -> None:
        """Run beside the work: flush whenever it waits for something else than an append."""
        while True:
            await self._has_waited.wait()
            self._has_waited.clear()
            await self.flush()

    async def catch_up(self) -> None:
        """Fold what others appended. While rows are buffered that shows when they are made durable."""
        async with self._lock:
            await self._rebuild_if_needed()
            if self._buffered is None:
                await self._catch_up()

    def live(self, frame_type: str, frame: bytes, *, thread_id: str | None = None) -> None:
        """Show a frame that is not durable."""
        self._bus.publish(
            LiveItem(stream_id=self.stream_id, frame=frame, frame_type=frame_type, thread_id=thread_id)
        )

    # ----------------------------------------------------------------------------------------- appending

    async def _append(
        self,
        new: Sequence[NewRow],
        effects: tuple[Effect, ...],
        outbox: tuple[OutboxItem, ...],
        summary: StreamSummary | None,
    ) -> None:
        buffered, self._buffered = self._buffered, None
        before = buffered or _Buffered(at_us=0)
        # Columns that are made of the state go in only with the row that is next in it.
        has_columns = buffered is None and summary is None and not self.kind.folds_in_place
        answers: list[Appended] = []

        async def attempt() -> Appended:
            stamped = self._stamped(new)
            append = Append(
                stream_id=self.stream_id,
                events=(*before.events, *stamped),
                epoch=self.epoch,
                expected_seq=self.durable_seq if has_columns else None,
                effects=(*before.effects, *effects),
                outbox=outbox,
                summary=summary or self._summary_after(stamped) or before.summary,
                at_us=buffered.at_us if buffered is not None else None,
            )
            try:
                return await self.store.append(self.principal, append)
            except SequenceConflict:
                await self._catch_up()
                raise

        async def ask() -> None:
            answers.append(await decide(attempt))

        try:
            # To its end, also when we are cancelled: rows that came after whoever closes the turn has looked would be
            # there beside those that close it.
            cancellation = await run_shielded(ask())
        except BaseException:
            # Refused as a whole; what was buffered is not the reason, and goes with the next one.
            self._buffered = buffered
            if buffered is not None:
                self._flush_soon()
            raise
        rows = answers[0].rows
        if rows and rows[0].seq == self.durable_seq + 1:
            self.state = self.kind.fold(rows[len(before.events) :], self.state)
            self.durable_seq = self.state.seq
        elif buffered is not None:
            await self._rebuild()
        else:
            await self._catch_up()
        if rows and not answers[0].is_duplicate:
            self._bus.publish(LiveItem(stream_id=self.stream_id, rows=rows))
        if cancellation is not None:
            raise cancellation
        # A process that stood still in the meantime must not act on what it wrote: another may have taken over.
        self.require_lease()

    def _stamped(self, new: Sequence[NewRow]) -> tuple[NewEvent, ...]:
        last_us = self.state.last_processed_us
        now_us = self.clock.now_us()
        rows: list[NewEvent] = []
        for row in new:
            match row:
                case NewEvent():
                    rows.append(row)
                case Draft():
                    last_us = max(last_us, now_us if row.not_before_us is None else row.not_before_us)
                    rows.append(row.encode(last_us))
                case _:
                    if row.visibility == "public":
                        last_us = max(last_us, now_us)
                    rows.append(stamp(row, last_us, self.kind.event_prefix, self.ids))
        return tuple(rows)

    def _folded_ahead(self, events: tuple[NewEvent, ...], at_us: int) -> S:
        """The state with rows that are not durable."""
        rows = provisional(
            events,
            workspace_id=self.lease.workspace_id,
            stream_id=self.stream_id,
            after_seq=self.state.seq,
            at_us=at_us,
        )
        return self.kind.fold(rows, self.state)

    def _summary_after(self, events: tuple[NewEvent, ...]) -> StreamSummary | None:
        """The summary goes into the same transaction as what it tells of, where the state can be had before that."""
        if self.kind.folds_in_place:
            return None
        return self.kind.summarize(self._folded_ahead(events, self.clock.now_us()))

    # --------------------------------------------------------------------------------- buffered rows, reading

    def _flush_soon(self) -> None:
        is_ticking = self._ticks_left > 0
        self._ticks_left = BUFFERED_TICKS
        if not is_ticking:
            asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        if self._buffered is None:
            self._ticks_left = 0
            return
        self._ticks_left -= 1
        if self._ticks_left > 0:
            asyncio.get_running_loop().call_soon(self._tick)
        else:
            self._has_waited.set()

    async def _rebuild_if_needed(self) -> None:
        if self._needs_rebuild:
            await self._rebuild()

    async def _rebuild(self) -> None:
        """What was folded ahead is not what came: rows from outside lie before it, or it is not there. Rare, so the whole
        log is read rather than a way kept to take rows back."""
        self._needs_rebuild = True
        fresh = await self._read_on(self.kind.start())
        if self.kind.folds_in_place:
            vars(self.state).clear()
            vars(self.state).update(vars(fresh))
        else:
            self.state = fresh
        self.durable_seq = self.state.seq
        self._needs_rebuild = False

    async def _catch_up(self) -> None:
        self.state = await self._read_on(self.state)
        self.durable_seq = self.state.seq

    async def _read_on(self, state: S) -> S:
        async for rows in read_on(self.store, self.principal, self.stream_id, after_seq=state.seq):
            state = self.kind.fold(rows, state)
        return state
