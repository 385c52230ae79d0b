"""Sessions as a kind of stream."""

from __future__ import annotations

from typing import cast

from remit.clock import parse_rfc3339
from remit.schema import sessions, streams
from remit.session import checkpoints
from remit.session.folding import fold
from remit.session.rows import ROWS
from remit.session.state import SessionState
from remit.session.why import explain_session
from remit.sessions.wire import to_wire
from remit.streams.kinds import Sight, StreamKind
from remit.streams.waiting import Why
from remit.streams.writer import StreamWriter
from remit.values import JsonObject, StreamSummary

SessionWriter = StreamWriter[SessionState]


def summarize(state: SessionState) -> StreamSummary:
    """The columns that a list of sessions shows."""
    return StreamSummary(
        status=state.status,
        title=state.title,
        agent_id=cast("str | None", state.agent.get("id")),
        agent_version=cast("int | None", state.agent.get("version")),
        archived_at_us=None if state.archived_at is None else parse_rfc3339(state.archived_at),
    )


def _payer(state: SessionState) -> str | None:
    """The key that opened it; older logs do not say which."""
    paid_by = state.created.get("paid_by")
    return paid_by if isinstance(paid_by, str) else None


async def _view(sight: Sight[SessionState]) -> JsonObject:
    return to_wire(sight.state, sight.head, now_us=sight.now_us)


def _derive(session_id: str, state: SessionState) -> JsonObject:
    return {
        "title": state.title,
        "metadata": dict(state.metadata),
        "agent": state.agent,
        "environment_id": state.environment_id,
        "budget": state.budget,
        "archived_at": state.archived_at,
    }


async def _explain(sight: Sight[SessionState]) -> Why:
    rows = await sight.rows()
    accounts = await sight.store.accounts(sight.principal, sight.head.stream_id)
    return explain_session(rows, sight.head, accounts, now_us=sight.now_us)


SESSION = StreamKind[SessionState](
    names=streams.SESSION,
    event_prefix="sevt",
    rows=ROWS,
    start=SessionState,
    fold=fold,
    folds_in_place=True,
    summarize=summarize,
    stored=checkpoints,
    payer=_payer,
    is_gone=lambda state: state.is_deleted,
    busy_statuses=("running", "rescheduling"),
    view=_view,
    operations=sessions.OPERATIONS,
    has_own_events=True,
    derive=_derive,
    explain=_explain,
)
