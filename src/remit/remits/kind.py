"""Remits as a kind of stream."""

from __future__ import annotations

from remit.errors import NotFound
from remit.ids import Ids
from remit.remits.accounts import read_totals
from remit.remits.events import ROWS, Command, InputReceived
from remit.remits.state import RemitState, fold
from remit.remits.views import remit_log_view, remit_view
from remit.remits.why import SessionFacts, explain_remit
from remit.schema import remits, streams
from remit.streams.kinds import Sight, StreamKind
from remit.streams.reading import read_rows
from remit.streams.waiting import Why
from remit.streams.writer import StreamWriter
from remit.values import JsonObject, NewEvent, StreamSummary

RemitWriter = StreamWriter[RemitState]
TITLE_LENGTH_MAX = 120


def summarize(state: RemitState) -> StreamSummary:
    """The columns that a list of remits shows."""
    created = state.created
    lines = created.outcome.strip().splitlines() if created is not None else []
    title = lines[0][:TITLE_LENGTH_MAX] if lines else None
    return StreamSummary(
        status=state.status,
        title=title,
        agent_id=created.agent.id if created is not None else None,
        agent_version=created.agent.version if created is not None else None,
    )


async def _view(sight: Sight[RemitState]) -> JsonObject:
    state, remit_id = sight.state, sight.head.stream_id
    sums = await read_totals(sight.store, sight.principal, remit_id, state.session_ids)
    return remit_view(remit_id, state, sums)


async def _explain(sight: Sight[RemitState]) -> Why:
    rows = await sight.rows()
    return explain_remit(rows, sight.head, await _session_of(sight), now_us=sight.now_us)


async def _session_of(sight: Sight[RemitState]) -> SessionFacts | None:
    """None: decided and not made yet, or deleted; the remit's own log tells which."""
    store, principal = sight.store, sight.principal
    for session_id in sight.state.session_ids[-1:]:
        try:
            head = await store.head(principal, session_id)
            rows = await read_rows(store, principal, session_id)
            accounts = await store.accounts(principal, session_id)
        except NotFound:
            return None
        until = tuple(row for row in rows if row.seq <= head.seq)
        return SessionFacts(rows=until, head=head, accounts=tuple(accounts))
    return None


def _interruption(actor: str, ids: Ids) -> NewEvent:
    command = Command(id=ids.new("revt"), type="remit.interrupt", actor=actor)
    return InputReceived(id=command.id, event=command).as_row(key=command.id)


REMIT = StreamKind[RemitState](
    names=streams.REMIT,
    event_prefix="revt",
    rows=ROWS,
    start=RemitState,
    fold=fold,
    summarize=summarize,
    went_on_at_seq=lambda state: state.went_on_at_seq,
    busy_statuses=("verifying_input", "working", "paused"),
    interruption=_interruption,
    view=_view,
    operations=remits.OPERATIONS,
    derive=remit_log_view,
    explain=_explain,
)
