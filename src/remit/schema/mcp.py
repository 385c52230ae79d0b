"""MCP servers of an agent on the wire, and which of their tools it may use."""

from __future__ import annotations

from typing import Annotated

import msgspec

from remit.schema.wire import Params

MCP_TOOLSET = "mcp_toolset"
MCP_SERVERS_MAX = 20
MCP_TOOL_CONFIGS_MAX = 128

ServerName = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Argument = Annotated[str, msgspec.Meta(max_length=4_096)]


class UrlMcpServerParams(Params, frozen=True, tag="url"):
    """A server that is reached over HTTP, from the platform."""

    name: ServerName
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)]


class StdioMcpServerParams(Params, frozen=True, tag="stdio"):
    """Remit's own: a server that is a program in the session's sandbox."""

    name: ServerName
    command: Annotated[list[_Argument], msgspec.Meta(min_length=1, max_length=64)]
    env: Annotated[dict[str, _Argument], msgspec.Meta(max_length=64)] | None = None


McpServerParams = UrlMcpServerParams | StdioMcpServerParams
McpServerList = Annotated[list[McpServerParams], msgspec.Meta(max_length=MCP_SERVERS_MAX)]
