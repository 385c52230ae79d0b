"""An agent's tools: what was asked for, resolved to what holds for every tool."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import cast

from remit.catalog.web_settings import NO_WEB, WebOffer, check_web_entry, resolve_web_settings
from remit.errors import InvalidRequest
from remit.schema.mcp import MCP_TOOLSET
from remit.schema.tool_kinds import BUILTIN, MCP
from remit.schema.tools import (
    AGENT_TOOLSET,
    BUILTIN_TOOLS,
    WEB_TOOLS,
    AgentToolsetParams,
    CustomToolParams,
    McpToolsetParams,
    PermissionPolicy,
    ToolConfigParams,
    ToolParams,
)
from remit.schema.wire import not_supported
from remit.values import JsonObject, JsonValue


def resolve_tools(
    tools: Sequence[ToolParams], *, web: WebOffer = NO_WEB, field: str = "tools"
) -> list[JsonObject]:
    """The wire's resolved form, whatever is offered later: see `as_offered`. Raises InvalidRequest naming the entry."""
    custom = {tool.name for tool in tools if isinstance(tool, CustomToolParams)}
    resolved: list[JsonObject] = []
    names: set[str] = set()
    for index, tool in enumerate(tools):
        place = f"{field}[{index}]"
        match tool:
            case AgentToolsetParams():
                if any(entry["type"] == AGENT_TOOLSET for entry in resolved):
                    raise InvalidRequest(f"`{place}`: the built-in toolset is there twice; keep one.")
                resolved.append(_resolve_toolset(tool, place, web, custom))
            case CustomToolParams():
                _check_custom_tool(tool, names, place)
                names.add(tool.name)
                resolved.append(_resolve_custom_tool(tool))
            case McpToolsetParams():
                resolved.append(_resolve_mcp_toolset(tool, place))
    return resolved


def _resolve_mcp_toolset(toolset: McpToolsetParams, place: str) -> JsonObject:
    default = toolset.default_config
    is_enabled = default is None or default.enabled is not False
    own = _policy(default.permission_policy if default else None, f"{place}.default_config")
    policy: JsonObject = own or {"type": MCP.default_permission}
    configs: list[JsonValue] = []
    names: set[str] = set()
    for index, entry in enumerate(toolset.configs or ()):
        where = f"{place}.configs[{index}]"
        if entry.name in names:
            raise InvalidRequest(f"`{where}.name`: {entry.name!r} is there twice; keep one.")
        names.add(entry.name)
        configs.append(
            {
                "name": entry.name,
                "enabled": entry.enabled if entry.enabled is not None else is_enabled,
                "permission_policy": _policy(entry.permission_policy, where) or policy,
            }
        )
    return {
        "type": MCP_TOOLSET,
        "mcp_server_name": toolset.mcp_server_name,
        "default_config": {"enabled": is_enabled, "permission_policy": policy},
        "configs": configs,
    }


def as_offered(tools: Sequence[JsonObject], web: WebOffer) -> list[JsonObject]:
    """Resolved tools with those web tools alone that are offered now."""
    return [
        {
            **tool,
            "configs": [_as_offered(config, web) for config in cast("list[JsonObject]", tool["configs"])],
        }
        if tool["type"] == AGENT_TOOLSET
        else tool
        for tool in tools
    ]


def not_offered(tools: Sequence[JsonObject], web: WebOffer) -> list[str]:
    """The web tools that the resolved tools ask for, by the default of the whole set, and that are not offered."""
    return [
        str(config["name"])
        for tool in tools
        if tool["type"] == AGENT_TOOLSET
        for config in cast("list[JsonObject]", tool["configs"])
        if config["enabled"] and _as_offered(config, web) != config
    ]


def _as_offered(config: JsonObject, web: WebOffer) -> JsonObject:
    is_left_out = config["name"] in WEB_TOOLS and config["name"] not in web.tools
    return {**config, "enabled": False} if is_left_out else config


def _check_custom_tool(tool: CustomToolParams, names: set[str], place: str) -> None:
    if tool.name in names:
        raise InvalidRequest(f"`{place}.name`: {tool.name!r} is there twice; names are unique.")
    if tool.name in BUILTIN_TOOLS:
        raise InvalidRequest(f"`{place}.name`: {tool.name!r} is a built-in tool; choose another name.")
    if tool.name.startswith("mcp__"):
        raise InvalidRequest(f"`{place}.name`: the prefix mcp__ is reserved; choose another name.")
    if tool.input_schema.get("type") != "object":
        raise InvalidRequest(f'`{place}.input_schema.type`: must be "object".')


def _resolve_custom_tool(tool: CustomToolParams) -> JsonObject:
    return {
        "type": "custom",
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
    }


def _resolve_toolset(toolset: AgentToolsetParams, place: str, web: WebOffer, custom: Set[str]) -> JsonObject:
    default = toolset.default_config
    is_enabled = default is None or default.enabled is not False
    policy = _policy(default.permission_policy if default else None, f"{place}.default_config") or {
        "type": BUILTIN.default_permission
    }
    entries: dict[str, ToolConfigParams] = {}
    for index, entry in enumerate(toolset.configs or ()):
        where = f"{place}.configs[{index}]"
        _check_entry(entry, where)
        wants = entry.enabled if entry.enabled is not None else is_enabled
        check_web_entry(entry, where, web, is_enabled=wants, custom=custom)
        if entry.name in entries:
            raise InvalidRequest(f"`{where}.name`: {entry.name!r} is there twice; keep one.")
        entries[entry.name] = entry
    configs: list[JsonValue] = []
    for name in BUILTIN_TOOLS:
        entry = entries.get(name)
        own_policy = _policy(entry.permission_policy, f"{place}.configs ({name})") if entry else None
        config: JsonObject = {
            "type": name,
            "name": name,
            "enabled": entry.enabled if entry and entry.enabled is not None else is_enabled,
            "permission_policy": own_policy or policy,
        }
        configs.append({**config, **resolve_web_settings(name, entry)})
    return {
        "type": AGENT_TOOLSET,
        "default_config": {"enabled": is_enabled, "permission_policy": policy},
        "configs": configs,
    }


def _check_entry(entry: ToolConfigParams, place: str) -> None:
    if entry.type is not None and entry.type != entry.name:
        raise InvalidRequest(
            f"`{place}.type`: must equal `name` ({entry.name!r}); correct it or leave it out."
        )


def _policy(policy: PermissionPolicy | None, place: str) -> JsonObject | None:
    if policy is None:
        return None
    if policy.type == "auto":
        raise not_supported(
            f"{place}.permission_policy", "the policy auto is", "Use always_allow or always_ask."
        )
    return {"type": policy.type}
