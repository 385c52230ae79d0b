"""Sessions on the wire: what callers send. The answer is made by `resources.session_wire`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.agents import ModelParams, SystemPrompt
from remit.schema.events import INITIAL_EVENTS_MAX, InboundEvent
from remit.schema.mcp import McpServerList
from remit.schema.resources import ResourceList
from remit.schema.tools import ToolList
from remit.schema.wire import CENTS, Json, Metadata, MetadataPatch, ModelId, Params, Version, whole

STATUSES = ("idle", "running", "rescheduling", "terminated")

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
    """Which parts of a session's agent can be replaced."""

    tools: ToolList | UnsetType | None = UNSET
    mcp_servers: McpServerList | UnsetType | None = UNSET


class SessionUpdate(Params, frozen=True):
    """POST /v1/sessions/{id}: what is left out stays."""

    title: Title | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    budget: BudgetLimit | UnsetType | None = UNSET
    agent: SessionAgentUpdate | UnsetType = UNSET
    vault_ids: list[Json] | UnsetType | None = UNSET
