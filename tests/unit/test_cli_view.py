"""What a person sees: the fold of events into a view, and what is drawn of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from remit.cli import render
from remit.cli.lines import remit_lines, session_lines
from remit.cli.view import STEPS_KEPT, RemitProgress, fold_remit, fold_session, fold_snapshot
from support.fake_api import verdict

NOW = datetime(2026, 11, 22, 9, 0, 42, tzinfo=UTC)
BUDGET = {"usd": "2.00", "tokens": None}
CREATED = {
    "type": "remit.created",
    "outcome": "make the tests pass",
    "budget": BUDGET,
    "model": "m/one",
    "max_iterations": 3,
    "processed_at": "2026-11-22T09:00:00.000000Z",
}


def drawn(view: RemitProgress, width: int = 80) -> str:
    console = Console(width=width, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(render.live(view, now=NOW))
    return capture.get()


def at_work(*events: dict[str, Any]) -> RemitProgress:
    view = fold_remit(RemitProgress(remit_id="remit_1"), CREATED)
    view = fold_remit(view, {"type": "remit.working", "session_id": "sesn_1"})
    for event in events:
        view = fold_session(view, event)
    return view


def use(id: str, **fields: object) -> dict[str, Any]:
    return {"type": "agent.tool_use", "id": id, "name": "bash", "input": {"command": "pytest -q"}, **fields}


def test_a_tool_use_runs_until_its_result() -> None:
    view = at_work(use("t1"))
    assert view.steps[0].state == "running"
    for fields, state in [({}, "done"), ({"is_error": True}, "failed"), ({"may_have_run": True}, "unknown")]:
        after = fold_session(view, {"type": "agent.tool_result", "id": "r", "tool_use_id": "t1", **fields})
        assert after.steps[0].state == state


def test_an_event_that_is_echoed_again_is_one_step() -> None:
    assert len(at_work(use("t1"), use("t1")).steps) == 1


def test_steps_are_bounded() -> None:
    assert len(at_work(*(use(f"t{number}") for number in range(200))).steps) == STEPS_KEPT


def test_the_picture_fits_eighty_columns_and_says_what_matters() -> None:
    view = at_work(use("t1", input={"command": "x" * 300}))
    view = fold_snapshot(view, {"spent": {"usd": "0.50"}, "held": {"usd": "0.25"}, "cap": BUDGET})
    text = drawn(view)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "working, iteration 1 of 3" in text
    assert "m/one  0:42" in text
    assert "spent $0.50  held $0.25  cap $2.00" in text
    assert "███████▒▒▒▒" in text


def test_a_token_budget_is_shown_in_tokens() -> None:
    view = at_work()
    view = fold_snapshot(view, {"spent": {"tokens": 1200}, "held": {"tokens": 0}, "cap": {"tokens": 50000}})
    assert "spent 1,200  held 0  cap 50,000 tokens" in drawn(view)


def test_a_verifier_that_passes_before_any_work_is_called_vacuous() -> None:
    view = at_work()
    ended = {"type": "remit.initial_verification_ended", "verdicts": [verdict("true", passed=True)]}
    assert fold_remit(view, ended).vacuous == ("true",)
    assert "vacuous" in drawn(fold_remit(view, ended))
    assert any("vacuous" in line for line in remit_lines(ended))


def test_after_the_end_a_late_snapshot_changes_nothing() -> None:
    ended = fold_remit(at_work(), {"type": "remit.ended", "status": "satisfied", "spent": {"usd": "0.1"}})
    assert fold_snapshot(ended, {"spent": {"usd": "0.05"}}) == ended


def test_text_of_a_model_cannot_steer_the_terminal() -> None:
    evil = {"type": "agent.message", "id": "m", "content": [{"type": "text", "text": "\x1b[2Jgone\x07"}]}
    assert "\x1b" not in drawn(at_work(evil))
    assert "\x1b" not in session_lines(evil)[0]
    bad = verdict("x", passed=False, output="\x1b]0;title\x07")
    remit = {"iterations": [{"verdicts": [bad]}], "status": "unsatisfied", "spent": {}, "budget": {}}
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(render.ending(remit, {}))
    assert "\x1b" not in capture.get()


def test_completed_and_verified_are_two_facts() -> None:
    remit = {"status": "unsatisfied", "completed": True, "verified": False, "tampered": ["tests/test_a.py"]}
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(render.ending({**remit, "spent": {}, "budget": {}}, {}))
    lines = capture.get().splitlines()
    assert lines[0].split() == ["completed", "yes"]
    assert lines[1].split()[:2] == ["verified", "no"]
    assert any("tampered: tests/test_a.py" in line for line in lines)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    type=st.sampled_from(["agent.message", "agent.tool_use", "agent.tool_result", "x.new"]),
    body=_JSON,
    name=_JSON,
)
def test_a_session_event_of_any_shape_never_stops_the_watching(type: str, body: object, name: object) -> None:
    event = {"type": type, "id": "e", "content": body, "input": body, "name": name}
    drawn(at_work(event))
    session_lines(event)


def test_an_installation_of_packages_is_a_line_and_a_step() -> None:
    event = {
        "type": "session.packages_installing",
        "id": "sevt_1",
        "packages": {"npm": [], "pip": ["numpy", "\x1bpandas"]},
    }
    (line,) = session_lines(event)
    assert "installing packages" in line
    assert "pip numpy, " in line
    assert "\x1b" not in line
    assert "npm" not in line
    (step,) = fold_session(RemitProgress(remit_id="remit_1"), event).steps
    assert (step.name, "pip numpy, " in step.text, "\x1b" in step.text) == ("installs", True, False)
