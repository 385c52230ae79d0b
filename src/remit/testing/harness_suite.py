"""Checks that every harness must pass: run these on yours, with a factory of fresh ones.

They drive the harness with a turn that plays a script and keeps a log, and that fails when the contract of
`interfaces.Harness` is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
from msgspec.structs import replace

from remit.errors import HoldRefused
from remit.interfaces import Harness
from remit.values import JsonValue, ModelRequest, ModelResponse, ToolUse, TurnEnd, TurnView, Usage

ROUNDS_MAX = 50
"""A harness that asks more often than the script has answers does not end."""
MakeHarness = Callable[[], Harness]


def use(number: int) -> ToolUse:
    """A tool use of the script."""
    return ToolUse(
        id=f"sevt_{number}", name="bash", input={"command": f"echo {number}"}, provider_id=f"tu_{number}"
    )


class ScriptedTurn:
    """Implements `interfaces.Turn`. Each answer of the model is the tool uses it asks for; none means it is done."""

    def __init__(self, *answers: Sequence[ToolUse], blocking: Sequence[str] = ()) -> None:
        self._answers = [tuple(answer) for answer in answers]
        self._blocking = tuple(blocking)
        self.calls = 0
        self.ran: list[str] = []
        self.refusal: Exception | None = None
        """Raised by the next model call."""
        self.waits: anyio.Event | None = None
        """When set, tools wait here."""
        self._open: tuple[ToolUse, ...] = ()
        self._request = ModelRequest(model="scripted/suite", messages=(), max_tokens=100)

    @property
    def view(self) -> TurnView:
        is_done = self.calls > 0 and not self._answers[self.calls - 1]
        return TurnView(
            request=self._request,
            open_tool_uses=self._open,
            blocking_event_ids=self._blocking if is_done else (),
            needs_model=not is_done,
            last_stop_reason="end_turn" if is_done else "tool_use" if self.calls else None,
            steps=self.calls,
            has_verified=True,
        )

    async def take_input(self) -> TurnView:
        await anyio.lowlevel.checkpoint()
        return self.view

    async def call_model(self, request: ModelRequest) -> ModelResponse:
        await anyio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        assert request == self._request, "the request is the view's of now"
        assert not self._open, "the model was called while tool uses are open"
        assert self.calls < min(len(self._answers), ROUNDS_MAX), "the model was called after its final word"
        self._open = self._answers[self.calls]
        self.calls += 1
        # As in a real log, every request is longer than the one before.
        self._request = replace(self._request, messages=(*self._request.messages, {"role": "assistant"}))
        return ModelResponse(
            content=(),
            stop_reason="tool_use" if self._open else "end_turn",
            usage=Usage(),
            model=request.model,
        )

    async def run_tools(self, uses: Sequence[ToolUse]) -> TurnView:
        if self.waits is not None:
            await self.waits.wait()
        await anyio.lowlevel.checkpoint()
        open_ids = {one.id for one in self._open}
        assert {one.id for one in uses} <= open_ids, "a tool use was run that is not open"
        self.ran += [one.id for one in uses]
        self._open = tuple(one for one in self._open if one.id not in self.ran)
        return self.view

    async def say_to_model(self, name: str, text: str) -> TurnView:
        await anyio.lowlevel.checkpoint()
        return self.view

    async def note(self, name: str, value: JsonValue) -> TurnView:
        await anyio.lowlevel.checkpoint()
        return self.view


async def runs_every_tool_use_once_and_ends(make: MakeHarness) -> None:
    """Model call, tool uses, model call, … until the model's final word."""
    turn = ScriptedTurn((use(1), use(2)), (use(3),), ())
    assert await make().run(turn) == TurnEnd(reason="end_turn")
    assert (turn.calls, sorted(turn.ran)) == (3, ["sevt_1", "sevt_2", "sevt_3"])


async def has_nothing_to_do_after_the_final_word(make: MakeHarness) -> None:
    """Run again on a view in which all is done, it makes no call."""
    turn = ScriptedTurn(())
    await make().run(turn)
    await make().run(turn)
    assert turn.calls == 1


async def waits_for_people_by_returning(make: MakeHarness) -> None:
    """Check that something that a person must decide ends the turn and is not waited for."""
    turn = ScriptedTurn((), blocking=["sevt_9"])
    assert (await make().run(turn)).reason == "requires_action"


async def goes_on_in_another_process_where_the_log_ends(make: MakeHarness) -> None:
    """Cancelled in the middle of a tool use; a fresh one carries on from the view and repeats no model call."""
    turn = ScriptedTurn((use(1),), (use(2),), ())
    turn.waits = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(make().run, turn)
        while turn.calls == 0:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert turn.ran == []
    turn.waits = None
    assert await make().run(turn) == TurnEnd(reason="end_turn")
    assert (turn.calls, turn.ran) == (3, ["sevt_1", "sevt_2"])


async def lets_the_platforms_exceptions_through(make: MakeHarness) -> None:
    """Check that a budget that is reached is left to the orchestrator."""
    turn = ScriptedTurn((use(1),), ())
    turn.refusal = HoldRefused("the budget is reached")
    try:
        await make().run(turn)
    except HoldRefused:
        return
    raise AssertionError("HoldRefused was swallowed")


async def keeps_nothing_between_turns(make: MakeHarness) -> None:
    """Check that one instance serves turns of many sessions, also at the same time."""
    harness = make()
    turns = [ScriptedTurn((use(number),), ()) for number in range(3)]
    async with anyio.create_task_group() as group:
        for turn in turns:
            group.start_soon(harness.run, turn)
    assert [turn.ran for turn in turns] == [["sevt_0"], ["sevt_1"], ["sevt_2"]]


CHECKS = (
    runs_every_tool_use_once_and_ends,
    has_nothing_to_do_after_the_final_word,
    waits_for_people_by_returning,
    goes_on_in_another_process_where_the_log_ends,
    lets_the_platforms_exceptions_through,
    keeps_nothing_between_turns,
)
"""All of it."""
