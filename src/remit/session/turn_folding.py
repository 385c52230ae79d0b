"""The fold of rows of turns: model calls, tools, the conversation, evaluations of outcomes."""

from __future__ import annotations

import hashlib
from itertools import zip_longest
from typing import cast

import msgspec
from msgspec import UNSET

from remit.schema.tool_kinds import BY_RESULT
from remit.session import turn_rows
from remit.session.machine_folding import keep_tree
from remit.session.refusals import BlockPlace
from remit.session.rows import ConfirmationTaken, SessionError, TurnFailed
from remit.session.sendable import text_block
from remit.session.state import (
    CHANGING_TOOLS,
    OpenCall,
    OpenToolUse,
    Permission,
    SessionState,
    Standing,
    Waiting,
    context_tokens,
)
from remit.session.web import WEB_TOOLS, client_tool, server_tool
from remit.streams.children import ChildEvaluation, ChildFailure
from remit.values import EventRow, JsonObject, ToolUse, Usage


def model_started(state: SessionState, row: EventRow, body: turn_rows.ModelStarted) -> None:
    state.open_calls[body.call_id] = OpenCall(started=body, seq=row.seq)
    state.standing.provider = body.provider


def model_ended(state: SessionState, row: EventRow, body: turn_rows.ModelEnded) -> None:
    call = state.open_calls.pop(body.call_id, None)
    _count_failures(state.standing, body)
    usage = body.usage or Usage()
    state.usage = state.usage + usage
    state.cost_nano_usd += body.cost_nano_usd or 0
    content = body.content
    if content is UNSET or (call is not None and not call.started.is_of_turn):
        return
    state.turn.steps += 1
    state.last_stop_reason = str(body.stop_reason)
    state.last_stop_details = body.stop_details or None
    state.needs_model = False
    ids = body.tool_use_ids or {}
    if content:
        uses = [ids[str(block["id"])] for block in content if block["type"] == "tool_use"]
        state.history.add_assistant(content, uses)
        state.compactions_in_a_row = 0
    state.prompt_tokens = usage.total_tokens
    state.bytes_at_last_call = state.history.bytes_added
    for block in content:
        if block["type"] == "tool_use":
            provider_id = str(block["id"])
            use = ToolUse(
                id=ids[provider_id],
                name=str(block["name"]),
                input=cast("JsonObject", block["input"]),
                provider_id=provider_id,
            )
            state.tool_uses[use.id] = OpenToolUse(use=use, permission="allow")


def _count_failures(standing: Standing, body: turn_rows.ModelEnded) -> None:
    if body.error_reason is None:
        standing.failed_in_a_row = standing.paid_in_a_row = 0
        standing.is_paid = False
    elif body.is_assumed:
        standing.is_paid = True


def model_refused(state: SessionState, row: EventRow, body: turn_rows.ModelRefused) -> None:
    state.standing.refusal = body.message


def error(state: SessionState, row: EventRow, body: SessionError) -> None:
    state.standing.error = str(body.error.get("message") or "")


def turn_failed(state: SessionState, row: EventRow, body: TurnFailed) -> None:
    standing = state.standing
    standing.failed_in_a_row += 1
    standing.paid_in_a_row += standing.is_paid
    standing.is_paid = False
    standing.failure = ChildFailure(
        event_id=row.event_id,
        reason=body.reason,
        message=body.message or "",
        provider=standing.provider,
        retry_after_seconds=body.retry_after_seconds,
        in_a_row=standing.failed_in_a_row,
        paid_in_a_row=standing.paid_in_a_row,
    )


def span_started(state: SessionState, row: EventRow, body: turn_rows.ModelRequestStart) -> None:
    state.open_span_id = row.event_id


def span_ended(state: SessionState, row: EventRow, body: turn_rows.ModelRequestEnd) -> None:
    state.open_span_id = None


def tool_use(state: SessionState, row: EventRow, body: turn_rows.ToolUseRow) -> None:
    open_use = state.tool_uses.get(row.event_id)
    if open_use is not None:
        open_use.use_type = row.type
        open_use.permission = cast("Permission", body.evaluated_permission or "allow")


def confirmation(state: SessionState, row: EventRow, body: ConfirmationTaken) -> None:
    open_use = state.tool_uses.get(body.tool_use_id)
    if open_use is None or open_use.permission != "ask":
        return
    if body.result == "allow":
        open_use.permission = "allow"
    else:
        open_use.permission = "deny"
        open_use.denial = body.deny_message or ""


def tool_started(state: SessionState, row: EventRow, body: turn_rows.ToolStarted) -> None:
    open_use = state.tool_uses.get(body.tool_use_id)
    if open_use is not None:
        open_use.is_started = True
        says = body.may_change_files
        open_use.may_change_files = open_use.use.name in CHANGING_TOOLS if says is UNSET else says
        open_use.holds = body.holds


def tool_measured(state: SessionState, row: EventRow, body: turn_rows.ToolMeasured) -> None:
    if body.name == "web_search":
        state.web.searches += body.requests
    elif body.name == "web_fetch":
        state.web.fetches += body.requests
    state.cost_nano_usd += body.cost_nano_usd or 0


def tool_result(state: SessionState, row: EventRow, body: turn_rows.ToolResultRow) -> None:
    use_id = body.answers(BY_RESULT[row.type].use_field)
    open_use = state.tool_uses.pop(use_id, None)
    if open_use is None:
        return
    is_error, content = bool(body.is_error), body.content or []
    state.history.add_tool_result(use_id, content, seq=row.seq, is_error=is_error)
    state.needs_model = True
    use = open_use.use
    if open_use.kind.is_client:
        state.web.show(content, client_tool(use.name))
    elif use.name in WEB_TOOLS and not is_error:
        state.web.show(content, server_tool(use.name))
    if open_use.may_change_files:
        state.changes_since_snapshot.append((row.seq, use.id))
    _count_exchange(state, use, content)
    if use.name in ("write", "edit") and not is_error:
        state.turn.has_changed_files = True
        state.turn.has_verified = False
    elif use.name == "bash" and not is_error:
        state.turn.has_verified = True


def _count_exchange(state: SessionState, use: ToolUse, content: list[JsonObject]) -> None:
    exchange = hashlib.sha256(msgspec.json.encode([use.name, use.input, content])).hexdigest()
    if exchange == state.turn.last_exchange:
        state.turn.repeats += 1
    else:
        state.turn.repeats = 0
        state.turn.last_exchange = exchange


def model_note(state: SessionState, row: EventRow, body: turn_rows.ModelNote) -> None:
    state.history.add_user([text_block(body.text)])
    state.needs_model = True
    state.turn.reminders[body.name] = state.turn.steps


def context_cleared(state: SessionState, row: EventRow, body: turn_rows.ContextCleared) -> None:
    before, tokens = state.history.encode(), context_tokens(state)
    if body.characters_max is not UNSET:
        state.history.shorten_results(body.characters_max)
    elif body.before_seq is not UNSET:
        state.history.clear_results(body.before_seq)
    saved = len(msgspec.json.encode(before)) - len(msgspec.json.encode(state.history.encode()))
    _count_anew(state, tokens - saved // 4)


def _count_anew(state: SessionState, tokens: int) -> None:
    state.prompt_tokens, state.bytes_at_last_call = max(0, tokens), state.history.bytes_added


def context_overflowed(state: SessionState, row: EventRow, body: turn_rows.ContextOverflowed) -> None:
    model, window = body.model, body.window_tokens
    state.windows[model] = min(window, state.windows.get(model, window))
    _count_anew(state, body.sent_tokens)


def put_aside(state: SessionState, row: EventRow, body: turn_rows.ContextPutAside) -> None:
    state.history.put_aside(
        BlockPlace(body.message, body.block, body.inner), "the model's provider refused it"
    )


def context_compacted(state: SessionState, row: EventRow, body: turn_rows.ContextCompacted) -> None:
    text = f"<system>\nThe conversation so far was replaced by your own summary of it.\n</system>\n{body.summary}"
    if state.outcome is not None:
        text += f"\n\nThe outcome to reach, word for word:\n{state.outcome.event['description']}"
    state.history.replace_by([text_block(text)])
    state.prompt_tokens = 0
    state.bytes_at_last_call = state.history.bytes_added - len(text)
    state.compactions_in_a_row += 1


def harness_note(state: SessionState, row: EventRow, body: turn_rows.HarnessNote) -> None:
    state.notes[body.name] = body.value


def described(state: SessionState, row: EventRow, body: turn_rows.EnvironmentDescribed) -> None:
    state.facts = body.text


def evaluation_started(state: SessionState, row: EventRow, body: turn_rows.OutcomeEvaluationStart) -> None:
    if state.outcome is not None:
        state.outcome.evaluation_start_id = row.event_id
        update_evaluation(state, "evaluating", None)


def verifiers_wait(state: SessionState, row: EventRow, body: turn_rows.OutcomePending) -> None:
    """While they do, the session costs nothing and is not at work."""
    outcome = state.outcome
    if outcome is None:
        return
    before = outcome.waiting
    known = before.verdicts if before is not None else []
    outcome.waiting = Waiting(
        verification_id=body.verification_id,
        tree_digest=body.tree_digest,
        outputs_digest=body.outputs_digest,
        waits_for=body.waits_for,
        since_us=before.since_us if before is not None else row.created_at_us,
        asked_at_us=row.created_at_us,
        wake_at_us=body.wake_at_us,
        verdicts=[new or old for new, old in zip_longest(body.verdicts, known)],
    )
    state.stop_clock(row.created_at_us)
    if (evaluation := _evaluation(state, outcome.id)) is not None:
        evaluation["waits_for"] = body.waits_for


def end_wait(state: SessionState, row: EventRow) -> None:
    """They have answered, or are asked no more: people interrupted, or sent the agent on."""
    outcome = state.outcome
    if outcome is None or outcome.waiting is None:
        return
    outcome.waiting = None
    outcome.waits += 1
    if state.status == "running" and state.running_since_us is None:
        state.running_since_us = row.created_at_us
    if (evaluation := _evaluation(state, outcome.id)) is not None:
        evaluation.pop("waits_for", None)


def verified(state: SessionState, row: EventRow, body: turn_rows.OutcomeVerified) -> None:
    keep_tree(state, body.tree_digest or None)
    if body.feedback:
        state.history.add_user([text_block(body.feedback)])
        state.needs_model = True


def evaluation_ended(state: SessionState, row: EventRow, body: turn_rows.OutcomeEvaluationEnd) -> None:
    end_wait(state, row)
    result = body.result
    evaluation = _evaluation(state, body.outcome_id)
    if evaluation is not None:
        evaluation["iteration"] = body.iteration
        evaluation["result"] = result
        evaluation["explanation"] = body.explanation
        if result != "needs_revision":
            evaluation["completed_at"] = body.stamped_at
    if state.outcome is None:
        return
    if result == "interrupted":
        state.standing.interrupted = ChildEvaluation(
            event_id=row.event_id,
            outcome_id=state.outcome.id,
            outcome_event_id=str(state.outcome.event["id"]),
            is_first_outcome=state.outcome.id == state.standing.first_outcome_id,
            result=result,
            explanation=body.explanation or "",
        )
    state.outcome.evaluation_start_id = None
    if result == "needs_revision":
        state.outcome.iteration += 1
    else:
        state.outcome = None


def _evaluation(state: SessionState, outcome_id: str) -> JsonObject | None:
    for evaluation in reversed(state.outcome_evaluations):
        if evaluation["outcome_id"] == outcome_id:
            return evaluation
    return None


def update_evaluation(state: SessionState, result: str, only_from: set[str] | None) -> None:
    if state.outcome is None:
        return
    evaluation = _evaluation(state, state.outcome.id)
    if evaluation is not None and (only_from is None or evaluation["result"] in only_from):
        evaluation["result"] = result
