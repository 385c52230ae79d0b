"""`/why` of sessions and remits: where they are and for whom they wait, from the log and the store's row alone."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from starlette.types import ASGIApp

from remit.errors import NotFound
from remit.remits.log import read_rows
from remit.remits.state import fold as fold_remit
from remit.remits.why import SessionFacts, explain_remit
from remit.schema import inspection
from remit.schema.operation import NoQuery
from remit.server.requests import json_response
from remit.server.routes import Call, handles
from remit.server.services import Services
from remit.session.waiting import Why
from remit.session.why import explain_session
from remit.values import EventRow, Principal, StreamHead, StreamKind


class _Log(NamedTuple):
    head: StreamHead
    rows: tuple[EventRow, ...]


class WhyRoutes:
    """Reads what is durable now; asks no worker and no sandbox."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handles(inspection.WHY_SESSION)
    async def session(self, call: Call[None, NoQuery], session_id: str) -> ASGIApp:
        services, principal = self._services, call.principal
        log = await self._read(principal, session_id, "session")
        accounts = await services.sessions.accounts(principal, log.head.stream_id)
        return _answer(explain_session(log.rows, log.head, accounts, now_us=services.clock.now_us()))

    @handles(inspection.WHY_REMIT)
    async def remit(self, call: Call[None, NoQuery], remit_id: str) -> ASGIApp:
        log = await self._read(call.principal, remit_id, "remit")
        session = await self._working_session(call.principal, log)
        return _answer(explain_remit(log.rows, log.head, session, now_us=self._services.clock.now_us()))

    async def _working_session(self, principal: Principal, remit: _Log) -> SessionFacts | None:
        for session_id in fold_remit(remit.rows).session_ids[-1:]:
            try:
                log = await self._read(principal, session_id, "session")
                accounts = await self._services.sessions.accounts(principal, session_id)
            except NotFound:
                # Decided and not made yet, or deleted: the remit's own log tells which.
                return None
            return SessionFacts(rows=log.rows, head=log.head, accounts=tuple(accounts))
        return None

    async def _read(self, principal: Principal, stream_id: str, kind: StreamKind) -> _Log:
        """The stream's row and its log up to there, so that one fits the other."""
        sessions = self._services.sessions
        missing = NotFound(f"No {kind} {stream_id!r} in this workspace.")
        try:
            head = await sessions.head(principal, stream_id)
            rows = await read_rows(sessions, principal, stream_id)
        except NotFound as error:
            raise missing from error
        if head.kind != kind:
            raise missing
        return _Log(head, tuple(row for row in rows if row.seq <= head.seq))


def _answer(why: Why) -> ASGIApp:
    return json_response({"type": "why", **msgspec.to_builtins(why)})
