"""The kinds of tools: which events a use and its result are, on the wire and in the log.

Whoever reads events of tools asks this table; their types stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

PolicyName = Literal["always_allow", "always_ask"]

V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class ToolKind:
    """Tools whose uses are recorded alike."""

    use_type: str
    result_type: str
    use_field: str
    """Of a result: which names the use that it answers."""
    default_permission: PolicyName | None = None
    """Where an agent says nothing; None: nobody is asked, for a client carries these out and answers."""

    @property
    def is_client(self) -> bool:
        """Return whether a client carries out a use, and sends its result."""
        return self.default_permission is None


BUILTIN = ToolKind(
    use_type="agent.tool_use",
    result_type="agent.tool_result",
    use_field="tool_use_id",
    default_permission="always_allow",
)
MCP = ToolKind(
    use_type="agent.mcp_tool_use",
    result_type="agent.mcp_tool_result",
    use_field="mcp_tool_use_id",
    default_permission="always_ask",
)
CUSTOM = ToolKind(
    use_type="agent.custom_tool_use", result_type="user.custom_tool_result", use_field="custom_tool_use_id"
)
TOOL_KINDS = (BUILTIN, MCP, CUSTOM)

BY_USE = {kind.use_type: kind for kind in TOOL_KINDS}
BY_RESULT = {kind.result_type: kind for kind in TOOL_KINDS}
USE_TYPES = frozenset(BY_USE)
RESULT_TYPES = frozenset(BY_RESULT)
CLIENT_RESULT_TYPES = frozenset(kind.result_type for kind in TOOL_KINDS if kind.is_client)
PLATFORM_RESULT_TYPES = RESULT_TYPES - CLIENT_RESULT_TYPES
CONFIRMATION = "user.tool_confirmation"
"""A person's answer to a use that asks, of any kind; names it as `tool_use_id`."""
ANSWER_TYPES = frozenset({CONFIRMATION, *CLIENT_RESULT_TYPES})
"""What comes from outside to a use."""

_USE_FIELDS = tuple(kind.use_field for kind in TOOL_KINDS)


def answered_use(event: Mapping[str, V]) -> str:
    """Return the id of the use that a result or a confirmation answers; empty if it answers none."""
    return next((str(event[field]) for field in _USE_FIELDS if event.get(field)), "")
