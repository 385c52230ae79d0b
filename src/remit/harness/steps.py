"""The built-in loop's decisions: pure, from a view to the next thing to do."""

from __future__ import annotations

from remit.values import ToolUse, TurnEnd, TurnView, Value

REPEATS_NOTICED = 3
"""The same use with the same result this many times over is a loop."""


class Ask(Value, frozen=True):
    """Call the model with the view's request."""


class RunTools(Value, frozen=True):
    """Run these tool uses."""

    uses: tuple[ToolUse, ...]


class Remind(Value, frozen=True):
    """Tell the model something; `name` keeps it from being said at every step."""

    name: str
    text: str


class End(Value, frozen=True):
    """The turn is over."""

    end: TurnEnd


Step = Ask | RunTools | Remind | End

VERIFY_REMINDER = (
    "<system>\nYou changed files and have not run anything since. Check the result now (run the tests or the program) "
    "before you finish. If nothing can be run here, say so.\n</system>"
)
LOOP_REMINDER = (
    "<system>\nYou made the same call with the same result several times. It will not change. "
    "Say what you learned from it and try something else.\n</system>"
)


def next_step(view: TurnView, *, steps_max: int) -> Step:
    """Decide what is next."""
    if view.open_tool_uses:
        return RunTools(view.open_tool_uses)
    if view.blocking_event_ids:
        return End(TurnEnd(reason="requires_action"))
    if view.needs_model:
        if view.steps >= steps_max:
            return End(TurnEnd(reason="step_limit"))
        if view.is_reminded and view.repeats >= REPEATS_NOTICED - 1 and _is_due(view, "loop_reminder"):
            return Remind("loop_reminder", LOOP_REMINDER)
        return Ask()
    if view.last_stop_reason == "refusal":
        return End(TurnEnd(reason="refusal"))
    if view.last_stop_reason == "max_tokens" and view.steps < steps_max and _is_due(view, "cut_reminder"):
        return Remind(
            "cut_reminder", "<system>\nYour answer was cut at the output limit. Go on from there.\n</system>"
        )
    is_unchecked = view.has_changed_files and not view.has_verified
    if view.is_reminded and is_unchecked and _is_due(view, "verify_reminder"):
        return Remind("verify_reminder", VERIFY_REMINDER)
    return End(TurnEnd(reason="end_turn"))


def _is_due(view: TurnView, name: str) -> bool:
    """Not said in this turn, or long enough ago."""
    said_at = view.reminders.get(name)
    return said_at is None or view.steps - said_at > _QUIET_STEPS[name]


_QUIET_STEPS = {"verify_reminder": 3, "loop_reminder": 3, "cut_reminder": 0}
"""Steps for which a reminder is not repeated."""
