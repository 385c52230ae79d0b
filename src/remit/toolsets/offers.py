"""The tools of an agent's configuration, and toolsets that differ from agent to agent in nothing else."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from remit.interfaces import Sandbox, Toolset
from remit.schema.tool_kinds import ToolKind
from remit.schema.tools import AGENT_TOOLSET
from remit.values import JsonObject, JsonValue, Permission, Tool, ToolContext, ToolResult, ToolUse


class Carrier(Protocol):
    """Carries out uses of tools, whichever session's they are."""

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        """See Toolset."""
        ...

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        """See Toolset."""
        ...


class OfferedTools(Toolset):
    """Tools that one carrier carries out for all sessions."""

    def __init__(self, tools: Iterable[Tool], carrier: Carrier) -> None:
        self._tools = tuple(tools)
        self._carrier = carrier

    @property
    def tools(self) -> Sequence[Tool]:
        return self._tools

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        return self._carrier.check_input(name, input)

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        return await self._carrier.run(use, context, sandbox)


def entries_of(agent: JsonObject, type: str) -> list[JsonObject]:
    """The entries of this type in the agent's `tools`."""
    return [tool for tool in cast("list[JsonObject]", agent.get("tools") or []) if tool["type"] == type]


def config_of(entry: JsonObject, name: str) -> JsonObject:
    """Return the configuration of the tool in a toolset's entry: its own over the default of the set."""
    configs = cast("list[JsonObject]", entry.get("configs") or [])
    own = [config for config in configs if config["name"] == name]
    return dict(ChainMap(*own, cast("JsonObject", entry.get("default_config") or {})))


def permission_of(config: JsonObject, kind: ToolKind) -> Permission:
    """Return what happens with a use of a tool that is configured so."""
    if config.get("enabled") is False:
        return "off"
    policy = cast("JsonObject", config.get("permission_policy") or {"type": kind.default_permission})
    return "ask" if policy["type"] == "always_ask" else "allow"


def builtin_tools(agent: JsonObject, offered: Sequence[Tool]) -> list[Tool]:
    """Return the built-in tools as the agent's entry for the set configures them; none without one."""
    found: list[Tool] = []
    for entry in entries_of(agent, AGENT_TOOLSET):
        for tool in offered:
            config = config_of(entry, tool.name)
            found.append(tool.configured(permission=permission_of(config, tool.kind), settings=config))
    return found
