"""Agents on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.tools import ToolList
from remit.schema.wire import Json, JsonMap, Metadata, MetadataPatch, ModelId, Params

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
    """Only `service_account` exists here."""

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
    mcp_servers: list[Json] | None = None
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
    mcp_servers: list[Json] | UnsetType | None = UNSET
    skills: list[Json] | UnsetType | None = UNSET
    multiagent: JsonMap | UnsetType | None = UNSET


class AgentConfig(msgspec.Struct, kw_only=True, frozen=True):
    """The versioned part of an agent, fully resolved: what the catalog keeps and a session snapshots."""

    name: str
    model: JsonMap
    description: str | None = None
    system: str | None = None
    tools: list[JsonMap] = []
    metadata: dict[str, str] = {}
    harness: dict[str, str]


def snapshot_body(config: AgentConfig, *, id: str, version: int) -> JsonMap:
    """The agent as a session shows it: without metadata and times."""
    return {
        "id": id,
        "type": "agent",
        "version": version,
        "name": config.name,
        "description": config.description,
        "model": config.model,
        "system": config.system,
        "tools": list(config.tools),
        "mcp_servers": [],
        "skills": [],
        "multiagent": None,
        "execution_identity": {"type": "service_account"},
        "harness": dict(config.harness),
    }
