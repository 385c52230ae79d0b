"""Makes a session's model calls durable: the hold with the start, the settlement with the end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from remit.orchestrator.session_errors import error_body
from remit.schema.tool_kinds import BUILTIN
from remit.session import events
from remit.session.events import of_thread
from remit.session.rows import (
    SessionError,
    SessionStatusRescheduled,
    SessionStatusRunning,
    ThreadStatusRescheduled,
    ThreadStatusRunning,
    WaitBegan,
)
from remit.session.sendable import distinct_uses
from remit.session.turn_rows import (
    AgentSaid,
    AgentThought,
    ModelEnded,
    ModelRequestEnd,
    ModelRequestStart,
    ModelStarted,
)
from remit.sessions.kind import SessionWriter
from remit.streams.rows import NewRow, RowBody
from remit.values import (
    Account,
    CallAttempt,
    CallEnded,
    Hold,
    JsonObject,
    ModelRequest,
    Purpose,
    Settle,
    Tool,
    Usage,
)


class SessionRecorder:
    """A CallRecorder on a session's stream. Calls of a turn speak: their text and tool uses become public events.
    Others (a grader's, a summary's) are recorded and paid, and say nothing."""

    def __init__(
        self,
        writer: SessionWriter,
        *,
        use: Literal["turn", "grader", "compaction"],
        tools: Mapping[str, Tool] | None = None,
    ) -> None:
        self.purpose: Purpose = "verification" if use == "grader" else "work"
        self._use = use
        self._speaks = use == "turn"
        self.usage = Usage()
        """Of all finished attempts of this recorder."""
        self._writer = writer
        self._tools = tools or {}
        self._thinking_id = ""
        self._message_id = ""
        self._span_id = ""
        self._deltas = 0

    async def accounts(self) -> Sequence[Account]:
        if self._writer.has_buffered_settlements:
            await self._writer.flush()
        accounts = await self._writer.store.accounts(self._writer.principal, self._writer.stream_id)
        return [account for account in accounts if account.purpose == self.purpose]

    async def waits(self, limit: str, ahead: int) -> None:
        await self._writer.append(WaitBegan(what="model", limit=limit, ahead=ahead))

    async def started(self, attempt: CallAttempt) -> None:
        writer = self._writer
        new: list[NewRow] = [
            ModelStarted(
                call_id=attempt.call_id,
                number=attempt.number,
                model=attempt.request.model,
                provider=attempt.provider,
                served_model=attempt.served_model,
                thread_id=writer.state.thread_id,
                request_digest=_digest(attempt.request),
                max_tokens=attempt.request.max_tokens,
                purpose=self.purpose,
                use=self._use,
                holds=[cast("JsonObject", msgspec.to_builtins(hold)) for hold in attempt.holds],
            )
        ]
        if self._speaks and not self._span_id:
            span = writer.new(ModelRequestStart())
            self._span_id = span.event_id
            new.append(span)
        elif self._speaks:
            new += [
                SessionStatusRunning(),
                of_thread(ThreadStatusRunning, writer.state),
            ]
        self._thinking_id = writer.ids.new("sevt")
        self._message_id = writer.ids.new("sevt")
        self._deltas = 0
        await writer.append(*new, effects=attempt.holds)

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        writer = self._writer
        response = ended.response
        content: list[JsonObject] | UnsetType = UNSET
        speech: list[RowBody] = []
        tool_use_ids: dict[str, str] | UnsetType = UNSET
        if response is not None:
            content = list(distinct_uses(response.content))
            if self._speaks:
                speech, tool_use_ids = self._speak(content)
        row = ModelEnded(
            call_id=attempt.call_id,
            number=attempt.number,
            error_reason=ended.error_reason,
            error_message=ended.error_message,
            will_retry=ended.will_retry,
            is_assumed=ended.is_assumed,
            is_overrun=ended.is_overrun,
            cost_nano_usd=ended.cost_nano_usd,
            usage=ended.usage,
            # A route may serve another model than the one named: that is another agent.
            model=response.model if response else attempt.served_model or attempt.request.model,
            served_model=attempt.served_model,
            provider_request_id=UNSET if ended.provider_request_id is None else ended.provider_request_id,
            pause_seconds=ended.pause_seconds if ended.will_retry else UNSET,
            content=content,
            stop_reason=UNSET if response is None else response.stop_reason,
            stop_details=UNSET if response is None else response.stop_details,
            provider_id=UNSET if response is None else response.provider_id,
            tool_use_ids=tool_use_ids,
        )
        self.usage = self.usage + ended.usage
        new: list[NewRow] = [row, *speech]
        if self._speaks and ended.will_retry:
            error = error_body(ended.error_reason, ended.error_message, "retrying")
            new += [
                SessionError(error=error),
                of_thread(ThreadStatusRescheduled, writer.state),
                SessionStatusRescheduled(),
            ]
        elif self._speaks:
            new.append(
                ModelRequestEnd(
                    model_request_start_id=self._span_id,
                    is_error=response is None,
                    model_usage=events.model_usage(ended.usage),
                )
            )
        if response is not None:
            await writer.buffer(*new, effects=ended.settlements)
        else:  # a pause follows, or the end of the run
            await writer.append(*new, effects=ended.settlements)

    def thinking(self, attempt: CallAttempt) -> None:
        if self._speaks:
            self._announce("agent.thinking", self._thinking_id)

    def delta(self, attempt: CallAttempt, text: str) -> None:
        if not self._speaks or not text:
            return
        if self._deltas == 0:
            self._announce("agent.message", self._message_id)
        delta: JsonObject = {
            "type": "event_delta",
            "event_id": self._message_id,
            "delta": {"type": "content_delta", "index": 0, "content": {"type": "text", "text": text}},
        }
        self._deltas += 1
        self._live("event_delta", delta)

    def _announce(self, type: str, event_id: str) -> None:
        start: JsonObject = {"type": "event_start", "event": {"type": type, "id": event_id}}
        self._live("event_start", start)

    def _live(self, type: str, frame: JsonObject) -> None:
        self._writer.live(type, msgspec.json.encode(frame), thread_id=self._writer.state.thread_id)

    def _speak(self, content: Sequence[JsonObject]) -> tuple[list[RowBody], dict[str, str]]:
        """The public events of a response, and the event id of each tool use by the model's id."""
        speech: list[RowBody] = []
        tool_use_ids: dict[str, str] = {}
        text = "".join(str(block["text"]) for block in content if block["type"] == "text")
        if any(block["type"] in ("thinking", "redacted_thinking") for block in content):
            speech.append(AgentThought(id=self._thinking_id))
        if text:
            block: JsonObject = {"type": "text", "text": text}
            speech.append(AgentSaid(id=self._message_id, content=[block]))
        for block in content:
            if block["type"] == "tool_use":
                event = self._tool_use(block)
                tool_use_ids[str(block["id"])] = event.event_id
                speech.append(event)
        return speech, tool_use_ids

    def _tool_use(self, block: JsonObject) -> RowBody:
        name, input = str(block["name"]), block["input"]
        tool = self._tools.get(name)
        if tool is None:
            return self._writer.row(BUILTIN.use_type, name=name, input=input, evaluated_permission="deny")
        fields: JsonObject = {"name": name, **tool.use_fields, "input": input}
        if tool.permission == "off":
            fields["evaluated_permission"] = "deny"
        elif not tool.kind.is_client:
            fields["evaluated_permission"] = tool.permission
            fields["evaluation"] = {"type": f"always_{tool.permission}"}
        return self._writer.row(tool.kind.use_type, **fields)


def _digest(request: ModelRequest) -> str:
    """Of all that is asked, without encoding a long conversation once more."""
    digest = hashlib.sha256(request.content_json)
    rest = msgspec.structs.replace(request, system=None, messages=(), tools=(), fields={})
    digest.update(msgspec.json.encode(rest))
    return digest.hexdigest()


def assumed_settlements(recorded: Sequence[JsonObject]) -> tuple[Settle, ...]:
    """Settle what a call or a tool left open: nobody knows its cost, so it is taken to have used its whole hold."""
    holds = [msgspec.convert(hold, Hold) for hold in recorded]
    return tuple(
        Settle(hold_id=hold.hold_id, unit=hold.unit, amount=hold.amount, is_assumed=True) for hold in holds
    )


def assumed_cost(started: ModelStarted) -> int | None:
    """The dollars such a call is taken to have cost; None when it was unpriced."""
    amounts = [cast("int", hold["amount"]) for hold in started.holds if hold["unit"] == "nano_usd"]
    return amounts[0] if amounts else None
