"""`fold(rows)` derives a session's state from its log. Pure; the rows are listed in design/log.md.

Any prefix of a log folds, and `fold(b, fold(a))` equals `fold(a + b)`. Unknown types are passed over, so that a newer
log can be read by an older program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import cast

import msgspec

from remit.clock import parse_rfc3339, rfc3339
from remit.session import memory_rows, sandbox_rows
from remit.session.refusals import Place
from remit.session.sendable import text_block
from remit.session.state import (
    CHANGING_TOOLS,
    STOPS_CONTINUED,
    OpenCall,
    OpenToolUse,
    Outcome,
    Permission,
    SessionState,
    TurnCounters,
    add_usage,
    context_tokens,
)
from remit.session.web import USER_INPUT, WEB_TOOLS, client_tool, server_tool
from remit.values import EventRow, JsonObject, ToolUse, Usage


def fold(rows: Iterable[EventRow], state: SessionState | None = None) -> SessionState:
    """Apply rows in order to `state` (changed in place) or to a new one."""
    folded = state if state is not None else SessionState()
    for row in rows:
        _apply(folded, row)
    return folded


def _apply(state: SessionState, row: EventRow) -> None:
    """Take one more row into account."""
    state.seq = row.seq
    body = cast("JsonObject", msgspec.json.decode(row.body))
    if row.visibility == "public":
        state.pending.pop(row.event_id, None)
        state.received_at_us.pop(row.event_id, None)
        state.batches.pop(row.event_id, None)
        processed_at = body.get("processed_at")
        if isinstance(processed_at, str):
            state.last_processed_us = max(state.last_processed_us, parse_rfc3339(processed_at))
    handler = _HANDLERS.get(row.type)
    if handler is not None:
        handler(state, row, body)


# ------------------------------------------------------------------------------------------------- handlers

Handler = Callable[[SessionState, EventRow, JsonObject], None]


def _created(state: SessionState, row: EventRow, body: JsonObject) -> None:
    session = cast("JsonObject", body["session"])
    state.session_id = row.stream_id
    state.workspace_id = row.workspace_id
    state.created = body
    state.title = cast("str | None", session.get("title"))
    state.metadata = cast("JsonObject", session.get("metadata") or {})
    state.budget = cast("JsonObject | None", session.get("budget"))
    state.agent = cast("JsonObject", body["agent"])
    state.environment_id = str(body.get("environment_id") or "")
    state.thread_id = str(body["thread_id"])
    state.created_at = state.updated_at = rfc3339(row.created_at_us)
    state.last_processed_us = row.created_at_us
    for resource in cast("list[JsonObject]", body.get("resources") or []):
        state.resources[str(resource["id"])] = resource
    state.files.update(cast("dict[str, JsonObject]", body.get("files") or {}))


def _updated(state: SessionState, row: EventRow, body: JsonObject) -> None:
    if "title" in body:
        state.title = cast("str | None", body["title"])
    if "metadata" in body:
        state.metadata = cast("JsonObject", body["metadata"])
    if "agent" in body:
        before, state.agent = state.agent, cast("JsonObject", body["agent"])
        if state.agent["tools"] != before["tools"]:
            state.history.drop_thinking()
    if "budget" in body:
        state.budget = cast("JsonObject | None", body["budget"])
        if state.stop_reason is not None and state.stop_reason.get("type") == "budget_reached":
            state.may_resume = True
    state.updated_at = str(body["processed_at"])


def _metadata_cleared(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.metadata = {}


def _received(state: SessionState, row: EventRow, body: JsonObject) -> None:
    event = cast("JsonObject", body["event"])
    state.pending[row.event_id] = event
    state.received_at_us[row.event_id] = row.created_at_us
    if "batch" in body:
        state.batches[row.event_id] = str(body["batch"])


def _running(state: SessionState, row: EventRow, body: JsonObject) -> None:
    if state.status == "idle":
        state.turn = TurnCounters()
    state.status = "running"
    state.may_resume = False
    state.stop_reason = state.stop_details = None
    state.updated_at = str(body["processed_at"])
    if state.running_since_us is None:
        state.running_since_us = row.created_at_us
    _update_evaluation(state, "running", {"pending"})


def _stop_running(state: SessionState, row: EventRow) -> None:
    if state.running_since_us is not None:
        state.active_us += max(0, row.created_at_us - state.running_since_us)
        state.running_since_us = None


def _idle(state: SessionState, row: EventRow, body: JsonObject) -> None:
    _stop_running(state, row)
    state.status = "idle"
    state.stop_reason = cast("JsonObject", body["stop_reason"])
    state.stop_details = cast("JsonObject | None", body.get("stop_details"))
    state.updated_at = str(body["processed_at"])
    if state.stop_reason["type"] not in ("requires_action", *STOPS_CONTINUED):
        state.needs_model = False


def _turn_continued(state: SessionState, row: EventRow, body: JsonObject) -> None:
    if state.status == "idle" and state.stop_reason and state.stop_reason["type"] in STOPS_CONTINUED:
        state.may_resume = True


def _rescheduled(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.status = "rescheduling"
    state.updated_at = str(body["processed_at"])


def _terminated(state: SessionState, row: EventRow, body: JsonObject) -> None:
    _stop_running(state, row)
    state.status = "terminated"
    state.updated_at = str(body["processed_at"])


def _archived(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.archived_at = str(body["archived_at"])
    state.updated_at = state.archived_at


def _deleted(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.is_deleted = True


def _begin_next(state: SessionState) -> None:
    """What was said before is answered: the next input has a turn's limits to itself."""
    if state.outcome is None and not state.needs_model and not state.tool_uses:
        state.turn = TurnCounters()


def _user_message(state: SessionState, row: EventRow, body: JsonObject) -> None:
    _begin_next(state)
    content = cast("list[JsonObject]", body["content"])
    state.history.add_user(content)
    state.web.show(content, USER_INPUT)
    state.needs_model = True


def _system_message(state: SessionState, row: EventRow, body: JsonObject) -> None:
    _begin_next(state)
    texts = [str(block["text"]) for block in cast("list[JsonObject]", body["content"])]
    state.history.add_user([text_block("<system>\n" + "\n".join(texts) + "\n</system>")])
    state.needs_model = True


def _define_outcome(state: SessionState, row: EventRow, body: JsonObject) -> None:
    _begin_next(state)
    state.outcome = Outcome(event=body)
    state.web.show([text_block(str(body["description"]))], USER_INPUT)
    state.outcome_evaluations.append(
        {
            "type": "outcome_evaluation",
            "outcome_id": body["outcome_id"],
            "description": body["description"],
            "iteration": 0,
            "result": "running" if state.status == "running" else "pending",
            "explanation": None,
            "completed_at": None,
        }
    )
    rubric = cast("JsonObject", body.get("rubric") or {})
    state.history.add_user(
        [
            text_block(
                f"{body['description']}\n\n"
                "Your work will be judged by these criteria, where you cannot reach:\n"
                f"{rubric.get('content', '')}"
            )
        ]
    )
    state.needs_model = True


def _interrupt(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.needs_model = False
    state.last_stop_reason = "interrupt"


def _model_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.open_calls[str(body["call_id"])] = OpenCall(body=body, seq=row.seq)


def _model_ended(state: SessionState, row: EventRow, body: JsonObject) -> None:
    call = state.open_calls.pop(str(body["call_id"]), None)
    usage = msgspec.convert(body.get("usage") or {}, Usage)
    state.usage = add_usage(state.usage, usage)
    state.cost_nano_usd += cast("int", body.get("cost_nano_usd") or 0)
    if "content" not in body or (call is not None and not _is_of_turn(call.body)):
        return
    content = cast("list[JsonObject]", body["content"])
    state.turn.steps += 1
    state.last_stop_reason = str(body["stop_reason"])
    state.last_stop_details = cast("JsonObject | None", body.get("stop_details"))
    state.needs_model = False
    ids = cast("dict[str, str]", body.get("tool_use_ids") or {})
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
            state.tool_uses[use.id] = OpenToolUse(use=use, is_custom=False, permission="allow")


def _is_of_turn(started: JsonObject) -> bool:
    """A call whose answer is the agent's, not a grader's or a summary. Older rows have no `use`."""
    return started.get("use", "turn") == "turn" and started.get("purpose") != "verification"


def _span_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.open_span_id = row.event_id


def _span_ended(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.open_span_id = None


def _tool_use(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(row.event_id)
    if open_use is not None:
        open_use.permission = cast("Permission", body.get("evaluated_permission") or "allow")


def _custom_tool_use(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(row.event_id)
    if open_use is not None:
        open_use.is_custom = True


def _confirmation(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(str(body["tool_use_id"]))
    if open_use is None or open_use.permission != "ask":
        return
    if body["result"] == "allow":
        open_use.permission = "allow"
    else:
        open_use.permission = "deny"
        open_use.denial = str(body.get("deny_message") or "")


def _tool_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(str(body["tool_use_id"]))
    if open_use is not None:
        open_use.is_started = True
        open_use.holds = cast("list[JsonObject]", body.get("holds") or [])


def _tool_measured(state: SessionState, row: EventRow, body: JsonObject) -> None:
    requests = cast("int", body.get("requests") or 0)
    if body.get("name") == "web_search":
        state.web.searches += requests
    elif body.get("name") == "web_fetch":
        state.web.fetches += requests
    state.cost_nano_usd += cast("int", body.get("cost_nano_usd") or 0)


def _tool_result(state: SessionState, row: EventRow, body: JsonObject) -> None:
    use_id = str(body.get("tool_use_id") or body.get("custom_tool_use_id"))
    open_use = state.tool_uses.pop(use_id, None)
    if open_use is None:
        return
    is_error = bool(body.get("is_error"))
    content = cast("list[JsonObject]", body.get("content") or [])
    state.history.add_tool_result(use_id, content, seq=row.seq, is_error=is_error)
    state.needs_model = True
    use = open_use.use
    if open_use.is_custom:
        state.web.show(content, client_tool(use.name))
    elif use.name in WEB_TOOLS and not is_error:
        state.web.show(content, server_tool(use.name))
    if use.name in CHANGING_TOOLS and not open_use.is_custom and open_use.is_started:
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


def _model_note(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.history.add_user([text_block(str(body["text"]))])
    state.needs_model = True
    state.turn.reminders[str(body["name"])] = state.turn.steps


def _context_cleared(state: SessionState, row: EventRow, body: JsonObject) -> None:
    before, tokens = state.history.encode(), context_tokens(state)
    if "characters_max" in body:
        state.history.shorten_results(cast("int", body["characters_max"]))
    else:
        state.history.clear_results(cast("int", body["before_seq"]))
    saved = len(msgspec.json.encode(before)) - len(msgspec.json.encode(state.history.encode()))
    _count_anew(state, tokens - saved // 4)


def _count_anew(state: SessionState, tokens: int) -> None:
    state.prompt_tokens, state.bytes_at_last_call = max(0, tokens), state.history.bytes_added


def _context_overflowed(state: SessionState, row: EventRow, body: JsonObject) -> None:
    model, window = str(body["model"]), cast("int", body["window_tokens"])
    state.windows[model] = min(window, state.windows.get(model, window))
    _count_anew(state, cast("int", body["sent_tokens"]))


def _put_aside(state: SessionState, row: EventRow, body: JsonObject) -> None:
    inner = cast("int | None", body["inner"])
    place = Place(cast("int", body["message"]), cast("int", body["block"]), inner)
    state.history.put_aside(place, "the model's provider refused it")


def _context_compacted(state: SessionState, row: EventRow, body: JsonObject) -> None:
    text = f"<system>\nThe conversation so far was replaced by your own summary of it.\n</system>\n{body['summary']}"
    if state.outcome is not None:
        text += f"\n\nThe outcome to reach, word for word:\n{state.outcome.event['description']}"
    state.history.replace_by([text_block(text)])
    state.prompt_tokens = 0
    state.bytes_at_last_call = state.history.bytes_added - len(text)
    state.compactions_in_a_row += 1


def _harness_note(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.notes[str(body["name"])] = body["value"]


def _described(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.facts = str(body["text"])


def _evaluation_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    if state.outcome is not None:
        state.outcome.evaluation_start_id = row.event_id
        _update_evaluation(state, "evaluating", None)


def _verified(state: SessionState, row: EventRow, body: JsonObject) -> None:
    feedback = body.get("feedback")
    if isinstance(feedback, str) and feedback:
        state.history.add_user([text_block(feedback)])
        state.needs_model = True


def _evaluation_ended(state: SessionState, row: EventRow, body: JsonObject) -> None:
    result = str(body["result"])
    evaluation = _evaluation(state, str(body["outcome_id"]))
    if evaluation is not None:
        evaluation["iteration"] = body["iteration"]
        evaluation["result"] = result
        evaluation["explanation"] = body["explanation"]
        if result != "needs_revision":
            evaluation["completed_at"] = body["processed_at"]
    if state.outcome is None:
        return
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


def _update_evaluation(state: SessionState, result: str, only_from: set[str] | None) -> None:
    if state.outcome is None:
        return
    evaluation = _evaluation(state, state.outcome.id)
    if evaluation is not None and (only_from is None or evaluation["result"] in only_from):
        evaluation["result"] = result


_HANDLERS: dict[str, Handler] = {
    "session.created": _created,
    "session.updated": _updated,
    "session.metadata_cleared": _metadata_cleared,
    "session.archived": _archived,
    "session.deleted": _deleted,
    "session.status_running": _running,
    "session.status_idle": _idle,
    "session.status_rescheduled": _rescheduled,
    "session.status_terminated": _terminated,
    "turn.continued": _turn_continued,
    "session.sandbox_lost": sandbox_rows.sandbox_lost,
    "session.resource_added": sandbox_rows.resource_added,
    "session.resource_removed": sandbox_rows.resource_removed,
    "files.pinned": sandbox_rows.files_pinned,
    "input.received": _received,
    "user.message": _user_message,
    "user.define_outcome": _define_outcome,
    "user.interrupt": _interrupt,
    "user.tool_confirmation": _confirmation,
    "user.custom_tool_result": _tool_result,
    "system.message": _system_message,
    "model.started": _model_started,
    "model.ended": _model_ended,
    "model.note": _model_note,
    "span.model_request_start": _span_started,
    "span.model_request_end": _span_ended,
    "agent.tool_use": _tool_use,
    "agent.custom_tool_use": _custom_tool_use,
    "agent.tool_result": _tool_result,
    "tool.started": _tool_started,
    "tool.measured": _tool_measured,
    "harness.note": _harness_note,
    "context.cleared": _context_cleared,
    "context.compacted": _context_compacted,
    "context.overflowed": _context_overflowed,
    "context.put_aside": _put_aside,
    "environment.described": _described,
    "packages.installed": sandbox_rows.packages_installed,
    "services.seen": sandbox_rows.services_seen,
    **memory_rows.HANDLERS,
    "sandbox.started": sandbox_rows.sandbox_started,
    "sandbox.released": sandbox_rows.sandbox_released,
    "snapshot.taken": sandbox_rows.snapshot_taken,
    "span.outcome_evaluation_start": _evaluation_started,
    "span.outcome_evaluation_end": _evaluation_ended,
    "outcome.verified": _verified,
}
