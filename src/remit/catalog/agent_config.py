"""The configuration of an agent: requests resolved to a full one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.mcp_servers import check_toolsets, resolve_servers
from remit.catalog.metadata import merge_metadata
from remit.catalog.tools import resolve_tools
from remit.catalog.web_settings import NO_WEB, WebOffer
from remit.errors import InvalidRequest
from remit.schema.agents import (
    AgentConfig,
    AgentCreate,
    AgentUpdate,
    EffortParams,
    ExecutionIdentityParams,
    HarnessParams,
    ModelParams,
)
from remit.schema.claude import default_effort
from remit.schema.wire import Json, JsonMap, not_supported
from remit.values import JsonObject

Harnesses = Mapping[str, str]
"""Harnesses that can run agents: name and newest version."""

DEFAULT_HARNESS = "remit"


def resolve_create(params: AgentCreate, harnesses: Harnesses, web: WebOffer = NO_WEB) -> AgentConfig:
    """Raises InvalidRequest."""
    _refuse_later_parts(params.skills, params.multiagent, params.execution_identity)
    config = AgentConfig(
        name=params.name,
        model=resolve_model(params.model),
        description=params.description or None,
        system=params.system or None,
        tools=resolve_tools(params.tools or (), web=web),
        mcp_servers=resolve_servers(params.mcp_servers or ()),
        metadata=dict(params.metadata or {}),
        harness=resolve_harness(params.harness, harnesses),
    )
    check_toolsets(config.tools, config.mcp_servers)
    return config


def resolve_update(
    current: AgentConfig, params: AgentUpdate, harnesses: Harnesses, web: WebOffer = NO_WEB
) -> AgentConfig:
    """The configuration after an update: what is left out stays. Raises InvalidRequest."""
    _refuse_later_parts(
        _given(params.skills),
        _given(params.multiagent),
        _given(params.execution_identity),
    )
    changed = current
    if params.name is not UNSET:
        changed = replace(changed, name=params.name)
    if params.model is not UNSET:
        changed = replace(changed, model=resolve_model(params.model, current=current.model))
    if params.description is not UNSET:
        changed = replace(changed, description=params.description or None)
    if params.system is not UNSET:
        changed = replace(changed, system=params.system or None)
    if params.tools is not UNSET:
        changed = replace(changed, tools=resolve_tools(params.tools or (), web=web))
    if params.mcp_servers is not UNSET:
        changed = replace(changed, mcp_servers=resolve_servers(params.mcp_servers or ()))
    if params.metadata is not UNSET:
        changed = replace(changed, metadata=merge_metadata(current.metadata, params.metadata))
    if params.harness is not UNSET:
        changed = replace(changed, harness=resolve_harness(params.harness, harnesses))
    check_toolsets(changed.tools, changed.mcp_servers)
    return changed


def resolve_model(
    model: str | ModelParams, *, current: JsonObject | None = None, field: str = "model"
) -> JsonObject:
    """The object form. Without an effort: the stored one if the id stays, else the model's default (null: not known)."""
    params = ModelParams(id=model) if isinstance(model, str) else model
    if params.speed == "fast":
        raise not_supported(f"{field}.speed", "fast is", 'Remove it or use "standard".')
    if params.inference_geo is not None:
        raise not_supported(f"{field}.inference_geo", "it is", "Remove it.")
    level: str | None
    match params.effort:
        case None if current is not None and current["id"] == params.id:
            stored = current.get("effort")
            level = str(stored["type"]) if isinstance(stored, dict) else None
        case None:
            level = default_effort(params.id)
        case EffortParams(type=level) | level:
            pass
    effort: JsonObject | None = {"type": level} if level is not None else None
    return {"id": params.id, "effort": effort, "speed": "standard", "inference_geo": None}


def resolve_harness(harness: HarnessParams | None, harnesses: Harnesses) -> dict[str, str]:
    """Name and version. Raises InvalidRequest when there is no such harness here."""
    name = harness.name if harness is not None else DEFAULT_HARNESS
    newest = harnesses.get(name)
    if newest is None:
        known = ", ".join(sorted(harnesses))
        raise InvalidRequest(f"`harness.name`: there is no harness {name!r} here; use one of: {known}.")
    version = harness.version if harness is not None and harness.version is not None else newest
    if version != newest:
        raise InvalidRequest(
            f"`harness.version`: {name!r} is here at version {newest!r}, not {version!r}; use that or leave it out."
        )
    return {"name": name, "version": version}


def _given(value: Json) -> Json:
    return None if value is UNSET else value


def _refuse_later_parts(
    skills: Sequence[Json] | None,
    multiagent: JsonMap | None,
    execution_identity: ExecutionIdentityParams | None,
) -> None:
    refuse_skills(skills)
    if multiagent is not None:
        raise not_supported("multiagent", "agents with subagents are", "Remove it.")
    if execution_identity is not None and (
        execution_identity.type != "service_account" or execution_identity.role_arn is not None
    ):
        raise not_supported(
            "execution_identity", "only service_account is", 'Remove it or use {"type": "service_account"}.'
        )


def refuse_skills(skills: Sequence[Json] | None, *, field: str = "") -> None:
    """Refuse skills, which come with later releases; an empty list is fine."""
    if skills:
        raise not_supported(f"{field}skills", "skills are", "Remove them.")
