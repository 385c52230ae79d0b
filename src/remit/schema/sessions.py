"""Sessions on the wire. The answer is made by `sessions.wire`."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.agents import AgentSnapshot, ModelParams, SystemPrompt
from remit.schema.events import INITIAL_EVENTS_MAX, InboundEvent
from remit.schema.lists import ListBothWays, ListOf, Paging, PagingWithinTimes
from remit.schema.mcp import McpServerList
from remit.schema.operation import Operation
from remit.schema.resources import ResourceList, SessionResource
from remit.schema.stream_operations import stream_operations
from remit.schema.streams import SESSION
from remit.schema.tools import ToolList
from remit.schema.wire import (
    CENTS,
    Json,
    JsonMap,
    Metadata,
    MetadataPatch,
    ModelId,
    Order,
    Params,
    Version,
    whole,
)

SessionStatus = Literal["idle", "running", "rescheduling", "terminated"]

Title = Annotated[str, msgspec.Meta(max_length=1_000)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Money(Params, frozen=True):
    """Whole cents as a string, so that nothing is rounded: "2500" is $25.00."""

    amount: Annotated[str, whole(CENTS)]
    currency: Literal["USD"]


class BudgetLimit(Params, frozen=True):
    """The cap of a session."""

    type: Literal["limit"]
    max_list_cost: Money


class AgentReference(Params, frozen=True, tag="agent"):
    """An agent, at a version or its newest."""

    id: Id
    version: Version | None = None


class AgentWithOverrides(Params, frozen=True, tag="agent_with_overrides"):
    """An agent with parts replaced for this session: left out = as the agent has it, null = cleared."""

    id: Id
    version: Version | None = None
    model: ModelId | ModelParams | UnsetType | None = UNSET
    system: SystemPrompt | UnsetType | None = UNSET
    tools: ToolList | UnsetType | None = UNSET
    mcp_servers: McpServerList | UnsetType | None = UNSET
    skills: list[Json] | UnsetType | None = UNSET


class SessionCreate(Params, frozen=True):
    """POST /v1/sessions."""

    agent: Id | AgentReference | AgentWithOverrides
    environment_id: Id
    title: Title | None = None
    metadata: Metadata | None = None
    budget: BudgetLimit | None = None
    initial_events: Annotated[list[InboundEvent], msgspec.Meta(max_length=INITIAL_EVENTS_MAX)] | None = None
    resources: ResourceList | None = None
    vault_ids: list[Json] | None = None


class SessionAgentUpdate(Params, frozen=True):
    """The parts of a session's agent that can be replaced."""

    tools: ToolList | UnsetType | None = UNSET
    mcp_servers: McpServerList | UnsetType | None = UNSET


class SessionUpdate(Params, frozen=True):
    """POST /v1/sessions/{id}: what is left out stays."""

    title: Title | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    budget: BudgetLimit | UnsetType | None = UNSET
    agent: SessionAgentUpdate | UnsetType = UNSET
    vault_ids: list[Json] | UnsetType | None = UNSET


class Cost(TypedDict):
    """Whole cents as text."""

    amount: str
    currency: Literal["USD"]


class Budget(TypedDict):
    """The cap of a session."""

    type: Literal["limit"]
    max_list_cost: Cost


class CacheCreation(TypedDict):
    """Tokens written to a provider's cache, by how long they are kept."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class ServerToolUse(TypedDict):
    """Uses of the web."""

    web_search_requests: int
    web_fetch_requests: int


class SessionUsage(TypedDict):
    """The usage so far."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation: CacheCreation
    list_cost: Cost
    active_seconds: float
    server_tool_use: ServerToolUse


class SessionStats(TypedDict):
    """The times of a session: at work, and since it was created."""

    active_seconds: float
    duration_seconds: float


class OutcomeEvaluation(TypedDict):
    """The progress of an outcome."""

    type: Literal["outcome_evaluation"]
    outcome_id: str
    description: str
    iteration: int
    result: str
    explanation: str | None
    completed_at: str | None
    waits_for: NotRequired[str]
    """Remit's own: what its verifiers wait for."""


class Isolation(TypedDict):
    """The walls that the session's sandbox has."""

    provider: str | None
    level: str | None
    not_held: list[str] | None


class Session(TypedDict):
    """One run of an agent. `parent_id` (the remit it works for) and `isolation` are Remit's own."""

    id: str
    type: Literal["session"]
    status: SessionStatus
    title: str | None
    metadata: dict[str, str]
    agent: AgentSnapshot
    environment_id: str
    budget: Budget | None
    usage: SessionUsage
    stats: SessionStats
    outcome_evaluations: list[OutcomeEvaluation]
    resources: list[SessionResource]
    vault_ids: list[str]
    deployment_id: str | None
    parent_id: str | None
    isolation: Isolation | None
    created_at: str
    updated_at: str
    archived_at: str | None


class SessionDeleted(TypedDict):
    """The word that a session is gone."""

    id: str
    type: Literal["session_deleted"]


class ThreadStats(SessionStats):
    """The same of a thread."""

    startup_seconds: float | None


class SessionThread(TypedDict):
    """One context inside a session."""

    id: str
    type: Literal["session_thread"]
    session_id: str
    parent_thread_id: str | None
    workflow_run_id: str | None
    agent: JsonMap
    status: SessionStatus
    stats: ThreadStats | None
    usage: SessionUsage | None
    created_at: str
    updated_at: str
    archived_at: str | None


class Account(TypedDict):
    """The account for one purpose, in one unit: what is spent, held and left."""

    stream_id: NotRequired[str]
    purpose: str
    unit: str
    cap: int | None
    spent: int
    held: int
    granted: int
    stopped: bool


class SessionPaging(PagingWithinTimes, frozen=True):
    """The selection of listed sessions."""

    order: Order = "desc"
    statuses: tuple[SessionStatus, ...] = ()
    agent_id: str | None = None
    agent_version: Version | None = None
    include_archived: bool = False
    deployment_id: str | None = None
    memory_store_id: str | None = None


class ThreadPaging(Paging, frozen=True):
    """The selection of listed threads."""

    statuses: tuple[SessionStatus, ...] = ()


_ALL, _ONE = "/v1/sessions", "/v1/sessions/{session_id}"
_THREADS, _THREAD = f"{_ONE}/threads", f"{_ONE}/threads/{{thread_id}}"
CREATE = Operation("POST", _ALL, "Create a session", body=SessionCreate, answer=Session)
LIST = Operation("GET", _ALL, "List sessions", query=SessionPaging, answer=ListBothWays[Session])
OPERATIONS = stream_operations(SESSION, Session)
RETRIEVE, WHY, CHECK = OPERATIONS.retrieve, OPERATIONS.why, OPERATIONS.check
UPDATE = Operation("POST", _ONE, "Update a session", body=SessionUpdate, answer=Session, takes_patch=True)
DELETE = Operation("DELETE", _ONE, "Delete a session", answer=SessionDeleted)
ARCHIVE = Operation("POST", f"{_ONE}/archive", "Archive a session", answer=Session)
ACCOUNTS = Operation(
    "GET",
    f"{_ONE}/accounts",
    "What a session may spend, has spent and holds",
    answer=ListOf[Account],
    scope="read_one",
)
THREADS = Operation("GET", _THREADS, "List threads", query=ThreadPaging, answer=ListOf[SessionThread])
THREAD = Operation("GET", _THREAD, "Retrieve a thread", answer=SessionThread)
ARCHIVE_THREAD = Operation("POST", f"{_THREAD}/archive", "Archive a thread", answer=SessionThread)
