"""What agents can use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from remit.errors import ToolsUnavailable
from remit.interfaces.sandboxes import Sandbox
from remit.values import CredentialUse, JsonObject, JsonValue, Tool, ToolContext, ToolResult, ToolUse


@dataclass(frozen=True, kw_only=True)
class ToolSession:
    """The session whose tools are opened."""

    workspace_id: str
    session_id: str
    environment_id: str
    agent: JsonObject
    """As the session has it now, resolved."""
    epoch: int
    config: JsonObject
    """The environment's, when the session was made."""
    sandbox: Callable[[], Awaitable[Sandbox]]
    """The session's sandbox, made if there is none. Raises what `SandboxProvider.create` raises, and
    PackagesNotInstalled."""


class Toolset(Protocol):
    """The tools of one session's agent. Implementations inherit, for what most have in common."""

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools in a fixed order, those that are off too; constant."""
        ...

    @property
    def problems(self) -> Sequence[ToolsUnavailable]:
        """List the agent's tools that could not be had, each to be said once."""
        return ()

    @property
    def is_current(self) -> bool:
        """Return whether the toolset can serve the next turn too; else the source opens once more."""
        return True

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        """Take the uses of credentials by its own requests since the last time, see
        `Sandbox.take_credential_uses`."""
        return ()

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        """Say what is wrong with the input, for the model; None if it is fine."""
        ...

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        """Run one use; `sandbox` is there if the tool needs it. A tool's own failure is an error result. May be cancelled.
        Raises SandboxLost."""
        ...


class ToolSource(Protocol):
    """Has tools of one sort for every session."""

    async def open(self, session: ToolSession) -> Toolset:
        """The session's tools of this sort, as its agent and environment have them now; asked for before a turn goes on
        where there are none yet, where the agent was changed, or where the last ones are no longer current. Bounded in
        time. What cannot be had is among its `problems`, never raised. Raises SandboxLost, LeaseLost, StoreUnavailable."""
        ...

    async def forget(self, session_id: str) -> None:
        """Close what is open for a session that is deleted or that another worker owns."""

    async def close(self) -> None:
        """Close all."""
