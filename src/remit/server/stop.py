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
from remit.server.routes import Call, handles
from remit.server.services import Services
from remit.values import Page, Principal, StreamFilter

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
        """Everything is kept: what was interrupted goes on when somebody says so."""
        principal, clock = call.principal, self._services.clock
        deadline = clock.monotonic() + SECONDS_MAX
        stopped: dict[str, None] = {}
        cut = 0
        while True:
            running = await self._running(principal)
            for stream_id, kind in running.items():  # what begins meanwhile is interrupted too
                if stream_id not in stopped:
                    with suppress(NotFound):  # deleted since it was listed
                        await self._services.streams[kind].interrupt(principal, stream_id)
                    stopped[stream_id] = None
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
            "interrupted": list(stopped),
            "calls_cut": cut,
            "running": list(running),
            "calls_running": calls,
            "held": {"usd": format_usd(held["nano_usd"]), "tokens": held["tokens"]},
            "nothing_runs": is_quiet,
        }

    async def _running(self, principal: Principal) -> dict[str, str]:
        """By id the kind; parents first: they interrupt their children, and start no more of them."""
        found: dict[str, str] = {}
        for kind in self._services.kinds:
            if not kind.busy_statuses:
                continue
            position: tuple[int, str] | None = None
            while True:
                heads = await self._services.sessions.list_streams(
                    principal,
                    StreamFilter(kind=kind.name, statuses=kind.busy_statuses, include_archived=True),
                    Page(limit=PAGE_LIMIT, position=position),
                )
                found |= {head.stream_id: kind.name for head in heads}
                if len(heads) < PAGE_LIMIT:
                    break
                position = (heads[-1].created_at_us, heads[-1].stream_id)
        return found

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
