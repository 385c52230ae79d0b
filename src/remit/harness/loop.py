"""The built-in loop. It owns no state: each round reads the log's view anew and does the one thing that is next.

What evidence says moves results beyond the model itself is here or in the prompt of `session/view.py`: facts of the
environment in the first prompt, verifying before finishing, noticing that the same step is repeated.
"""

from __future__ import annotations

from typing import assert_never

from remit.harness.steps import Ask, End, Remind, RunTools, next_step
from remit.interfaces import Turn
from remit.values import TurnEnd

STEPS_MAX = 200
"""Model calls in one turn; the budget usually binds first."""


class BuiltInLoop:
    """Model call, tool uses, model call, … until the model has nothing more to do."""

    name = "remit"
    version = "1"

    def __init__(self, steps_max: int = STEPS_MAX) -> None:
        self._steps_max = steps_max

    async def run(self, turn: Turn) -> TurnEnd:
        while True:
            view = await turn.take_input()
            step = next_step(view, steps_max=self._steps_max)
            match step:
                case Ask():
                    await turn.call_model(view.request)
                case RunTools(uses=uses):
                    await turn.run_tools(uses)
                case Remind(name=name, text=text):
                    await turn.say_to_model(name, text)
                case End(end=end):
                    return end
                case _:
                    assert_never(step)
