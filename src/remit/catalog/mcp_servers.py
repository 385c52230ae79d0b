"""An agent's MCP servers: what was asked for, resolved, and whether its environment lets them be reached. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from remit.catalog.environment_config import is_host_within, web_hosts
from remit.errors import InvalidRequest
from remit.schema.mcp import MCP_TOOLSET, McpServerParams, StdioMcpServerParams, UrlMcpServerParams
from remit.values import JsonObject, JsonValue

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def resolve_servers(servers: Sequence[McpServerParams], *, field: str = "mcp_servers") -> list[JsonObject]:
    """The wire's resolved form. Raises InvalidRequest naming the entry."""
    resolved: list[JsonObject] = []
    names: set[str] = set()
    for index, server in enumerate(servers):
        place = f"{field}[{index}]"
        if server.name in names:
            raise InvalidRequest(f"`{place}.name`: {server.name!r} is there twice; names are unique.")
        if not server.name.isprintable():
            raise InvalidRequest(
                f"`{place}.name`: has characters that cannot be printed; choose another name."
            )
        names.add(server.name)
        match server:
            case UrlMcpServerParams():
                _check_url(server.url, f"{place}.url")
                resolved.append({"type": "url", "name": server.name, "url": server.url})
            case StdioMcpServerParams():
                resolved.append(_stdio(server, place))
    return resolved


def check_toolsets(tools: Sequence[JsonObject], servers: Sequence[JsonObject], *, field: str = "") -> None:
    """Check that each server has one toolset, and each toolset its server. Raises InvalidRequest."""
    unused = {str(server["name"]): index for index, server in enumerate(servers)}
    known = set(unused)
    for index, tool in enumerate(tools):
        if tool["type"] != MCP_TOOLSET:
            continue
        name = str(tool["mcp_server_name"])
        if name not in known:
            raise InvalidRequest(
                f"`{field}tools[{index}].mcp_server_name`: {name!r} is not in `{field}mcp_servers`; add it there or remove "
                "the toolset."
            )
        if name not in unused:
            raise InvalidRequest(
                f"`{field}tools[{index}].mcp_server_name`: {name!r} has a toolset already; keep one."
            )
        del unused[name]
    for name, index in unused.items():
        raise InvalidRequest(
            f"`{field}mcp_servers[{index}]`: no mcp_toolset in `{field}tools` names {name!r}; add "
            f'{{"type": "mcp_toolset", "mcp_server_name": …}} or remove the server.'
        )


def check_servers_reachable(servers: Sequence[JsonObject], config: JsonObject, *, field: str) -> None:
    """Raises InvalidRequest for a server whose host the environment's `limited` network does not open."""
    for server in servers:
        if server["type"] == "url":
            host = urlsplit(str(server["url"])).hostname or ""
            hosts = mcp_hosts(config, [server])
            if hosts is not None and not is_host_within(hosts, host):
                raise InvalidRequest(
                    f"`{field}`: the MCP server {server['name']!r} is at {host}, which the environment's limited network "
                    "does not open; make its config.networking.allow_mcp_servers true, or add the host to allowed_hosts.",
                    code="mcp_egress_blocked",
                )


def mcp_hosts(config: JsonObject, servers: Sequence[JsonObject]) -> tuple[str, ...] | None:
    """The hosts that requests to MCP servers may go to in a session of this environment; None: any public one."""
    hosts = web_hosts(config)
    networking = config.get("networking")
    if hosts is None or not isinstance(networking, dict) or not networking.get("allow_mcp_servers"):
        return hosts
    named = [urlsplit(str(server["url"])).hostname for server in servers if server["type"] == "url"]
    return (*hosts, *(host.lower() for host in named if host))


def _check_url(url: str, place: str) -> None:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_whole = False
        parts = urlsplit("")
    if not is_whole or not url.isprintable() or " " in url:
        raise InvalidRequest(
            f"`{place}`: {url!r} is no address of a server; write e.g. https://mcp.example.com/mcp."
        )
    if "@" in parts.netloc or parts.fragment:
        raise InvalidRequest(
            f"`{place}`: a user name, password or fragment does not belong here; the operator can name credentials for "
            "the host (docs/credentials.md)."
        )


def _stdio(server: StdioMcpServerParams, place: str) -> JsonObject:
    if not server.command[0] or any("\0" in one for one in server.command):
        raise InvalidRequest(f"`{place}.command`: the program and its arguments, without NUL bytes.")
    variables: dict[str, JsonValue] = {}
    for name, value in (server.env or {}).items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise InvalidRequest(f"`{place}.env`: {name!r} is no variable that can be set.")
        variables[name] = value
    return {
        "type": "stdio",
        "name": server.name,
        "command": list[JsonValue](server.command),
        "env": variables,
    }
