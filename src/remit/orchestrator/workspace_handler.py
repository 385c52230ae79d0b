"""Workspaces as the worker sees them: a call whose process is gone is settled at its hold."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from remit.clock import Clock
from remit.gateway.direct_calls import LOOK_AFTER_SECONDS, STARTED, DirectCalls, settle_abandoned
from remit.interfaces import SessionStore
from remit.values import ANSWER_SECONDS_MAX, HandlerResult, HoldRow, JsonObject, Lease, Principal, StreamKind

GRACE_SECONDS = 300.0
"""For recording the end of a call that took as long as any may."""


EVERY_ROW = 2**62
"""Rows are no reason to come again: every call's start sets its own wake, or the stream would never rest."""


class WorkspaceHandler:
    """A StreamHandler for workspaces. Woken a while after every call's start."""

    kind: StreamKind = "workspace"

    def __init__(
        self, *, store: SessionStore, clock: Clock, calls: DirectCalls, owns_store: bool = True
    ) -> None:
        """`owns_store`: no other process can be making calls on this store now."""
        self._store = store
        self._clock = clock
        self._calls = calls
        self._owns_store = owns_store

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        principal = Principal(workspace_id=lease.workspace_id, actor=lease.owner, kind="worker")
        open_holds = await self._store.holds(principal, lease.stream_id, only_open=True)
        abandoned = [hold for hold in open_holds if await self._is_abandoned(principal, lease, hold)]
        await settle_abandoned(self._store, principal, abandoned)
        is_waiting = len(abandoned) < len(open_holds)
        wake_at_us = self._clock.now_us() + int(LOOK_AFTER_SECONDS * 1_000_000) if is_waiting else None
        return HandlerResult(seen_seq=EVERY_ROW, wake_at_us=wake_at_us)

    async def forget(self, stream_id: str) -> None:
        """Nothing is kept."""

    async def _is_abandoned(self, principal: Principal, lease: Lease, hold: HoldRow) -> bool:
        if hold.hold_id in self._calls.under_way:
            return False
        server = await self._server_of(principal, lease.stream_id, hold)
        if self._owns_store or server == self._calls.server:
            return True
        age_us = self._clock.now_us() - hold.created_at_us
        return age_us > int((ANSWER_SECONDS_MAX + GRACE_SECONDS) * 1_000_000)

    async def _server_of(self, principal: Principal, stream_id: str, hold: HoldRow) -> str | None:
        """The process that made the call, from the row that the hold came with."""
        rows = await self._store.read(principal, stream_id, after_seq=hold.seq - 1, limit=1)
        started = rows[0] if rows else None
        if started is None or started.type != STARTED:
            return None
        body: JsonObject = msgspec.json.decode(started.body)
        server = body.get("server")
        return server if isinstance(server, str) else None
