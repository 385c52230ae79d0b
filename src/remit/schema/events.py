"""Session events that callers send, and the names of all that they can read."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from remit.schema.blocks import MessageContent, ResultContent, SystemContent
from remit.schema.lists import EVENTS_LIMIT_DEFAULT, EVENTS_LIMIT_MAX, ListOf, Paging, PagingWithinTimes
from remit.schema.operation import Events, Operation
from remit.schema.streams import SESSION
from remit.schema.tool_kinds import CLIENT_RESULT_TYPES
from remit.schema.verifiers import RubricText, VerifierList
from remit.schema.wire import Json, Order, Params

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
    """A message of a person."""

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
    """The outcome that must hold when the work is done. `verifiers` is Remit's own."""

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


DeltaType = Literal["agent.message", "agent.thinking"]
EventType = Literal[
    "user.message",
    "user.interrupt",
    "user.tool_confirmation",
    "user.custom_tool_result",
    "user.tool_result",
    "user.define_outcome",
    "system.message",
    "agent.custom_tool_use",
    "agent.message",
    "agent.thinking",
    "agent.mcp_tool_use",
    "agent.mcp_tool_result",
    "agent.tool_use",
    "agent.tool_result",
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
    "session.memory_not_kept",
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
]
"""What `types[]` may name. The wire's own, and of Remit's own what docs/events.md names."""


class Event(TypedDict):
    """One entry of a log; by its type it has more fields (docs/events.md)."""

    id: str
    type: str
    processed_at: NotRequired[str | None]


class EventsSent(TypedDict):
    """Events as they were received."""

    data: list[Event]


EventsLimit = Annotated[int, msgspec.Meta(ge=1, le=EVENTS_LIMIT_MAX)]


class EventPaging(Paging, frozen=True):
    """The selection of listed events of a stream."""

    limit: EventsLimit = EVENTS_LIMIT_DEFAULT
    order: Order = "asc"


class SessionEventPaging(PagingWithinTimes, frozen=True):
    """The selection of listed events of a session."""

    limit: EventsLimit = EVENTS_LIMIT_DEFAULT
    order: Order = "asc"
    types: tuple[EventType, ...] = ()


class ThreadEventPaging(Paging, frozen=True):
    """The selection of listed events of a thread."""

    limit: EventsLimit = EVENTS_LIMIT_DEFAULT


class EventsAfter(Params, frozen=True):
    """The position at which a stream of events begins: a cursor, an event's id, or `0`; left out: now."""

    after: str | None = None


class SessionEventsAfter(EventsAfter, frozen=True):
    """The same, with the types whose pieces are shown as they are written."""

    event_deltas: Annotated[tuple[DeltaType, ...], msgspec.Meta(max_length=EVENT_DELTAS_MAX)] = ()


_SESSION, _THREAD = "/v1/sessions/{session_id}", "/v1/sessions/{session_id}/threads/{thread_id}"
_LAST = (*SESSION.final_types, "session.status_terminated")

SEND = Operation("POST", f"{_SESSION}/events", "Send events", body=SendEvents, answer=EventsSent)
LIST = Operation(
    "GET",
    f"{_SESSION}/events",
    "List events",
    query=SessionEventPaging,
    answer=ListOf[Event],
    scope="read_one",
)
STREAM = Operation(
    "GET",
    f"{_SESSION}/events/stream",
    "Stream events",
    query=SessionEventsAfter,
    answer=Events,
    scope="read_one",
    gate="readers",
    last_types=_LAST,
)
STREAM_BY_ITS_OTHER_NAME = Operation(
    "GET",
    f"{_SESSION}/stream",
    "Stream events: another name of events/stream",
    query=SessionEventsAfter,
    answer=Events,
    scope="read_one",
    gate="readers",
    last_types=_LAST,
)
"""Quickstarts and clients of other languages know the one path, the SDKs for the one thing the other."""
LIST_OF_THREAD = Operation(
    "GET", f"{_THREAD}/events", "List events of a thread", query=ThreadEventPaging, answer=ListOf[Event]
)
STREAM_OF_THREAD = Operation(
    "GET",
    f"{_THREAD}/stream",
    "Stream events of a thread",
    query=SessionEventsAfter,
    answer=Events,
    gate="readers",
    last_types=_LAST,
)
STREAM_OF_THREAD_BY_ITS_OTHER_NAME = Operation(
    "GET",
    f"{_THREAD}/events/stream",
    "Stream events of a thread: another name of stream",
    query=SessionEventsAfter,
    answer=Events,
    gate="readers",
    last_types=_LAST,
)
