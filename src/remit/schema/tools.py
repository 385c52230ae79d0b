"""An agent's tools on the wire: the built-in toolset and custom tools."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from remit.schema.mcp import MCP_TOOL_CONFIGS_MAX, ServerName
from remit.schema.wire import COUNTRY, TOOL_NAME, JsonMap, Params, whole

AGENT_TOOLSET = "agent_toolset_20260401"
SANDBOX_TOOLS = ("bash", "read", "write", "edit", "glob", "grep")
WEB_TOOLS = ("web_fetch", "web_search")
BUILTIN_TOOLS = SANDBOX_TOOLS + WEB_TOOLS

TOOL_ENTRIES_MAX = 128

ToolName = Literal["bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search"]


class PermissionPolicy(Params, frozen=True):
    """The choice whether a call runs at once or asks first."""

    type: Literal["always_allow", "always_ask", "auto"]


class ToolsetDefaultConfig(Params, frozen=True):
    """The settings of every tool of the set that has no entry of its own."""

    enabled: bool | None = None
    permission_policy: PermissionPolicy | None = None


DOMAINS_MAX = 64
NAMED_TOOLS_MAX = 128
CONTENT_TOKENS_MAX = 250_000
"""About what a document's text is cut to in any case."""

Domains = list[str]


class UserLocation(Params, frozen=True):
    """The place that results should be near to."""

    type: Literal["approximate"]
    city: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    region: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    country: Annotated[str, whole(COUNTRY)] | None = None
    timezone: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None


class ToolReference(Params, frozen=True):
    """Names one tool."""

    type: Literal["tool_reference"]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class UrlSource(Params, frozen=True):
    """The choice whether a source counts; `tools` belongs to `only` and `except`."""

    type: Literal["all", "none", "only", "except"]
    tools: Annotated[list[ToolReference], msgspec.Meta(min_length=1, max_length=NAMED_TOOLS_MAX)] | None = (
        None
    )


class UrlSources(Params, frozen=True):
    """The parts of the conversation that contribute addresses that may be fetched."""

    user_input: Literal["all", "none"] | UrlSource | None = None
    client_tool_results: Literal["all", "none"] | UrlSource | None = None
    server_tool_results: Literal["all", "none"] | UrlSource | None = None


class ToolConfigParams(Params, frozen=True):
    """An entry of `configs`; what comes after the policy is for the tools of the web alone."""

    name: ToolName
    type: ToolName | None = None
    enabled: bool | None = None
    permission_policy: PermissionPolicy | None = None
    allowed_domains: Domains | None = None
    blocked_domains: Domains | None = None
    max_content_tokens: Annotated[int, msgspec.Meta(ge=1, le=CONTENT_TOKENS_MAX)] | None = None
    url_sources: UrlSources | None = None
    user_location: UserLocation | None = None


class AgentToolsetParams(Params, frozen=True, tag="agent_toolset_20260401"):
    """The built-in tools."""

    default_config: ToolsetDefaultConfig | None = None
    configs: Annotated[list[ToolConfigParams], msgspec.Meta(max_length=len(BUILTIN_TOOLS))] | None = None


class McpToolConfigParams(Params, frozen=True):
    """An entry of `configs`, by the server's own name for the tool."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    enabled: bool | None = None
    permission_policy: PermissionPolicy | None = None


class McpToolsetParams(Params, frozen=True, tag="mcp_toolset"):
    """The tools of one of the agent's `mcp_servers`."""

    mcp_server_name: ServerName
    default_config: ToolsetDefaultConfig | None = None
    configs: Annotated[list[McpToolConfigParams], msgspec.Meta(max_length=MCP_TOOL_CONFIGS_MAX)] | None = None


class CustomToolParams(Params, frozen=True, tag="custom"):
    """A tool that the caller's program answers."""

    name: Annotated[str, whole(TOOL_NAME)]
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    input_schema: JsonMap


ToolParams = AgentToolsetParams | McpToolsetParams | CustomToolParams
ToolList = Annotated[list[ToolParams], msgspec.Meta(max_length=TOOL_ENTRIES_MAX)]
