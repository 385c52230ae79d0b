"""Agents on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.lists import ListOf, Paging, PagingByTime
from remit.schema.mcp import McpServerList
from remit.schema.operation import Operation
from remit.schema.tools import ToolList
from remit.schema.wire import VERSION_MAX, Json, JsonMap, Metadata, MetadataPatch, ModelId, Params

EffortLevel = Literal["low", "medium", "high", "xhigh", "max"]

AgentName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Description = Annotated[str, msgspec.Meta(max_length=2_048)]
SystemPrompt = Annotated[str, msgspec.Meta(max_length=100_000)]


class EffortParams(Params, frozen=True):
    """The object form of an effort."""

    type: EffortLevel


class ModelParams(Params, frozen=True):
    """The object form of a model."""

    id: ModelId
    effort: EffortLevel | EffortParams | None = None
    speed: Literal["standard", "fast"] | None = None
    inference_geo: str | None = None


class HarnessParams(Params, frozen=True):
    """Remit's own: which harness runs the agent. Without `version` the newest."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class ExecutionIdentityParams(Params, frozen=True):
    """The identity as which tools are to act. Only `service_account` exists here."""

    type: str
    role_arn: Json = None


class AgentCreate(Params, frozen=True):
    """POST /v1/agents."""

    name: AgentName
    model: ModelId | ModelParams
    description: Description | None = None
    system: SystemPrompt | None = None
    tools: ToolList | None = None
    metadata: Metadata | None = None
    harness: HarnessParams | None = None
    execution_identity: ExecutionIdentityParams | None = None
    mcp_servers: McpServerList | None = None
    skills: list[Json] | None = None
    multiagent: JsonMap | None = None


class AgentUpdate(Params, frozen=True):
    """POST /v1/agents/{id}: what is left out stays; null or an empty value clears where clearing makes sense."""

    version: int | UnsetType = UNSET
    name: AgentName | UnsetType = UNSET
    model: ModelId | ModelParams | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    system: SystemPrompt | UnsetType | None = UNSET
    tools: ToolList | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    harness: HarnessParams | UnsetType | None = UNSET
    execution_identity: ExecutionIdentityParams | UnsetType | None = UNSET
    mcp_servers: McpServerList | UnsetType | None = UNSET
    skills: list[Json] | UnsetType | None = UNSET
    multiagent: JsonMap | UnsetType | None = UNSET


class AgentConfig(msgspec.Struct, kw_only=True, frozen=True):
    """The versioned part of an agent, fully resolved: what the catalog keeps and a session snapshots."""

    name: str
    model: JsonMap
    description: str | None = None
    system: str | None = None
    tools: list[JsonMap] = []
    mcp_servers: list[JsonMap] = []
    metadata: dict[str, str] = {}
    harness: dict[str, str]


class HarnessName(TypedDict):
    """The harness that runs an agent."""

    name: str
    version: str


class Effort(TypedDict):
    """The effort a model makes."""

    type: EffortLevel


class ModelConfig(TypedDict):
    """A model and how it is asked; `effort` is null where nobody knows the model's own."""

    id: str
    effort: Effort | None
    speed: Literal["standard"]
    inference_geo: None


class ExecutionIdentity(TypedDict):
    """The identity as which tools act."""

    type: Literal["service_account"]


class AgentSnapshot(TypedDict):
    """An agent as a session shows it."""

    id: str
    type: Literal["agent"]
    version: int
    name: str
    description: str | None
    model: ModelConfig
    system: str | None
    tools: list[JsonMap]
    mcp_servers: list[JsonMap]
    skills: list[JsonMap]
    multiagent: JsonMap | None
    execution_identity: ExecutionIdentity
    harness: HarnessName


class Agent(AgentSnapshot):
    """An agent at one of its versions."""

    metadata: dict[str, str]
    created_at: str
    updated_at: str
    archived_at: str | None


def agent_body(
    config: AgentConfig, *, id: str, version: int, created_at: str, updated_at: str, archived_at: str | None
) -> Agent:
    """The agent as the wire shows it."""
    return {
        **snapshot_body(config, id=id, version=version),
        "metadata": dict(config.metadata),
        "created_at": created_at,
        "updated_at": updated_at,
        "archived_at": archived_at,
    }


def snapshot_body(config: AgentConfig, *, id: str, version: int) -> AgentSnapshot:
    """The agent as a session shows it: without metadata and times."""
    kept: Any = config  # Any: the catalog keeps its parts as JSON, of whatever version wrote them
    return {
        "id": id,
        "type": "agent",
        "version": version,
        "name": config.name,
        "description": config.description,
        "model": kept.model,
        "system": config.system,
        "tools": list(config.tools),
        "mcp_servers": list(config.mcp_servers),
        "skills": [],
        "multiagent": None,
        "execution_identity": {"type": "service_account"},
        "harness": {"name": kept.harness["name"], "version": kept.harness["version"]},
    }


class AgentAtVersion(Params, frozen=True):
    """The version that is asked for; else the newest."""

    version: Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)] | None = None


class AgentPaging(PagingByTime, frozen=True):
    """The selection of listed agents."""

    include_archived: bool = False


CREATE = Operation("POST", "/v1/agents", "Create an agent", body=AgentCreate, answer=Agent)
LIST = Operation("GET", "/v1/agents", "List agents", query=AgentPaging, answer=ListOf[Agent])
RETRIEVE = Operation("GET", "/v1/agents/{agent_id}", "Retrieve an agent", query=AgentAtVersion, answer=Agent)
UPDATE = Operation(
    "POST", "/v1/agents/{agent_id}", "Update an agent", body=AgentUpdate, answer=Agent, takes_patch=True
)
ARCHIVE = Operation("POST", "/v1/agents/{agent_id}/archive", "Archive an agent", answer=Agent)
VERSIONS = Operation(
    "GET",
    "/v1/agents/{agent_id}/versions",
    "List versions of an agent",
    query=Paging,
    answer=ListOf[Agent],
)
