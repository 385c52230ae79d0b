"""Recovery of a session after a crash: open model calls are settled at their holds, tools are asked for at a
sandbox that lives on, a sandbox that does not is announced."""

from __future__ import annotations

from remit.orchestrator.recorder import assumed_cost, assumed_settlements
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.turn import MAY_HAVE_RUN, error_result, tool_result, unmeasured
from remit.session import events
from remit.session.state import SessionState
from remit.session.turn_rows import ModelEnded, ModelRequestEnd
from remit.sessions.kind import SessionWriter
from remit.streams.rows import NewRow
from remit.values import Settle, ToolResult, Usage


async def recover(writer: SessionWriter, sandboxes: SessionSandboxes) -> None:
    """Close what a crash left open; nothing is when the last wake ended well."""
    await _close_open_calls(writer)
    sandbox = await sandboxes.attach(writer)
    started = [use for use in writer.state.tool_uses.values() if use.is_started]
    for open_use in started:
        result, is_unknown = error_result(MAY_HAVE_RUN), True
        if sandbox is not None:
            status = await sandbox.call_status(open_use.use.id)
            if status.state == "finished" and status.result is not None:
                text = status.result.output.decode(errors="replace")
                result, is_unknown = ToolResult(content=({"type": "text", "text": text},)), False
            elif status.state == "running":
                await sandbox.interrupt(open_use.use.id)
        await writer.append(
            tool_result(writer, open_use.use, result, may_have_run=is_unknown),
            *unmeasured(writer, [open_use]),
            effects=assumed_settlements(open_use.holds),
        )
    if writer.state.sandbox is not None and sandbox is None and _is_missed(writer.state):
        await sandboxes.announce_loss(writer, sandboxes.why_gone(writer))


def _is_missed(state: SessionState) -> bool:
    """Whether somebody should hear of it now: where work is under way, where files may be gone, and where people may use
    what a plain session serves. Any other session that rests tells it when it goes on; one whose work is over, never."""
    if state.status in ("running", "rescheduling") or state.pending or state.changes_since_snapshot:
        return True
    return bool(state.services) and state.parent_stream_id is None


async def _close_open_calls(writer: SessionWriter) -> None:
    new: list[NewRow] = []
    settlements: list[Settle] = []
    for call_id, call in writer.state.open_calls.items():
        settlements.extend(assumed_settlements(call.started.holds))
        new.append(
            ModelEnded(
                call_id=call_id,
                number=call.started.number,
                error_reason="crashed",
                error_message="the server ended during the call",
                will_retry=False,
                is_assumed=True,
                is_overrun=False,
                cost_nano_usd=assumed_cost(call.started),
                usage=Usage(),
                model=call.started.model,
            )
        )
    if writer.state.open_span_id is not None:
        new.append(
            ModelRequestEnd(
                model_request_start_id=writer.state.open_span_id,
                is_error=True,
                model_usage=events.model_usage(Usage()),
            )
        )
    if new:
        await writer.append(*new, effects=settlements)
