"""One tool as an agent has it, and what went wrong when an agent's tools were opened."""

from __future__ import annotations

from typing import Literal

import msgspec

from remit.schema.tool_kinds import BUILTIN, ToolKind
from remit.values.value import JsonObject, Value

Permission = Literal["allow", "ask", "off"]
"""What happens with a use: it runs, a person is asked, or it is refused."""


class Tool(Value, frozen=True, kw_only=True):
    """One tool as an agent has it: what the model is shown, and how a use of it is recorded and run."""

    name: str
    """As the model calls it; unique among an agent's tools."""
    description: str
    input_schema: JsonObject
    kind: ToolKind = BUILTIN
    permission: Permission = "allow"
    """Of a client's tools nobody is asked."""
    use_fields: JsonObject = {}
    """What names the tool in its use events, where that is more than `name`."""
    settings: JsonObject = {}
    """Its entry in the agent's resolved configuration; given to its runs."""
    needs_sandbox: bool = False
    """It acts in the sandbox; no sandbox is made for one that does not."""
    is_concurrent: bool = False
    """Uses of it may run beside others; the rest run in the order asked for. What costs runs alone: a hold that is
    refused ends the turn, and must not cut others that have started."""
    may_change_files: bool = False
    """Of the working tree: a snapshot follows."""
    price_nano_usd: int = 0
    """Of one request (a use makes `ToolResult.requests` of them, at most one); held before it runs."""

    def configured(self, *, permission: Permission, settings: JsonObject) -> Tool:
        """Return the tool as an agent's configuration has it."""
        return msgspec.structs.replace(self, permission=permission, settings=settings)

    @property
    def definition(self) -> JsonObject:
        """Return the tool as the model is shown it."""
        return {"name": self.name, "description": self.description, "input_schema": self.input_schema}
