"""Many sources of tools as one."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from remit.errors import ToolsUnavailable
from remit.interfaces import Sandbox, ToolSession, Toolset, ToolSource
from remit.values import CredentialUse, JsonValue, Tool, ToolContext, ToolResult, ToolUse


class Toolsets(Toolset):
    """The tools of several toolsets, in their order; of two with one name the first is meant."""

    def __init__(self, parts: Sequence[Toolset]) -> None:
        self._parts = tuple(parts)
        self._part_of: dict[str, Toolset] = {}
        tools: dict[str, Tool] = {}
        for part in parts:
            for tool in part.tools:
                tools.setdefault(tool.name, tool)
                self._part_of.setdefault(tool.name, part)
        self._tools = tuple(tools.values())

    @property
    def tools(self) -> Sequence[Tool]:
        return self._tools

    @property
    def problems(self) -> Sequence[ToolsUnavailable]:
        return [problem for part in self._parts for problem in part.problems]

    @property
    def is_current(self) -> bool:
        return all(part.is_current for part in self._parts)

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        return [use for part in self._parts for use in part.take_credential_uses()]

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        return self._part_of[name].check_input(name, input)

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        return await self._part_of[use.name].run(use, context, sandbox)


class ToolSources(ToolSource):
    """Opens what each source has."""

    def __init__(self, sources: Sequence[ToolSource]) -> None:
        self._sources = tuple(sources)

    async def open(self, session: ToolSession) -> Toolset:
        return Toolsets([await source.open(session) for source in self._sources])

    async def forget(self, session_id: str) -> None:
        for source in self._sources:
            await source.forget(session_id)

    async def close(self) -> None:
        async with anyio.create_task_group() as closing:
            for source in self._sources:
                closing.start_soon(source.close)
