"""The one writer of a session: appends under its lease's epoch and keeps the fold up to date.

Rows from outside may come between two appends; they are folded in their place, so the state always equals the fold of
the log up to `state.seq`, with staged rows at the end of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from remit.clock import Clock
from remit.errors import LeaseLost
from remit.ids import Ids
from remit.interfaces import LiveBus, SessionStore
from remit.resources.rows import read_on
from remit.session import events
from remit.session.events import Draft
from remit.session.folding import fold
from remit.session.state import SessionState
from remit.shielded import carry_through
from remit.values import (
    Append,
    Appended,
    Effect,
    EventRow,
    JsonObject,
    JsonValue,
    Lease,
    LiveItem,
    NewEvent,
    OutboxItem,
    Principal,
    Settle,
    StreamSummary,
)

STAGED_TICKS = 12
"""Turns of the event loop that staged rows wait for an append to go with. Going on from a model's answer or a tool's
result to the next append takes half of them; whatever waits for a disk, a network or a clock takes more."""


@dataclass
class _Staged:
    """Rows that are folded and not yet durable."""

    at_us: int
    events: tuple[NewEvent, ...] = ()
    effects: tuple[Effect, ...] = ()
    summary: StreamSummary | None = None


class SessionWriter:
    """Append and fold. Every append may raise LeaseLost (stop at once), HoldRefused, StoreUnavailable."""

    def __init__(
        self,
        *,
        store: SessionStore,
        bus: LiveBus,
        clock: Clock,
        ids: Ids,
        lease: Lease,
        state: SessionState,
        is_fenced: Callable[[], bool],
    ) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self.lease = lease
        self.state = state
        self.durable_seq = state.seq
        """The last row of the state that is durable; what is folded beyond it is staged."""
        self._bus = bus
        self._is_fenced = is_fenced
        self._lock = asyncio.Lock()
        self._staged: _Staged | None = None
        self._is_astray = False
        """Reading the log anew was cut."""
        self._has_waited = asyncio.Event()
        self._ticks_left = 0

    @property
    def principal(self) -> Principal:
        """The worker, paying as the key that opened the session (older logs do not say which)."""
        paid_by, lease = self.state.created.get("paid_by"), self.lease
        return Principal(
            workspace_id=lease.workspace_id,
            actor=lease.owner,
            kind="worker",
            pays_as=paid_by if isinstance(paid_by, str) else None,
        )

    @property
    def session_id(self) -> str:
        return self.lease.stream_id

    @property
    def epoch(self) -> int:
        return self.lease.epoch

    def public(self, type: str, /, **fields: JsonValue) -> Draft:
        """A public event with a new id, stamped when it is appended."""
        return Draft(event_id=self.ids.new("sevt"), type=type, fields=fields)

    def private(self, type: str, /, **fields: JsonValue) -> NewEvent:
        """A private row."""
        return events.private(self.ids, type, fields)

    async def append(
        self,
        *new: NewEvent | Draft,
        effects: Sequence[Effect] = (),
        outbox: Sequence[OutboxItem] = (),
        summary: StreamSummary | None = None,
    ) -> None:
        """Make rows durable, after those that are staged and in one transaction with them; fold them, tell the readers."""
        async with self._lock:
            await self._come_back()
            await self._append(new, tuple(effects), tuple(outbox), summary)

    async def stage(
        self,
        *new: NewEvent | Draft,
        effects: Sequence[Settle] = (),
        summary: StreamSummary | None = None,
    ) -> None:
        """Fold rows now; the next append makes them durable, or `keep_settling` does when none follows at once.

        For rows that say what is over (an answer came, input is taken): whatever begins because of them is itself
        appended before it begins, and dying before that is dying before they were written. Nobody hears of them earlier.
        """
        async with self._lock:
            await self._come_back()
            staged = self._staged = self._staged or _Staged(at_us=self.clock.now_us())
            stamped = self._stamped(new)
            fold((self._foreseen(event, staged.at_us) for event in stamped), self.state)
            staged.events += stamped
            staged.effects += tuple(effects)
            staged.summary = summary or staged.summary
        self._settle_soon()

    async def settle(self) -> None:
        """Make what is staged durable now."""
        async with self._lock:
            await self._come_back()
            if self._staged is not None:
                await self._append((), (), (), None)

    @property
    def has_staged_settlements(self) -> bool:
        """Whether the store's accounts still show holds as open that are over."""
        return self._staged is not None and bool(self._staged.effects)

    async def keep_settling(self) -> None:
        """Run beside the work: settle whenever it waits for something else than an append."""
        while True:
            await self._has_waited.wait()
            self._has_waited.clear()
            await self.settle()

    def _settle_soon(self) -> None:
        is_ticking = self._ticks_left > 0
        self._ticks_left = STAGED_TICKS
        if not is_ticking:
            asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        if self._staged is None:
            self._ticks_left = 0
            return
        self._ticks_left -= 1
        if self._ticks_left > 0:
            asyncio.get_running_loop().call_soon(self._tick)
        else:
            self._has_waited.set()

    async def _append(
        self,
        new: Sequence[NewEvent | Draft],
        effects: tuple[Effect, ...],
        outbox: tuple[OutboxItem, ...],
        summary: StreamSummary | None,
    ) -> None:
        staged, self._staged = self._staged, None
        before = staged or _Staged(at_us=0)
        append = Append(
            stream_id=self.session_id,
            events=(*before.events, *self._stamped(new)),
            epoch=self.epoch,
            effects=(*before.effects, *effects),
            outbox=outbox,
            summary=summary or before.summary,
            at_us=staged.at_us if staged is not None else None,
        )
        answers: list[Appended] = []

        async def ask() -> None:
            answers.append(await self.store.append(self.principal, append))

        try:
            # To its end, also when we are cancelled: rows that came after whoever closes the turn has looked would be
            # there beside those that close it.
            cancellation = await carry_through(ask())
        except BaseException:
            # Refused as a whole; what was staged is not the reason, and goes with the next one.
            self._staged = staged
            if staged is not None:
                self._settle_soon()
            raise
        rows = answers[0].rows
        if rows and rows[0].seq == self.durable_seq + 1:
            fold(rows[len(before.events) :], self.state)
            self.durable_seq = self.state.seq
        elif staged is not None:
            await self._fold_anew()
        else:
            await self._catch_up()
        if rows:
            self._bus.publish(LiveItem(stream_id=self.session_id, rows=rows))
        if cancellation is not None:
            raise cancellation
        # A process that stood still in the meantime must not act on what it wrote: another may have taken over.
        if self._is_fenced():
            raise LeaseLost(f"{self.lease.owner!r} has not renewed its lease on {self.session_id!r} in time.")

    def _stamped(self, new: Sequence[NewEvent | Draft]) -> tuple[NewEvent, ...]:
        last_us = self.state.last_processed_us
        now_us = self.clock.now_us()
        rows: list[NewEvent] = []
        for event in new:
            if isinstance(event, Draft):
                wanted_us = event.not_before_us if event.not_before_us is not None else now_us
                last_us = max(last_us, wanted_us)
                rows.append(event.encode(last_us))
            else:
                rows.append(event)
        return tuple(rows)

    def _foreseen(self, event: NewEvent, at_us: int) -> EventRow:
        """The row as the store will make it, if no other comes first."""
        return EventRow(
            workspace_id=self.lease.workspace_id,
            stream_id=self.session_id,
            seq=self.state.seq + 1,
            event_id=event.event_id,
            type=event.type,
            visibility=event.visibility,
            schema_version=event.schema_version,
            created_at_us=at_us,
            body=event.body,
            thread_id=event.thread_id,
        )

    async def catch_up(self) -> None:
        """Fold what others appended. While rows are staged that shows when they are made durable."""
        async with self._lock:
            await self._come_back()
            if self._staged is None:
                await self._catch_up()

    async def _come_back(self) -> None:
        if self._is_astray:
            await self._fold_anew()

    async def _fold_anew(self) -> None:
        """What was foreseen is not what came: rows from outside lie before it, or it is not there. Rare, so the whole log
        is read rather than a way kept to take rows back."""
        self._is_astray = True
        fresh = SessionState()
        await self._read_into(fresh)
        vars(self.state).clear()
        vars(self.state).update(vars(fresh))
        self.durable_seq = self.state.seq
        self._is_astray = False

    async def _catch_up(self) -> None:
        await self._read_into(self.state)
        self.durable_seq = self.state.seq

    async def _read_into(self, state: SessionState) -> None:
        async for rows in read_on(self.store, self.principal, self.session_id, after_seq=state.seq):
            fold(rows, state)

    def live(self, frame_type: str, frame: bytes) -> None:
        """Show a frame that is not durable."""
        self._bus.publish(
            LiveItem(
                stream_id=self.session_id, frame=frame, frame_type=frame_type, thread_id=self.state.thread_id
            )
        )


def thread_of(state: SessionState) -> JsonObject:
    """The fields that every `session.thread_status_*` event of the primary thread carries."""
    return {"session_thread_id": state.thread_id, "agent_name": str(state.agent.get("name") or "")}


def tell_parent(
    writer: SessionWriter, type: str, about_event_id: str, fields: JsonObject
) -> tuple[OutboxItem, ...]:
    """Word for the stream this session works for, if any; goes into the same append as what it tells of."""
    parent = writer.state.parent_stream_id
    if parent is None:
        return ()
    body: JsonObject = {"session_id": writer.session_id, **fields}
    event = events.private(writer.ids, type, body, key=f"child:{writer.session_id}:{about_event_id}")
    return (OutboxItem(target_stream_id=parent, event=event),)
