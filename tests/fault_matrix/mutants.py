"""Platforms with a planted bug, each of which the matrix must catch. A bug stands between a platform and its store, as
what somebody might write there: nothing of the platform is patched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fault_matrix.process import Process
from fault_matrix.world import PRINCIPAL, WHATEVER_EPOCH, StoreMaker
from remit.errors import LeaseLost
from remit.values import (
    Append,
    Appended,
    EventRow,
    Hold,
    Lease,
    LiveItem,
    NewEvent,
    Principal,
    Settle,
    Visibility,
)


class Mutant:
    """A store that does one thing wrong. `store` is the right one as the process sees it, `bus` the process's."""

    def __init__(self, process: Process, store: Any, bus: Any) -> None:
        self.process = process
        self.store = store
        self.bus = bus

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


# ------------------------------------------------------------------------------------------------------ fence


class EpochNotChecked(Mutant):
    """Every append goes in under the epoch that the stream happens to have."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        return await self.store.append(principal, _unfenced(append))


class EpochCheckedBeforehand(Mutant):
    """The check is right, and a statement too early."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        if append.epoch is None:
            return await self.store.append(principal, append)
        head = await self.store.head(PRINCIPAL, append.stream_id)
        if head.epoch != append.epoch:
            raise LeaseLost("the epoch is stale")
        return await self.store.append(principal, _unfenced(append))


def _unfenced(append: Append) -> Append:
    return append if append.epoch is None else msgspec.structs.replace(append, epoch=WHATEVER_EPOCH)


class LeaseNotRenewed(Mutant):
    """Leases lapse in the middle of the work."""

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        return []


# ------------------------------------------------------------------------------------------------------- hold


class HoldReleasedAfterCrash(Mutant):
    """A call whose cost nobody knows is taken to have cost nothing."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        effects = tuple(
            msgspec.structs.replace(effect, amount=0, is_assumed=False)
            if isinstance(effect, Settle) and effect.is_assumed
            else effect
            for effect in append.effects
        )
        return await self.store.append(principal, msgspec.structs.replace(append, effects=effects))


class HoldAfterStart(Mutant):
    """The start is durable first, its hold a transaction later."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        holds = tuple(effect for effect in append.effects if isinstance(effect, Hold))
        if not holds or append.epoch is None:
            return await self.store.append(principal, append)
        rest = tuple(effect for effect in append.effects if not isinstance(effect, Hold))
        appended: Appended = await self.store.append(principal, msgspec.structs.replace(append, effects=rest))
        await self.store.append(
            principal, Append(stream_id=append.stream_id, epoch=append.epoch, effects=holds)
        )
        return appended


class SettledBeforeItEnds(Mutant):
    """What a call may cost is booked when it starts, so that nothing is held while it runs; what it did cost never."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        settled = tuple(
            Settle(hold_id=effect.hold_id, unit=effect.unit, amount=0)
            for effect in append.effects
            if isinstance(effect, Hold)
        )
        effects = tuple(effect for effect in append.effects if not isinstance(effect, Settle))
        return await self.store.append(
            principal, msgspec.structs.replace(append, effects=(*effects, *settled))
        )


# ----------------------------------------------------------------------------------------------------- cursor


class ResumesOneTooLate(Mutant):
    """Who comes back with a cursor misses the row after it."""

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
        rows: list[EventRow] = list(
            await self.store.read(
                principal,
                stream_id,
                after_seq=after_seq,
                limit=limit,
                bytes_max=bytes_max,
                visibility=visibility,
            )
        )
        return rows[1:] if visibility == "public" and after_seq > 0 else rows


class PublishedBeforeDurable(Mutant):
    """Readers are told, then it is written."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        if append.epoch is not None and append.events:
            head = await self.store.head(PRINCIPAL, append.stream_id)
            rows = tuple(
                _row(principal, append.stream_id, event, seq)
                for seq, event in enumerate(append.events, start=head.seq + 1)
            )
            self.bus.publish(LiveItem(stream_id=append.stream_id, rows=rows))
        return await self.store.append(principal, append)


def _row(principal: Principal, stream_id: str, event: NewEvent, seq: int) -> EventRow:
    return EventRow(
        workspace_id=principal.workspace_id,
        stream_id=stream_id,
        seq=seq,
        event_id=event.event_id,
        type=event.type,
        visibility=event.visibility,
        schema_version=event.schema_version,
        created_at_us=0,
        body=event.body,
    )


# ----------------------------------------------------------------------------------------------- wakes, inputs


class WakeLost(Mutant):
    """Whoever gives a lease up does not look for what came meanwhile."""

    async def release(
        self, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool = False
    ) -> None:
        await self.store.release(lease, seen_seq=2**62, wake_at_us=wake_at_us)


class TakenTwice(Mutant):
    """A receipt that was repeated is no duplicate: its key is another one every time."""

    async def append(self, principal: Principal, append: Append) -> Appended:
        messages = [event for event in append.events if event.type == "user.message"]
        again = tuple(
            msgspec.structs.replace(event, event_id=f"{event.event_id}x", body=_renamed(event))
            for event in messages
        )
        return await self.store.append(
            principal, msgspec.structs.replace(append, events=(*append.events, *again))
        )


def _renamed(event: NewEvent) -> bytes:
    return event.body.replace(event.event_id.encode(), f"{event.event_id}x".encode())


class StartedForgotten(Mutant):
    """Who takes over does not see that a tool was started, and starts it."""

    async def read(self, principal: Principal, stream_id: str, **named: Any) -> Sequence[EventRow]:
        rows: Sequence[EventRow] = await self.store.read(principal, stream_id, **named)
        return [_forgotten(row) if row.type == "tool.started" else row for row in rows]


def _forgotten(row: EventRow) -> EventRow:
    body = msgspec.json.encode({"id": row.event_id, "type": "harness.note", "name": "x", "value": None})
    return msgspec.structs.replace(row, type="harness.note", body=body)


class OutboxForgotten(Mutant):
    """What became due for another stream is taken for delivered."""

    async def outbox_due(self, limit: int) -> Sequence[Any]:
        due: Sequence[tuple[int, str, Any]] = await self.store.outbox_due(limit)
        await self.store.outbox_done([position for position, _, _ in due])
        return []


MUTANTS: dict[str, StoreMaker] = {
    "fence: epoch not checked": EpochNotChecked,
    "fence: epoch checked outside of the statement": EpochCheckedBeforehand,
    "fence: lease not renewed": LeaseNotRenewed,
    "hold: released after a crash": HoldReleasedAfterCrash,
    "hold: not in the transaction of the start": HoldAfterStart,
    "hold: settled before it ends": SettledBeforeItEnds,
    "cursor: off by one on resume": ResumesOneTooLate,
    "cursor: published before durable": PublishedBeforeDurable,
    "wake: lost on release": WakeLost,
    "input: taken twice": TakenTwice,
    "tool: started again after a crash": StartedForgotten,
    "outbox: forgotten": OutboxForgotten,
}
