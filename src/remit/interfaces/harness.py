"""The loop around a model, and all that it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from remit.values import JsonValue, ModelRequest, ModelResponse, ToolUse, TurnEnd, TurnView


class Harness(Protocol):
    """The loop around a model; stateless between turns; a guest of the platform.

    Contract: act only through `turn`; return when the model has nothing more to do or something must be waited for.
    May be cancelled at any await, and run again on a later view of the same log: what a view shows as done is done.
    Exceptions of Turn's methods must be let through.
    """

    name: str
    version: str

    async def run(self, turn: Turn) -> TurnEnd:
        """Carry the turn on from what the log says until it ends."""
        ...


class Turn(Protocol):
    """All a harness gets: the log's view, the model, the tools, and notes.

    When a person says stop the harness is cancelled at its next await; what was under way is cut and recorded for it.
    What a method has returned becomes durable at the latest before the next call or tool begins, and when the harness
    waits for anything else: nothing is lost that somebody outside has seen, as long as they see it through `Turn`.
    Every method may raise: HoldRefused (the budget is reached), LeaseLost,
    ModelCallFailed (retries are used up), StoreUnavailable. A harness lets them through.
    """

    @property
    def view(self) -> TurnView:
        """Return the view of the log as it is now."""
        ...

    async def take_input(self) -> TurnView:
        """Consume waiting input, as at the start of every step: answers and changes, and on the way to an outcome messages,
        which may steer. Other messages are handled in order, after what precedes them: when the harness has returned."""
        ...

    async def call_model(self, request: ModelRequest) -> ModelResponse:
        """Make a model call: held, streamed, recorded, settled, retried. Its tool uses are in the next
        view."""
        ...

    async def run_tools(self, uses: Sequence[ToolUse]) -> TurnView:
        """Run uses (concurrently where safe) and record their results. Uses that are already answered are skipped."""
        ...

    async def say_to_model(self, name: str, text: str) -> TurnView:
        """Add a private user-role note to the history (a reminder of the harness, not shown as a user's message)."""
        ...

    async def note(self, name: str, value: JsonValue) -> TurnView:
        """Keep a small value in the log for later turns of this harness."""
        ...
