"""Workspaces as the worker sees them: a call whose process is gone is settled at its hold, and what it
held on caps as the call was."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from remit.clock import Clock
from remit.errors import NotFound
from remit.gateway.caps import Caps
from remit.gateway.direct_calls import LOOK_AFTER_SECONDS, DirectCalls, settle_abandoned
from remit.gateway.workspace_rows import CapHeld, DirectCallStarted
from remit.interfaces import SessionStore
from remit.ledger.caps import is_cap
from remit.values import (
    ANSWER_SECONDS_MAX,
    HandlerResult,
    HoldRow,
    JsonObject,
    Lease,
    Principal,
    Settle,
)

GRACE_SECONDS = 300.0
"""For recording the end of a call that took as long as any may."""


EVERY_ROW = 2**62
"""Rows are no reason to come again: every call's start sets its own wake, or the stream would never rest."""


class WorkspaceHandler:
    """A StreamHandler for workspaces. Woken a while after every call's start."""

    kind: str = "workspace"

    def __init__(
        self, *, store: SessionStore, clock: Clock, calls: DirectCalls, caps: Caps, owns_store: bool
    ) -> None:
        """`owns_store`: no other process can be making calls on this store now."""
        self._store = store
        self._clock = clock
        self._calls = calls
        self._caps = caps
        self._owns_store = owns_store

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        principal = Principal(workspace_id=lease.workspace_id, actor=lease.owner, kind="worker")
        open_holds = await self._store.holds(principal, lease.stream_id, only_open=True)
        own = [hold for hold in open_holds if not is_cap(hold.purpose)]
        abandoned = [hold for hold in own if await self._is_abandoned(principal, lease, hold)]
        await settle_abandoned(self._store, principal, abandoned)
        on_caps = [hold for hold in open_holds if is_cap(hold.purpose)]
        is_waiting = len(abandoned) < len(own) or await self._settle_caps(principal, lease, on_caps)
        wake_at_us = self._clock.now_us() + int(LOOK_AFTER_SECONDS * 1_000_000) if is_waiting else None
        return HandlerResult(seen_seq=EVERY_ROW, wake_at_us=wake_at_us)

    async def forget(self, stream_id: str) -> None:
        """Do nothing: no state is kept."""

    async def _settle_caps(self, principal: Principal, lease: Lease, holds: Sequence[HoldRow]) -> bool:
        """Settle holds on caps as the calls behind them were, where whoever made those is gone; whether some are left."""
        by_start: dict[int, list[HoldRow]] = {}
        for hold in holds:
            by_start.setdefault(hold.seq, []).append(hold)
        is_waiting = False
        for seq, held in by_start.items():
            body = await self._row_at(principal, lease.stream_id, seq, CapHeld.type_name())
            call_id = str(body["call_id"]) if body is not None else held[0].hold_id.partition("/")[0]
            if call_id in self._caps.under_way:
                is_waiting = True
                continue
            stream_id = str(body["stream_id"]) if body is not None else lease.stream_id
            behind = [
                hold for hold in await self._store.holds(principal, stream_id) if hold.hold_id == call_id
            ]
            is_old = self._age_seconds(held[0]) > ANSWER_SECONDS_MAX + GRACE_SECONDS
            if any(hold.state == "open" for hold in behind) or not (self._owns_store or is_old):
                is_waiting = True
                continue
            if not behind and stream_id != lease.stream_id and not await self._is_there(principal, stream_id):
                # Deleted with what it says of the call: nobody knows what that cost.
                unknown = [
                    Settle(hold_id=hold.hold_id, unit=hold.unit, amount=hold.amount, is_assumed=True)
                    for hold in held
                ]
                await self._caps.settle(principal, call_id, held, unknown)
                continue
            settled = {hold.unit: hold for hold in behind}
            settlements = [
                Settle(
                    hold_id=hold.hold_id,
                    unit=hold.unit,
                    amount=0 if (real := settled.get(hold.unit)) is None else real.settled or 0,
                    is_assumed=real is not None and real.state == "assumed",
                )
                for hold in held
            ]
            await self._caps.settle(principal, call_id, held, settlements)
        return is_waiting

    async def _is_there(self, principal: Principal, stream_id: str) -> bool:
        try:
            await self._store.head(principal, stream_id)
        except NotFound:
            return False
        return True

    async def _is_abandoned(self, principal: Principal, lease: Lease, hold: HoldRow) -> bool:
        if hold.hold_id in self._calls.under_way:
            return False
        server = await self._server_of(principal, lease.stream_id, hold)
        if self._owns_store or server == self._calls.server:
            return True
        return self._age_seconds(hold) > ANSWER_SECONDS_MAX + GRACE_SECONDS

    def _age_seconds(self, hold: HoldRow) -> float:
        return (self._clock.now_us() - hold.created_at_us) / 1_000_000

    async def _server_of(self, principal: Principal, stream_id: str, hold: HoldRow) -> str | None:
        """The process that made the call, from the row that the hold came with."""
        body = await self._row_at(principal, stream_id, hold.seq, DirectCallStarted.type_name())
        server = None if body is None else body.get("server")
        return server if isinstance(server, str) else None

    async def _row_at(self, principal: Principal, stream_id: str, seq: int, type: str) -> JsonObject | None:
        """The body of the row that a hold came with."""
        rows = await self._store.read(principal, stream_id, after_seq=seq - 1, limit=1)
        return msgspec.json.decode(rows[0].body) if rows and rows[0].type == type else None
