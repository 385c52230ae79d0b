"""Turns and their tools, as a harness sees them."""

from __future__ import annotations

from typing import Literal

from remit.values.model_calls import ModelRequest
from remit.values.value import JsonObject, JsonValue, Value


class ToolUse(Value, frozen=True, kw_only=True):
    """A call the model asked for. `id` is our event id (`sevt_…`); `provider_id` is the model's."""

    id: str
    name: str
    input: JsonObject
    provider_id: str


class ToolContext(Value, frozen=True, kw_only=True):
    """The session and thread of a call; goes to the sandbox with every request."""

    session_id: str
    thread_id: str
    epoch: int
    settings: JsonObject = {}
    """The tool's entry in the agent's resolved configuration (domains and the like)."""
    shown_urls: dict[str, set[str]] = {}
    """Addresses that came up in the conversation, and from which sources; see `session.web`."""
    web_hosts: tuple[str, ...] | None = None
    """What the environment's `limited` network lets web tools see; None: any public host."""


class ToolResult(Value, frozen=True, kw_only=True):
    """The result that goes back to the model. `content` are text/image/document blocks."""

    content: tuple[JsonObject, ...]
    is_error: bool = False
    offloaded_to: str | None = None
    """File in the sandbox that has the whole output, of which `content` is only a preview."""
    may_have_run: bool = False
    """Of an error: whether the tool ran, in whole or in part, is not known."""
    requests: int = 0
    """To the web, as they are counted and priced."""


class TurnView(Value, frozen=True, kw_only=True):
    """The view of the log now, for a harness. Renewed by every method of `Turn`; never keep an old one."""

    request: ModelRequest
    """The next model call, as the log has it: system prompt, history, tools."""
    open_tool_uses: tuple[ToolUse, ...] = ()
    """Asked for by the model, permitted, not yet answered: run these."""
    blocking_event_ids: tuple[str, ...] = ()
    """Tool uses that wait for a person or a client."""
    needs_model: bool = True
    """The last thing in the history is not the model's final word."""
    last_stop_reason: str | None = None
    steps: int = 0
    """Model calls of this turn so far."""
    repeats: int = 0
    """How many times in a row the same tool use with the same input came back with the same result."""
    has_verified: bool = False
    """Since the last change to a file in this turn, the agent ran a command (a check) that succeeded."""
    has_changed_files: bool = False
    is_reminded: bool = False
    """It works on an outcome or for a remit: a harness may remind the model of what such work needs. In a plain session
    nothing is said to the model that people did not say."""
    reminders: dict[str, int] = {}
    """What was said with `Turn.say_to_model` in this turn: name to the value of `steps` then."""
    notes: dict[str, JsonValue] = {}
    """What this harness left with `Turn.note`, newest value per name."""


class TurnEnd(Value, frozen=True, kw_only=True):
    """The reason why a harness returned."""

    reason: Literal["end_turn", "requires_action", "refusal", "step_limit"]
    details: JsonObject | None = None
