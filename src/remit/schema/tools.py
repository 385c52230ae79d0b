"""An agent's tools on the wire: the built-in toolset and custom tools."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from remit.schema.wire import Json, JsonMap, Params

AGENT_TOOLSET = "agent_toolset_20260401"
SANDBOX_TOOLS = ("bash", "read", "write", "edit", "glob", "grep")
WEB_TOOLS = ("web_fetch", "web_search")
BUILTIN_TOOLS = SANDBOX_TOOLS + WEB_TOOLS

TOOL_ENTRIES_MAX = 128

ToolName = Literal["bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search"]


class PermissionPolicy(Params, frozen=True):
    """Whether a call runs at once or asks first."""

    type: Literal["always_allow", "always_ask", "auto"]


class ToolsetDefaultConfig(Params, frozen=True):
    """What holds for every tool of the set that has no entry of its own."""

    enabled: bool | None = None
    permission_policy: PermissionPolicy | None = None


class ToolConfigParams(Params, frozen=True):
    """An entry of `configs`. The settings of web tools are read only to be refused by name."""

    name: ToolName
    type: ToolName | None = None
    enabled: bool | None = None
    permission_policy: PermissionPolicy | None = None
    allowed_domains: Json = None
    blocked_domains: Json = None
    max_content_tokens: Json = None
    url_sources: Json = None
    user_location: Json = None


class AgentToolsetParams(Params, frozen=True, tag="agent_toolset_20260401"):
    """The built-in tools."""

    default_config: ToolsetDefaultConfig | None = None
    configs: Annotated[list[ToolConfigParams], msgspec.Meta(max_length=len(BUILTIN_TOOLS))] | None = None


class McpToolsetParams(Params, frozen=True, tag="mcp_toolset"):
    """Read only to be refused by name."""

    mcp_server_name: Json = None
    default_config: Json = None
    configs: Json = None


class CustomToolParams(Params, frozen=True, tag="custom"):
    """A tool that the caller's program answers."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    input_schema: JsonMap


ToolParams = AgentToolsetParams | McpToolsetParams | CustomToolParams
ToolList = Annotated[list[ToolParams], msgspec.Meta(max_length=TOOL_ENTRIES_MAX)]
