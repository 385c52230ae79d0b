"""Session events that callers send, and the names of all that they can read."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from remit.schema.blocks import MessageContent, ResultContent, SystemContent
from remit.schema.tool_kinds import CLIENT_RESULT_TYPES, CONFIRMATION, RESULT_TYPES, USE_TYPES
from remit.schema.verifiers import RubricText, VerifierList
from remit.schema.wire import Json, Params

EVENTS_PER_REQUEST_MAX = 100
INITIAL_EVENTS_MAX = 50
EVENT_DELTAS_MAX = 100
OUTCOME_ITERATIONS_DEFAULT = 3
OUTCOME_ITERATIONS_MAX = 20

STAMPED_ON_RECEIPT = frozenset({"user.define_outcome", *CLIENT_RESULT_TYPES})
"""Their `processed_at` is the time of receipt; all others are queued with null."""

EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class EventParams(Params, frozen=True, omit_defaults=True):
    """Base of inbound events: what was not given is not stored."""


class UserMessage(EventParams, frozen=True, tag="user.message"):
    """What a person says."""

    content: MessageContent


class UserInterrupt(EventParams, frozen=True, tag="user.interrupt"):
    """Stop. Without a thread: all of them."""

    session_thread_id: EventId | None = None


class UserToolConfirmation(EventParams, frozen=True, tag="user.tool_confirmation"):
    """Yes or no to a tool use that asks."""

    tool_use_id: EventId
    result: Literal["allow", "deny"]
    deny_message: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None


class UserCustomToolResult(EventParams, frozen=True, tag="user.custom_tool_result"):
    """A client's answer to a custom tool use."""

    custom_tool_use_id: EventId
    content: ResultContent | None = None
    is_error: bool | None = None


class UserToolResult(EventParams, frozen=True, tag="user.tool_result"):
    """Read only to be refused by name: it belongs to self-hosted environments."""

    IS_TOLD = False

    tool_use_id: Json = None
    content: Json = None
    is_error: Json = None


class TextRubric(Params, frozen=True, tag="text"):
    """The rubric's words."""

    content: RubricText


class FileRubric(Params, frozen=True, tag="file"):
    """The words of an uploaded file; they stand as text in what is stored."""

    file_id: EventId


class UserDefineOutcome(EventParams, frozen=True, tag="user.define_outcome"):
    """What must be true when the work is done. `verifiers` is Remit's own."""

    description: Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
    rubric: TextRubric | FileRubric | None = None
    max_iterations: Annotated[int, msgspec.Meta(ge=1, le=OUTCOME_ITERATIONS_MAX)] | None = None
    verifiers: VerifierList | None = None


class SystemMessage(EventParams, frozen=True, tag="system.message"):
    """Privileged context for this turn and those that follow."""

    content: SystemContent


InboundEvent = (
    UserMessage
    | UserInterrupt
    | UserToolConfirmation
    | UserCustomToolResult
    | UserToolResult
    | UserDefineOutcome
    | SystemMessage
)


class SendEvents(Params, frozen=True):
    """POST /v1/sessions/{id}/events: all of them or none."""

    events: Annotated[list[InboundEvent], msgspec.Meta(min_length=1, max_length=EVENTS_PER_REQUEST_MAX)]


DELTA_TYPES = frozenset({"agent.message", "agent.thinking"})

EVENT_TYPES = frozenset(
    {
        "user.message",
        "user.interrupt",
        CONFIRMATION,
        *USE_TYPES,
        *RESULT_TYPES,
        "user.tool_result",
        "user.define_outcome",
        "system.message",
        "agent.message",
        "agent.thinking",
        "agent.thread_message_received",
        "agent.thread_message_sent",
        "agent.thread_context_compacted",
        "session.error",
        "session.status_rescheduled",
        "session.status_running",
        "session.status_idle",
        "session.status_terminated",
        "session.thread_created",
        "session.thread_status_running",
        "session.thread_status_idle",
        "session.thread_status_terminated",
        "session.thread_status_rescheduled",
        "session.updated",
        "session.usage",
        "session.deleted",
        "session.packages_installing",
        "session.sandbox_lost",
        "session.credentials_used",
        "span.outcome_evaluation_start",
        "span.outcome_evaluation_ongoing",
        "span.outcome_evaluation_end",
        "span.model_request_start",
        "span.model_request_end",
        "workflow_run.created",
        "workflow_run.status_running",
        "workflow_run.status_idle",
        "workflow_run.status_ended",
        "workflow_run.error",
        "workflow_run.phase_started",
        "workflow_run.phase_ended",
    }
)
"""What `types[]` may name. The wire's own, and of Remit's own what docs/events.md names."""
