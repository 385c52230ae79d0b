"""What the built-in loop does next, for every view of the log."""

from __future__ import annotations

import pytest

from remit.harness.steps import Ask, End, Remind, RunTools, next_step
from remit.values import ModelRequest, ToolUse, TurnEnd, TurnView

REQUEST = ModelRequest(model="scripted/x", messages=(), max_tokens=1)
USE = ToolUse(id="use_1", name="bash", input={}, provider_id="p1")


def view(**fields: object) -> TurnView:
    return TurnView(request=REQUEST, **{"is_reminded": True, **fields})  # type: ignore[arg-type]


CASES = {
    "the model is asked while the history waits for it": (view(), Ask()),
    "open tool uses run before the model is asked": (view(open_tool_uses=(USE,)), RunTools((USE,))),
    "permitted uses run while others wait for a person": (
        view(open_tool_uses=(USE,), blocking_event_ids=("use_2",)),
        RunTools((USE,)),
    ),
    "a question to a person ends the turn": (
        view(blocking_event_ids=("use_2",), needs_model=False),
        End(TurnEnd(reason="requires_action")),
    ),
    "the model's last word ends the turn": (
        view(needs_model=False, last_stop_reason="end_turn"),
        End(TurnEnd(reason="end_turn")),
    ),
    "a refusal is told apart": (
        view(needs_model=False, last_stop_reason="refusal"),
        End(TurnEnd(reason="refusal")),
    ),
    "a turn has a limit of steps": (view(steps=50), End(TurnEnd(reason="step_limit"))),
    "an agent that changed files without checking is reminded": (
        view(needs_model=False, has_changed_files=True, steps=4),
        "verify_reminder",
    ),
    "it is not reminded twice in a row": (
        view(needs_model=False, has_changed_files=True, steps=5, reminders={"verify_reminder": 4}),
        End(TurnEnd(reason="end_turn")),
    ),
    "in a plain session nobody reminds": (
        view(needs_model=False, has_changed_files=True, is_reminded=False, last_stop_reason="end_turn"),
        End(TurnEnd(reason="end_turn")),
    ),
    "in a plain session a repeated step is the agent's own matter": (
        view(repeats=5, steps=9, is_reminded=False),
        Ask(),
    ),
    "a check counts": (
        view(needs_model=False, has_changed_files=True, has_verified=True),
        End(TurnEnd(reason="end_turn")),
    ),
    "a loop is noticed at the third time": (view(repeats=2, steps=3), "loop_reminder"),
    "the second time is not yet a loop": (view(repeats=1, steps=2), Ask()),
    "an answer cut at the output limit goes on": (
        view(needs_model=False, last_stop_reason="max_tokens", steps=1),
        "cut_reminder",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_next_step(name: str) -> None:
    given, expected = CASES[name]
    step = next_step(given, steps_max=50)
    if isinstance(expected, str):
        assert isinstance(step, Remind)
        assert step.name == expected
    else:
        assert step == expected
