"""Tools that the caller's program answers."""

from __future__ import annotations

from typing import cast

from remit.interfaces import Sandbox, ToolSession, Toolset, ToolSource
from remit.schema.tool_kinds import CUSTOM
from remit.toolsets.offers import OfferedTools, entries_of
from remit.values import JsonObject, JsonValue, Tool, ToolContext, ToolResult, ToolUse


class CustomTools(ToolSource):
    """Shows them to the model; a use waits for `user.custom_tool_result`."""

    async def open(self, session: ToolSession) -> Toolset:
        return OfferedTools(
            [
                Tool(
                    name=str(entry["name"]),
                    description=str(entry["description"]),
                    input_schema=cast("JsonObject", entry["input_schema"]),
                    kind=CUSTOM,
                )
                for entry in entries_of(session.agent, "custom")
            ],
            self,
        )

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        """See Toolset. The client judges it."""
        return None

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        """See Toolset."""
        raise AssertionError(f"{use.name} is a client's to run")
