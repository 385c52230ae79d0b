"""A source of MCP servers' tools by itself, without a platform around it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from remit.clock import SystemClock
from remit.errors import SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import Sandbox, ToolSession, Toolset
from remit.toolsets.mcp.limits import Authorization, McpLimits
from remit.toolsets.mcp.servers import McpServers
from remit.toolsets.web.fetching import Address, AddressGate
from remit.values import JsonObject, ToolContext, ToolResult, ToolUse

UNRESTRICTED: JsonObject = {"type": "cloud", "networking": {"type": "unrestricted"}}
CONTEXT = ToolContext(session_id="sesn_1", thread_id="sthr_1", epoch=1)


def anywhere(host: str, port: int, address: Address) -> str | None:
    return None


class Bench:
    """A source, and the tools it opened last."""

    def __init__(self, source: McpServers, sandbox: Callable[[], Any]) -> None:
        self.source = source
        self.sandbox = sandbox

    async def open(self, *servers: JsonObject, config: JsonObject = UNRESTRICTED, **entry: Any) -> Toolset:
        toolsets: list[Any] = [
            {"type": "mcp_toolset", "mcp_server_name": server["name"], "default_config": {}, **entry}
            for server in servers
        ]
        self.toolset = await self.source.open(
            ToolSession(
                workspace_id="wrkspc_one",
                session_id="sesn_1",
                environment_id="env_1",
                agent={"tools": toolsets, "mcp_servers": list(servers)},
                epoch=1,
                config=config,
                sandbox=self.sandbox,
            )
        )
        return self.toolset

    async def call(self, name: str, sandbox: Sandbox | None = None, **input: Any) -> ToolResult:
        use = ToolUse(id="sevt_use", name=name, input=input, provider_id="toolu_1")
        with anyio.fail_after(20):
            return await self.toolset.run(use, CONTEXT, sandbox)


@asynccontextmanager
async def bench(
    *,
    judge: Callable[[str, int, Address], str | None] = anywhere,
    headers: Mapping[str, str] | None = None,
    sandbox: Callable[[], Any] | None = None,
    **limits: Any,
) -> AsyncGenerator[Bench]:
    clock = SystemClock()

    async def authorize(session: ToolSession, url: str) -> Authorization:
        return Authorization(headers=headers or {})

    async def nowhere() -> Sandbox:
        raise SandboxUnavailable("no sandbox was to be made")

    source = McpServers(
        gate=AddressGate(judge), authorize=authorize, clock=clock, ids=Ids(clock), limits=McpLimits(**limits)
    )
    try:
        yield Bench(source, sandbox or nowhere)
    finally:
        await source.close()


def url(place: str, name: str = "forge") -> JsonObject:
    return {"type": "url", "name": name, "url": place}


def names(toolset: Toolset) -> list[str]:
    return [tool.name for tool in toolset.tools]


def text(result: ToolResult) -> str:
    return "".join(str(block["text"]) for block in result.content if block["type"] == "text")
