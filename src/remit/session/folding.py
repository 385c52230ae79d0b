"""`fold(rows)` derives a session's state from its log. Pure; the rows are in `rows`, and listed in design/log.md.

Any prefix of a log folds, and `fold(b, fold(a))` equals `fold(a + b)`. Unknown types are passed over, so that a newer
log can be read by an older program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec
from msgspec import UNSET

from remit.clock import parse_rfc3339, rfc3339
from remit.session import machine_folding, machine_rows, rows, turn_folding, turn_rows
from remit.session.sendable import text_block
from remit.session.state import STOPS_CONTINUED, Outcome, SessionState, TurnCounters
from remit.session.turn_folding import update_evaluation
from remit.session.web import USER_INPUT
from remit.streams.rows import RowBody
from remit.values import EventRow, JsonObject


def fold(log: Iterable[EventRow], state: SessionState | None = None) -> SessionState:
    """Apply rows in order to `state` (changed in place) or to a new one."""
    folded = state if state is not None else SessionState()
    for row in log:
        _apply(folded, row)
    return folded


class _Stamp(msgspec.Struct):
    processed_at: str | None = None


_stamp = msgspec.json.Decoder(_Stamp).decode
"""All that is read of a public row that changes nothing else."""


def _apply(state: SessionState, row: EventRow) -> None:
    """Take one more row into account."""
    state.seq = row.seq
    handler = _BY_TYPE.get(row.type)
    body = rows.ROWS.decode(row) if handler is not None else None
    if row.visibility == "public":
        for known in (state.pending, state.received_at_us, state.batches, state.emptying):
            known.pop(row.event_id, None)
        processed_at = body.stamped_at if body is not None else _stamp(row.body).processed_at
        if processed_at is not None:
            state.last_processed_us = max(state.last_processed_us, parse_rfc3339(processed_at))
    if handler is not None:
        handler(state, row, body)


def _created(state: SessionState, row: EventRow, body: rows.SessionCreated) -> None:
    session = body.session
    state.session_id = row.stream_id
    state.workspace_id = row.workspace_id
    state.created = cast("JsonObject", msgspec.json.decode(row.body))
    state.title = cast("str | None", session.get("title"))
    state.metadata = cast("JsonObject", session.get("metadata") or {})
    state.budget = cast("JsonObject | None", session.get("budget"))
    state.agent = body.agent
    state.environment_id = body.environment_id or ""
    state.thread_id = body.thread_id
    state.created_at = state.updated_at = rfc3339(row.created_at_us)
    state.last_processed_us = row.created_at_us
    for resource in body.resources or []:
        state.resources[str(resource["id"])] = resource
    state.files.update(body.files or {})


def _updated(state: SessionState, row: EventRow, body: rows.SessionUpdated) -> None:
    if body.title is not UNSET:
        state.title = body.title
    if body.metadata is not UNSET:
        state.metadata = body.metadata
    if body.agent is not UNSET:
        before, state.agent = state.agent, body.agent
        if state.agent["tools"] != before["tools"]:
            state.history.drop_thinking()
    if body.budget is not UNSET:
        state.budget = body.budget
        if state.stop_reason is not None and state.stop_reason.get("type") == "budget_reached":
            state.may_resume = True
    state.updated_at = str(body.processed_at)


def _metadata_cleared(state: SessionState, row: EventRow, body: rows.SessionMetadataCleared) -> None:
    state.metadata = {}


def _received(state: SessionState, row: EventRow, body: rows.SessionInputReceived) -> None:
    state.pending[row.event_id] = body.event
    state.received_at_us[row.event_id] = row.created_at_us
    if body.batch is not UNSET:
        state.batches[row.event_id] = body.batch
    if body.is_emptying:
        state.emptying[row.event_id] = True


def _running(state: SessionState, row: EventRow, body: rows.SessionStatusRunning) -> None:
    if state.status == "idle":
        state.turn = TurnCounters()
    state.status = "running"
    state.may_resume = False
    state.stop_reason = state.stop_details = None
    state.updated_at = str(body.processed_at)
    if state.running_since_us is None:
        state.running_since_us = row.created_at_us
    update_evaluation(state, "running", {"pending"})


def _idle(state: SessionState, row: EventRow, body: rows.SessionStatusIdle) -> None:
    state.stop_clock(row.created_at_us)
    state.status = "idle"
    state.stop_reason = body.stop_reason
    state.stop_details = body.stop_details
    state.updated_at = str(body.processed_at)
    if state.stop_reason["type"] not in ("requires_action", *STOPS_CONTINUED):
        state.needs_model = False


def _turn_continued(state: SessionState, row: EventRow, body: rows.TurnContinued) -> None:
    if state.status == "idle" and state.stop_reason and state.stop_reason["type"] in STOPS_CONTINUED:
        state.may_resume = True


def _rescheduled(state: SessionState, row: EventRow, body: rows.SessionStatusRescheduled) -> None:
    state.status = "rescheduling"
    state.updated_at = str(body.processed_at)


def _terminated(state: SessionState, row: EventRow, body: rows.SessionStatusTerminated) -> None:
    state.stop_clock(row.created_at_us)
    state.status = "terminated"
    state.updated_at = str(body.processed_at)


def _archived(state: SessionState, row: EventRow, body: rows.SessionArchived) -> None:
    state.archived_at = body.archived_at
    state.updated_at = state.archived_at


def _deleted(state: SessionState, row: EventRow, body: rows.SessionDeleted) -> None:
    state.is_deleted = True


def _begin_next(state: SessionState, row: EventRow) -> None:
    """What was said before is answered: the next input has a turn's limits to itself. What verifiers wait for is of a tree
    that the agent now goes on from."""
    turn_folding.end_wait(state, row)
    if state.outcome is None and not state.needs_model and not state.tool_uses:
        state.turn = TurnCounters()


def _user_message(state: SessionState, row: EventRow, body: rows.UserMessageTaken) -> None:
    _begin_next(state, row)
    state.history.add_user(body.content)
    state.web.show(body.content, USER_INPUT)
    state.needs_model = True


def _system_message(state: SessionState, row: EventRow, body: rows.SystemMessageTaken) -> None:
    _begin_next(state, row)
    texts = [str(block["text"]) for block in body.content]
    state.history.add_user([text_block("<system>\n" + "\n".join(texts) + "\n</system>")])
    state.needs_model = True


def _define_outcome(state: SessionState, row: EventRow, body: rows.OutcomeDefined) -> None:
    _begin_next(state, row)
    state.outcome = Outcome(event=cast("JsonObject", msgspec.json.decode(row.body)))
    state.standing.first_outcome_id = state.standing.first_outcome_id or state.outcome.id
    state.web.show([text_block(body.description)], USER_INPUT)
    state.outcome_evaluations.append(
        {
            "type": "outcome_evaluation",
            "outcome_id": body.outcome_id,
            "description": body.description,
            "iteration": 0,
            "result": "running" if state.status == "running" else "pending",
            "explanation": None,
            "completed_at": None,
        }
    )
    rubric = body.rubric or {}
    state.history.add_user(
        [
            text_block(
                f"{body.description}\n\n"
                "Your work will be judged by these criteria, where you cannot reach:\n"
                f"{rubric.get('content', '')}"
            )
        ]
    )
    state.needs_model = True


def _interrupt(state: SessionState, row: EventRow, body: rows.InterruptTaken) -> None:
    state.needs_model = False
    state.last_stop_reason = "interrupt"
    state.standing.interrupt_id = row.event_id


Handler = Callable[[SessionState, EventRow, Any], None]  # Any: the Struct beside which it stands in the table

_HANDLERS: dict[type[RowBody], Handler] = {
    rows.SessionCreated: _created,
    rows.SessionUpdated: _updated,
    rows.SessionMetadataCleared: _metadata_cleared,
    rows.SessionArchived: _archived,
    rows.SessionDeleted: _deleted,
    rows.SessionStatusRunning: _running,
    rows.SessionStatusIdle: _idle,
    rows.SessionStatusRescheduled: _rescheduled,
    rows.SessionStatusTerminated: _terminated,
    rows.SessionError: turn_folding.error,
    rows.TurnContinued: _turn_continued,
    rows.TurnFailed: turn_folding.turn_failed,
    rows.SessionInputReceived: _received,
    rows.UserMessageTaken: _user_message,
    rows.SystemMessageTaken: _system_message,
    rows.OutcomeDefined: _define_outcome,
    rows.InterruptTaken: _interrupt,
    rows.ConfirmationTaken: turn_folding.confirmation,
    turn_rows.ModelStarted: turn_folding.model_started,
    turn_rows.ModelEnded: turn_folding.model_ended,
    turn_rows.ModelNote: turn_folding.model_note,
    turn_rows.ModelRefused: turn_folding.model_refused,
    turn_rows.ModelRequestStart: turn_folding.span_started,
    turn_rows.ModelRequestEnd: turn_folding.span_ended,
    turn_rows.AgentToolUse: turn_folding.tool_use,
    turn_rows.AgentMcpToolUse: turn_folding.tool_use,
    turn_rows.AgentCustomToolUse: turn_folding.tool_use,
    turn_rows.AgentToolResult: turn_folding.tool_result,
    turn_rows.AgentMcpToolResult: turn_folding.tool_result,
    turn_rows.CustomToolResultTaken: turn_folding.tool_result,
    turn_rows.ToolStarted: turn_folding.tool_started,
    turn_rows.ToolMeasured: turn_folding.tool_measured,
    turn_rows.HarnessNote: turn_folding.harness_note,
    turn_rows.ContextCleared: turn_folding.context_cleared,
    turn_rows.ContextCompacted: turn_folding.context_compacted,
    turn_rows.ContextOverflowed: turn_folding.context_overflowed,
    turn_rows.ContextPutAside: turn_folding.put_aside,
    turn_rows.EnvironmentDescribed: turn_folding.described,
    turn_rows.OutcomeEvaluationStart: turn_folding.evaluation_started,
    turn_rows.OutcomeEvaluationEnd: turn_folding.evaluation_ended,
    turn_rows.OutcomePending: turn_folding.verifiers_wait,
    turn_rows.OutcomeVerified: turn_folding.verified,
    machine_rows.PackagesInstalled: machine_folding.packages_installed,
    machine_rows.ServicesSeen: machine_folding.services_seen,
    machine_rows.MemorySynced: machine_folding.memory_synced,
    machine_rows.SessionMemoryNotKept: machine_folding.memory_not_kept,
    machine_rows.SandboxStarted: machine_folding.sandbox_started,
    machine_rows.SandboxReleased: machine_folding.sandbox_released,
    machine_rows.SessionSandboxLost: machine_folding.sandbox_lost,
    machine_rows.SnapshotTaken: machine_folding.snapshot_taken,
    machine_rows.ResourceAdded: machine_folding.resource_added,
    machine_rows.ResourceRemoved: machine_folding.resource_removed,
    rows.FilesPinned: machine_folding.files_pinned,
}
_BY_TYPE = {body.type_name(): handler for body, handler in _HANDLERS.items()}
