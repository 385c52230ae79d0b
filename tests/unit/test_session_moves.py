"""What a session does next, for every state it can be found in."""

from __future__ import annotations

import pytest

from remit.session.moves import CarryOn, Rest, StartTurn, StopTurn, TakeInput, WaitAgain, next_move
from remit.session.state import OpenToolUse, SessionState
from remit.sessions.wire import is_busy
from remit.values import JsonObject, ToolUse


def state(status: str = "idle", **fields: object) -> SessionState:
    made = SessionState(session_id="sesn_1", status=status)  # type: ignore[arg-type]
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def pending(*types: str, **more: JsonObject) -> dict[str, JsonObject]:
    events: dict[str, JsonObject] = {f"e{n}": {"id": f"e{n}", "type": type} for n, type in enumerate(types)}
    return events | more


def asked(id: str = "use_1") -> dict[str, OpenToolUse]:
    use = ToolUse(id=id, name="bash", input={}, provider_id="p1")
    return {id: OpenToolUse(use=use, permission="ask")}


INTERRUPT: JsonObject = {"id": "e9", "type": "user.interrupt"}
CASES = {
    "an idle session with nothing pending rests": (state(), Rest()),
    "a message starts a turn": (state(pending=pending("user.message")), StartTurn(event_ids=("e0",))),
    "messages that were sent together are taken together": (
        state(pending=pending("user.message", "user.message"), batches={"e1": "e0"}),
        StartTurn(event_ids=("e0", "e1")),
    ),
    "a message that was sent later is handled later": (
        state(pending=pending("user.message", "session.updated", "user.message", "session.updated")),
        StartTurn(event_ids=("e0", "e1")),
    ),
    "a resumed turn comes before what was sent meanwhile": (
        state(
            stop_reason={"type": "budget_reached"},
            may_resume=True,
            needs_model=True,
            pending=pending("user.message", "session.updated"),
        ),
        StartTurn(event_ids=("e1",)),
    ),
    "an outcome starts a turn": (state(pending=pending("user.define_outcome")), StartTurn(event_ids=("e0",))),
    "a running session carries on": (state("running", pending=pending("user.message")), CarryOn()),
    "a session cut while rescheduling carries on": (state("rescheduling"), CarryOn()),
    "an interrupt goes before everything in a running session": (
        state("running", pending=pending("user.message", "user.interrupt")),
        StopTurn(event_ids=("e1",)),
    ),
    "an interrupt goes before what is queued, which begins afterwards": (
        state(pending=pending("user.message", "user.interrupt")),
        TakeInput(event_ids=("e1",)),
    ),
    "one that stops the queue takes it into a turn": (
        state(
            pending=pending("user.message", "user.define_outcome", "user.interrupt", "user.message"),
            emptying={"e2": True},
        ),
        StartTurn(event_ids=("e0", "e1")),
    ),
    "and stops that before anything is asked": (
        state(
            "running", pending=pending("user.message", "user.interrupt", e9=INTERRUPT), emptying={"e9": True}
        ),
        StopTurn(event_ids=("e1",)),
    ),
    "with what came to a running session before it": (
        state("running", pending=pending("user.interrupt", "user.message"), emptying={"e0": True}),
        StopTurn(event_ids=("e0",)),
    ),
    "also a turn that was to go on where it stopped": (
        state(
            stop_reason={"type": "budget_reached"},
            may_resume=True,
            pending=pending("user.interrupt"),
            emptying={"e0": True},
        ),
        StartTurn(event_ids=()),
    ),
    "and what a person is asked is closed first": (
        state(
            stop_reason={"type": "requires_action"},
            tool_uses=asked(),
            pending=pending("user.message", "user.interrupt"),
            emptying={"e1": True},
        ),
        StopTurn(event_ids=()),
    ),
    "a session at its budget begins nothing by being stopped": (
        state(
            stop_reason={"type": "budget_reached"},
            budget={"type": "limit"},
            pending=pending("user.message", "user.interrupt"),
            emptying={"e1": True},
        ),
        TakeInput(event_ids=("e1",)),
    ),
    "an interrupt of an idle session is only consumed": (
        state(pending=pending("user.interrupt")),
        TakeInput(event_ids=("e0",)),
    ),
    "an interrupt while a person is asked closes what is open": (
        state(stop_reason={"type": "requires_action"}, tool_uses=asked(), pending=pending("user.interrupt")),
        StopTurn(event_ids=("e0",)),
    ),
    "a late answer is consumed without a turn": (
        state(pending=pending("user.tool_confirmation")),
        TakeInput(event_ids=("e0",)),
    ),
    "the last answer starts the turn again": (
        state(
            stop_reason={"type": "requires_action"},
            tool_uses=asked(),
            pending=pending(
                e0={"id": "e0", "type": "user.tool_confirmation", "tool_use_id": "use_1", "result": "allow"}
            ),
        ),
        StartTurn(event_ids=("e0",)),
    ),
    "a partial answer waits again": (
        state(
            stop_reason={"type": "requires_action"},
            tool_uses=asked("use_1") | asked("use_2"),
            pending=pending(
                e0={"id": "e0", "type": "user.tool_confirmation", "tool_use_id": "use_1", "result": "allow"}
            ),
        ),
        WaitAgain(event_ids=("e0",)),
    ),
    "a message does not get past a question": (
        state(stop_reason={"type": "requires_action"}, tool_uses=asked(), pending=pending("user.message")),
        Rest(),
    ),
    "a message after a turn that failed before it was answered is taken with it": (
        state(stop_reason={"type": "retries_exhausted"}, needs_model=True, pending=pending("user.message")),
        StartTurn(event_ids=("e0",)),
    ),
    "a message does not get past a spent budget": (
        state(stop_reason={"type": "budget_reached"}, budget={}, pending=pending("user.message")),
        Rest(),
    ),
    "a message is tried where the cap of a key or workspace was spent": (
        state(stop_reason={"type": "budget_reached"}, pending=pending("user.message")),
        StartTurn(event_ids=("e0",)),
    ),
    "a raised budget resumes by itself": (
        state(stop_reason={"type": "budget_reached"}, may_resume=True),
        StartTurn(event_ids=()),
    ),
    "nothing moves a terminated session": (state("terminated", pending=pending("user.message")), Rest()),
}


@pytest.mark.parametrize("name", CASES)
def test_next_move(name: str) -> None:
    given, expected = CASES[name]
    assert next_move(given) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a partial answer waits again", True),
        ("an interrupt while a person is asked closes what is open", True),
        ("a message starts a turn", True),
        ("a late answer is consumed without a turn", False),
        ("a message does not get past a question", False),
        ("nothing moves a terminated session", False),
    ],
)
def test_nobody_archives_what_is_about_to_say_where_it_rests(name: str, expected: bool) -> None:
    given, _ = CASES[name]
    assert is_busy(given) is expected
