"""MCP servers as a source of tools. The library, which takes its time to load, is loaded when the first session has one."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from remit.clock import Clock
from remit.ids import Ids
from remit.interfaces import ToolSession, Toolset, ToolSource
from remit.toolsets.composite import Toolsets
from remit.toolsets.mcp.limits import Authorize, McpLimits
from remit.toolsets.web.fetching import AddressGate

if TYPE_CHECKING:
    from remit.toolsets.mcp.pool import Pool


class McpServers(ToolSource):
    """Opens the servers of an agent."""

    def __init__(
        self,
        *,
        gate: AddressGate,
        authorize: Authorize,
        clock: Clock,
        ids: Ids,
        limits: McpLimits | None = None,
    ) -> None:
        self._gate = gate
        self._authorize = authorize
        self._clock = clock
        self._ids = ids
        self._limits = limits or McpLimits()
        self._pool: Pool | None = None

    async def open(self, session: ToolSession) -> Toolset:
        """See ToolSource."""
        if self._pool is None:
            if not session.agent.get("mcp_servers"):
                return Toolsets(())
            module = await asyncio.to_thread(importlib.import_module, "remit.toolsets.mcp.pool")
            made: Pool = module.Pool(
                gate=self._gate,
                authorize=self._authorize,
                clock=self._clock,
                ids=self._ids,
                limits=self._limits,
            )
            self._pool = self._pool or made  # another session may have been quicker
        return await self._pool.open(session)

    async def forget(self, session_id: str) -> None:
        """See ToolSource."""
        if self._pool is not None:
            await self._pool.forget(session_id)

    async def close(self) -> None:
        """See ToolSource."""
        if self._pool is not None:
            await self._pool.close()
