"""The invariant checker over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp

from remit.clock import parse_rfc3339
from remit.errors import NotFound
from remit.orchestrator.check import Expectations, check_stream
from remit.remits import state as remit_state
from remit.remits.log import summary_of
from remit.remits.receipt import make_receipt
from remit.remits.views import remit_log_view
from remit.resources.session_wire import to_wire
from remit.schema import inspection
from remit.schema.operation import NoQuery
from remit.server.remits import RemitRoutes
from remit.server.requests import json_response
from remit.server.routes import Call, handles
from remit.server.services import Services
from remit.session.folding import fold as fold_session
from remit.values import (
    EventRow,
    JsonObject,
    Principal,
    StreamKind,
    StreamSummary,
)


class CheckRoutes:
    """`/check` of sessions and remits."""

    def __init__(self, services: Services, *, remits: RemitRoutes) -> None:
        self._services = services
        self._remits = remits

    @handles(inspection.CHECK_SESSION)
    async def check_session(self, call: Call[None, NoQuery], session_id: str) -> ASGIApp:
        return await self._check(call.principal, session_id, "session")

    @handles(inspection.CHECK_REMIT)
    async def check_remit(self, call: Call[None, NoQuery], remit_id: str) -> ASGIApp:
        return await self._check(call.principal, remit_id, "remit")

    async def _check(self, principal: Principal, stream_id: str, kind: StreamKind) -> ASGIApp:
        services = self._services
        missing = NotFound(f"No {kind} {stream_id!r} in this workspace.")
        try:
            head = await services.sessions.head(principal, stream_id)
        except NotFound as error:
            raise missing from error
        if head.kind != kind:
            raise missing
        report = await check_stream(
            services.sessions,
            principal,
            stream_id,
            now_us=services.clock.now_us(),
            expectations=self.expectations(),
        )
        return json_response(report.to_wire())

    def expectations(self) -> dict[StreamKind, Expectations]:
        """What the checker compares with each kind's log."""
        services = self._services

        async def receipt(principal: Principal, remit_id: str) -> JsonObject:
            return await make_receipt(services.sessions, principal, remit_id, services.prices)

        async def serve_session(principal: Principal, session_id: str) -> JsonObject:
            state, head = await services.states.load(principal, session_id)
            return to_wire(state, head, now_us=services.clock.now_us())

        return {
            "remit": Expectations(
                summarize=lambda rows: summary_of(remit_state.fold(rows)),
                serve=self._remits.view,
                derive=lambda rows: remit_log_view(rows[0].stream_id, remit_state.fold(rows)),
                receipt=receipt,
            ),
            "session": Expectations(
                summarize=_summarize_session, serve=serve_session, derive=_derive_session
            ),
        }


def _summarize_session(rows: Sequence[EventRow]) -> StreamSummary:
    state = fold_session(rows)
    version = state.agent.get("version")
    return StreamSummary(
        status=state.status,
        title=state.title,
        agent_id=str(state.agent.get("id")),
        agent_version=version if isinstance(version, int) else None,
        archived_at_us=parse_rfc3339(state.archived_at) if state.archived_at is not None else None,
    )


def _derive_session(rows: Sequence[EventRow]) -> JsonObject:
    """What the log alone decides of a session, from a fresh fold."""
    state = fold_session(rows)
    return {
        "title": state.title,
        "metadata": dict(state.metadata),
        "agent": state.agent,
        "environment_id": state.environment_id,
        "budget": state.budget,
        "archived_at": state.archived_at,
    }
