"""Connections to the MCP servers of sessions: kept between turns, shared by no two sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

import mcp_types
from mcp.client import Client
from mcp.client.session import MessageHandlerFnT

from remit.catalog.environment_config import is_host_within
from remit.catalog.mcp_servers import mcp_hosts
from remit.clock import Clock
from remit.errors import LeaseLost, RemitError, StoreUnavailable, ToolsUnavailable
from remit.ids import Ids
from remit.interfaces import Sandbox, ToolSession, Toolset
from remit.schema.mcp import MCP_TOOLSET
from remit.toolsets.inputs import BadToolInput, refuse_unparsed
from remit.toolsets.mcp.connection import CannotConnect, McpConnection
from remit.toolsets.mcp.http import Failures, http_client
from remit.toolsets.mcp.limits import Authorization, Authorize, McpLimits
from remit.toolsets.mcp.offers import Offer, make_offer
from remit.toolsets.mcp.stdio import stdio_client
from remit.toolsets.offers import entries_of
from remit.toolsets.web.fetching import AddressGate
from remit.values import CredentialUse, JsonObject, JsonValue, Tool, ToolContext, ToolResult, ToolUse

Connect = Callable[
    [ToolSession, Sandbox | None, Failures, MessageHandlerFnT], AbstractAsyncContextManager[Client]
]


class Server:
    """One server of one session."""

    def __init__(
        self,
        config: JsonObject,
        authorization: Authorization,
        connect: Connect,
        clock: Clock,
        limits: McpLimits,
    ) -> None:
        self.name = str(config["name"])
        self.config = config
        self.authorization = authorization
        self.is_in_sandbox = config["type"] == "stdio"
        self._connect = connect
        self._clock = clock
        self.limits = limits
        self._lock = asyncio.Lock()
        self._connection: McpConnection | None = None
        self._sandbox_id: str | None = None
        self._told: str | None = None
        """What was said last of tools that are left out."""

    @property
    def is_current(self) -> bool:
        """Return whether the server is connected, and its list is recent."""
        return self._connection is not None and self._connection.is_alive and self._connection.is_listed

    @property
    def tools(self) -> Sequence[mcp_types.Tool]:
        """Return the tools as the server listed them last."""
        return self._connection.tools if self._connection is not None else ()

    async def connected(self, session: ToolSession, sandbox: Sandbox | None = None) -> McpConnection:
        """The live connection, made anew where the last one is over. Raises ToolsUnavailable, and what making a sandbox
        raises."""
        async with self._lock:
            if self.is_in_sandbox and sandbox is None:
                sandbox = await session.sandbox()
            sandbox_id = sandbox.id if sandbox is not None else None
            if self._connection is not None:
                if self._connection.is_alive and self._sandbox_id == sandbox_id:
                    return self._connection
                await self._connection.close()
            failures = Failures()
            connection = McpConnection(
                self.name,
                lambda heard: self._connect(session, sandbox, failures, heard),
                self._clock,
                self.limits,
            )
            try:
                await connection.open()
            except CannotConnect as error:
                raise _unavailable(self.name, str(error), failures) from error
            self._connection, self._sandbox_id = connection, sandbox_id
            return connection

    async def reach(self, session: ToolSession) -> ToolsUnavailable | None:
        """Be connected, with a recent list of tools; what went wrong."""
        try:
            connection = await self.connected(session)
            if not connection.is_listed and not await connection.list_again():
                await self.close()
                await self.connected(session)
        except (LeaseLost, StoreUnavailable):
            raise
        except ToolsUnavailable as error:
            return error
        except RemitError as error:  # no sandbox for it
            return _unavailable(self.name, error.message, Failures())
        return None

    def left_out(self, offer: Offer) -> ToolsUnavailable | None:
        """Say that tools are not shown; once, until others are."""
        said = _left_out(self.name, offer, len(self.tools), self.limits) if offer.left_out else None
        is_news, self._told = said != self._told, said
        return ToolsUnavailable(said, server=self.name, reason="limits") if said and is_news else None

    async def close(self) -> None:
        """End the connection. Idempotent."""
        if self._connection is not None:
            await self._connection.close()


class Pool:
    """All servers of all sessions."""

    def __init__(
        self, *, gate: AddressGate, authorize: Authorize, clock: Clock, ids: Ids, limits: McpLimits
    ) -> None:
        self._gate = gate
        self._authorize = authorize
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._sessions: dict[str, dict[str, Server]] = {}
        """By session and name."""

    async def open(self, session: ToolSession) -> Toolset:
        """See ToolSource. What goes wrong with one server is told of that one; the others are there."""
        former = self._sessions.pop(session.session_id, {})
        servers = [
            await self._server(session, config, former)
            for config in cast("list[JsonObject]", session.agent.get("mcp_servers") or [])
        ]
        if servers:
            self._sessions[session.session_id] = {server.name: server for server in servers}
        await _close([server for server in former.values() if server not in servers])
        problems = await asyncio.gather(*(server.reach(session) for server in servers))
        told = [problem for problem in problems if problem is not None]
        # Judging strangers' schemas takes its time, and nobody else is to wait for it.
        return await asyncio.to_thread(McpToolset, session, servers, told)

    async def forget(self, session_id: str) -> None:
        """See ToolSource."""
        await _close(self._sessions.pop(session_id, {}).values())

    async def close(self) -> None:
        """See ToolSource."""
        for session_id in list(self._sessions):
            await self.forget(session_id)

    async def _server(self, session: ToolSession, config: JsonObject, former: Mapping[str, Server]) -> Server:
        """The one that there is already, if it is still the same."""
        url = config.get("url")
        authorization = Authorization()
        if isinstance(url, str):
            authorization = await self._authorize(session, url)
        known = former.get(str(config["name"]))
        if known is not None and known.config == config and known.authorization == authorization:
            return known
        connect = self._over_http(config, authorization) if isinstance(url, str) else self._in_sandbox(config)
        return Server(config, authorization, connect, self._clock, self._limits)

    def _in_sandbox(self, config: JsonObject) -> Connect:
        def connect(
            session: ToolSession, sandbox: Sandbox | None, failures: Failures, heard: MessageHandlerFnT
        ) -> AbstractAsyncContextManager[Client]:
            assert sandbox is not None, "it lives in one"
            return stdio_client(
                sandbox,
                call_id=self._ids.new("mcp"),
                epoch=session.epoch,
                command=cast("list[str]", config["command"]),
                env=cast("dict[str, str]", config["env"]),
                limits=self._limits,
                heard=heard,
            )

        return connect

    def _over_http(self, config: JsonObject, authorization: Authorization) -> Connect:
        def connect(
            session: ToolSession, sandbox: Sandbox | None, failures: Failures, heard: MessageHandlerFnT
        ) -> AbstractAsyncContextManager[Client]:
            hosts = mcp_hosts(session.config, [config])

            def may_reach(host: str) -> str | None:
                if hosts is None or is_host_within(hosts, host):
                    return None
                return f"{host} is not open in the limited network of this session's environment"

            return http_client(
                str(config["url"]), self._gate, may_reach, authorization, failures, self._limits, heard=heard
            )

        return connect


class McpToolset(Toolset):
    """The tools of a session's servers as they are now; constant through a turn, whatever a server changes meanwhile."""

    def __init__(
        self, session: ToolSession, servers: Sequence[Server], problems: Sequence[ToolsUnavailable]
    ) -> None:
        self._session = session
        self._servers = servers
        self._problems = list(problems)
        self._tools: list[Tool] = []
        self._places: dict[str, tuple[Server, str]] = {}
        """By the name that the model calls: the server, and its own name for the tool."""
        entries = {str(entry["mcp_server_name"]): entry for entry in entries_of(session.agent, MCP_TOOLSET)}
        for server in servers:
            offer = make_offer(
                server.name,
                server.tools,
                entries[server.name],
                is_in_sandbox=server.is_in_sandbox,
                limits=server.limits,
                taken=self._places,
            )
            if (problem := server.left_out(offer)) is not None:
                self._problems.append(problem)
            self._tools += offer.tools
            self._places |= {shown: (server, own) for shown, own in offer.own_names.items()}

    @property
    def tools(self) -> Sequence[Tool]:
        return self._tools

    @property
    def problems(self) -> Sequence[ToolsUnavailable]:
        return self._problems

    @property
    def is_current(self) -> bool:
        return all(server.is_current for server in self._servers)

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        try:
            refuse_unparsed(name, input, takes="what its schema says")
        except BadToolInput as error:
            return str(error)
        return None  # the server judges it

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        return [use for server in self._servers for use in server.authorization.take_uses()]

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        server, own_name = self._places[use.name]
        try:
            connection = await server.connected(self._session, sandbox)
        except ToolsUnavailable as error:
            text = f"{error.message} The call was not made."
            return ToolResult(content=({"type": "text", "text": text},), is_error=True)
        return await connection.call(own_name, use.input, mark=use.id)


async def _close(servers: Iterable[Server]) -> None:
    await asyncio.gather(*(server.close() for server in servers))


def _left_out(name: str, offer: Offer, listed: int, limits: McpLimits) -> str:
    return (
        f"The MCP server {name!r} lists {listed:,} tools, of which {offer.left_out:,} are left out: of one server at most "
        f"{limits.tools} are taken, with {limits.offer_bytes:,} bytes of names, descriptions and schemas, and none whose "
        "name cannot be printed or is there twice (docs/limits.md). The session goes on with the others."
    )


def _unavailable(name: str, why: str, failures: Failures) -> ToolsUnavailable:
    if failures.status in (401, 403):
        return ToolsUnavailable(
            f"The MCP server {name!r} refused the session's credentials, or wants some and there are none (HTTP "
            f"{failures.status}). The operator can name one for its host (docs/credentials.md). Until then the session goes "
            "on without its tools, and tries again when it next begins to run.",
            server=name,
            reason="authentication",
        )
    said = failures.message or (f"HTTP {failures.status}" if failures.status is not None else why)
    return ToolsUnavailable(
        f"The MCP server {name!r} cannot be reached ({said}). The session goes on without its tools, and tries again when "
        "it next begins to run.",
        server=name,
        reason="connection",
    )
