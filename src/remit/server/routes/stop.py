"""POST /v1/stop: interrupt everything of a workspace at once, and say what still runs, is billed or held."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import anyio

from remit.errors import NotFound
from remit.gateway.direct_calls import DirectCalls
from remit.gateway.workspace_stream import workspace_stream_id
from remit.ledger.caps import is_cap
from remit.remits.money import format_usd
from remit.schema import inspection
from remit.schema.operation import NoQuery
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.values import Page, Principal, StreamFilter, StreamHead

SECONDS_MAX = 1.8
"""After that the report says what is left; whoever asked has been promised two."""
POLL_SECONDS = 0.05
PAGE_LIMIT = 200


class StopRoutes:
    """Stop all of a workspace: remits, sessions, and model calls that somebody makes directly."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    @handles(inspection.STOP)
    async def stop(self, call: Call[None, NoQuery]) -> inspection.Stopped:
        """Stop all work and keep everything: what was interrupted goes on when somebody says so."""
        services, principal, clock = self._services, call.principal, self._services.clock
        deadline = clock.monotonic() + SECONDS_MAX
        stopped: dict[str, str | None] = {}
        cut = 0
        while True:
            heads = await self._running(principal)
            running = list(dict.fromkeys(head.stream_id for head in heads))
            for head in heads:  # what begins meanwhile is interrupted too
                kind = services.kinds[head.kind]
                is_at_work = head.summary.status in kind.busy_statuses or head.owner is None
                if is_at_work and head.stream_id not in stopped:
                    with suppress(NotFound):  # deleted since it was listed
                        await services.interrupts[head.kind](principal, head.stream_id)
                    stopped[head.stream_id] = head.parent_stream_id
            cut += self._calls.interrupt(principal.workspace_id)
            calls = self._calls.running(principal.workspace_id)
            held = await self._held(principal, tuple(stopped))
            is_quiet = not running and not calls and not any(held.values())
            if is_quiet or clock.monotonic() >= deadline:
                break
            with anyio.move_on_after(max(0.0, deadline - clock.monotonic())):
                await clock.sleep(POLL_SECONDS)
        return {
            "type": "stop",
            "workspace_id": principal.workspace_id,
            # A remit's session is told here too, since its remit may wait for a worker; it is named with its remit.
            "interrupted": [id for id, parent in stopped.items() if parent not in stopped],
            "calls_cut": cut,
            "running": running,
            "calls_running": calls,
            "held": {"usd": format_usd(held["nano_usd"]), "tokens": held["tokens"]},
            "nothing_runs": is_quiet,
        }

    async def _running(self, principal: Principal) -> list[StreamHead]:
        """What is at work, what a worker has, and what the next free one takes up: a session whose message nobody has read.
        Parents first: they interrupt their children, and start no more of them."""
        found: list[StreamHead] = []
        for kind in self._services.kinds:
            if not kind.busy_statuses:
                continue
            at_work = StreamFilter(kind=kind.name, statuses=kind.busy_statuses, include_archived=True)
            due = StreamFilter(kind=kind.name, due_by_us=self._services.clock.now_us())
            found += [*await self._list(principal, at_work), *await self._list(principal, due)]
        return found

    async def _list(self, principal: Principal, filter: StreamFilter) -> list[StreamHead]:
        found: list[StreamHead] = []
        position: tuple[int, str] | None = None
        while True:
            page = Page(limit=PAGE_LIMIT, position=position)
            heads = await self._services.sessions.list_streams(principal, filter, page)
            found += heads
            if len(heads) < PAGE_LIMIT:
                return found
            position = (heads[-1].created_at_us, heads[-1].stream_id)

    async def _held(self, principal: Principal, stream_ids: Sequence[str]) -> dict[str, int]:
        """What is set aside for calls; what caps hold for the same calls is not counted again."""
        held = {"nano_usd": 0, "tokens": 0}
        for stream_id in (workspace_stream_id(principal), *stream_ids):
            try:
                holds = await self._services.sessions.holds(principal, stream_id, only_open=True)
            except NotFound:
                continue
            for hold in holds:
                held[hold.unit] += 0 if is_cap(hold.purpose) else hold.amount
        return held
