"""Verifiers that wait for something elsewhere: nothing runs meanwhile, nothing is lost, and people can do what they always can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from remit.clock import SystemClock
from remit.session.state import SessionState
from remit.session.why import explain_session
from remit.sessions import changes as session_changes
from remit.sessions.wire import to_wire
from remit.streams.reading import read_rows
from remit.streams.waiting import Why
from remit.values import JsonObject, OpenAccount, StreamHead
from support.session_bench import PRINCIPAL, TIMEOUT_SECONDS, SessionBench, say, script, use
from support.waiting_verifier import CheckRuns, CheckRunVerifier

pytestmark = pytest.mark.anyio

SCRIPTS = {
    "script": {
        "rules": [
            {"when": {"last_user_contains": "not done yet"}, "steps": [say("Mended."), say("Yes.")]},
            {
                "when": {"last_user_contains": "also this"},
                "steps": [use("bash", command="echo more > more.txt"), say("That too.")],
            },
        ],
        "steps": [use("bash", command="echo 42 > answer.txt"), say("Done.")],
        "default": {"text": "Nothing more."},
    },
    "dear": script(say("No.")),
}
RUBRIC: JsonObject = {"type": "rubric", "rubric": "Good.", "model": "scripted/dear"}


class Bench:
    """Sessions whose commands are checks of a service."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.runs = CheckRuns()
        self.checks = CheckRunVerifier(self.runs, clock)
        self.sessions = SessionBench(folder, scripts=SCRIPTS, clock=clock, verifiers=[self.checks])
        self.running = self.sessions.running

    async def start(self, *checks: str) -> str:
        """A session whose verifiers wait; returns its id once nobody works on it."""
        session_id = await self.sessions.create()
        await self.sessions.define_outcome(session_id, "the checks are green", *checks)
        await self.rests(session_id)
        return session_id

    async def rests(self, session_id: str, count: int = 1) -> StreamHead:
        """Its row, once its verifiers wait and no worker has it."""
        await self.sessions.wait_for(session_id, "outcome.pending", count=count)
        with anyio.fail_after(TIMEOUT_SECONDS):
            store = self.sessions.store
            while (head := await store.head(PRINCIPAL, session_id)).owner is not None:  # noqa: ASYNC110 no event tells
                await anyio.sleep(0.01)
        return head

    async def why(self, session_id: str) -> Why:
        store, clock = self.sessions.store, self.sessions.clock
        rows = await read_rows(store, PRINCIPAL, session_id)
        head = await store.head(PRINCIPAL, session_id)
        accounts = await store.accounts(PRINCIPAL, session_id)
        return explain_session(rows, head, accounts, now_us=clock.now_us())

    async def state(self, session_id: str) -> SessionState:
        return await self.sessions.state(session_id)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.sessions.close()


async def test_a_wait_is_a_row_with_a_time_and_everybody_is_told_what_it_is_for(bench: Bench) -> None:
    async with bench.running():
        session_id = await bench.start("ci")
        head, state = await bench.rests(session_id), await bench.state(session_id)
        assert (head.owner, head.summary.status) == (None, "running")
        assert head.wake_at_us is not None
        assert state.outcome is not None
        assert state.outcome.waiting is not None
        assert head.wake_at_us <= state.outcome.waiting.wake_at_us
        assert len(bench.runs.asked) == 1
    now_us = bench.sessions.clock.now_us()
    why = await bench.why(session_id)
    assert why.waits_for == "verification"
    assert "the check run 'ci'" in why.sentences[0]
    assert "asked again at" in why.sentences[1]
    shown: Any = to_wire(state, head, now_us=now_us)  # Any: JSON as it is on the wire
    (evaluation,) = shown["outcome_evaluations"]
    assert (evaluation["result"], evaluation["waits_for"]) == ("evaluating", "the check run 'ci'")
    (told,) = await bench.sessions.bodies(session_id, "span.outcome_evaluation_ongoing")
    assert told["waits_for"] == "the check run 'ci'"
    assert state.active_seconds(now_us + 10**12) == state.active_seconds(now_us), "waiting is no work"


async def test_they_are_asked_again_at_that_time_about_the_same_and_the_turn_ends(bench: Bench) -> None:
    bench.checks.wait_seconds = 1.0
    async with bench.running():
        session_id = await bench.start("ci")
        await bench.rests(session_id, count=2)
        bench.runs.done["ci"] = True
        idle = await bench.sessions.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "end_turn"}
    asked = {(request.verification_id, request.tree_digest) for request in bench.runs.asked}
    assert len(asked) == 1
    assert len(bench.runs.asked) >= 3
    (end,) = await bench.sessions.bodies(session_id, "span.outcome_evaluation_end")
    assert (end["result"], end["explanation"]) == ("satisfied", "ci: green")
    ongoing = await bench.sessions.bodies(session_id, "span.outcome_evaluation_ongoing")
    assert len(ongoing) == 1, "the same wait is told once"
    (shown,) = (await bench.state(session_id)).outcome_evaluations
    assert "waits_for" not in shown


async def test_who_takes_over_while_they_wait_asks_the_same_question(bench: Bench) -> None:
    bench.checks.wait_seconds = 1.0
    async with bench.running():
        session_id = await bench.start("ci")
    for number in (2, 3):
        await bench.sessions.store.raise_epochs()
        if number == 3:
            bench.runs.done["ci"] = True
        async with bench.running():
            if number == 2:
                await bench.rests(session_id, count=2)
            else:
                await bench.sessions.wait_idle(session_id)
    assert {request.verification_id for request in bench.runs.asked} == {bench.runs.asked[0].verification_id}
    (end,) = await bench.sessions.bodies(session_id, "span.outcome_evaluation_end")
    assert end["result"] == "satisfied"


async def test_what_has_answered_is_not_asked_again_and_what_fails_ends_the_wait(bench: Bench) -> None:
    bench.runs.done["lint"] = True
    bench.checks.wait_seconds = 1.0
    async with bench.running():
        session_id = await bench.start("lint", "ci", "merge")
        bench.runs.done["ci"] = False
        verified: Any = await bench.sessions.wait_for(session_id, "outcome.verified")  # Any: as above
    asked = [request.verifier["command"] for request in bench.runs.asked]
    assert asked.count("lint") == 1
    assert verified["result"] == "needs_revision"
    summaries = [verdict["summary"] for verdict in verified["verdicts"]]
    assert summaries == ["lint: green", "ci: red", "not run: another verifier did not pass (ci: red)"]


async def test_people_interrupt_a_wait_and_archive_the_session(bench: Bench) -> None:
    async with bench.running():
        session_id = await bench.start("ci")
        await bench.sessions.send(session_id, "user.interrupt")
        idle = await bench.sessions.wait_idle(session_id)
        (end,) = await bench.sessions.bodies(session_id, "span.outcome_evaluation_end")
        assert (end["result"], idle["stop_reason"]) == ("interrupted", {"type": "end_turn"})
    state, store = await bench.state(session_id), bench.sessions.store
    head = await store.head(PRINCIPAL, session_id)
    archived = session_changes.archive(
        state, head, ids=bench.sessions.ids, now_us=bench.sessions.clock.now_us()
    )
    assert archived is not None
    await store.append(PRINCIPAL, archived)
    assert (await bench.why(session_id)).waits_for == "nobody"


async def test_a_message_sends_the_agent_on_and_another_tree_is_another_question(bench: Bench) -> None:
    async with bench.running():
        session_id = await bench.start("ci")
        await bench.sessions.say(session_id, "also this")
        await bench.rests(session_id, count=2)
        first, second = bench.runs.asked
        assert first.tree_digest != second.tree_digest
        assert first.verification_id != second.verification_id
        (started,) = await bench.sessions.bodies(session_id, "span.outcome_evaluation_start")
        assert second.verification_id.startswith(str(started["id"]))


async def test_a_budget_that_ends_after_a_wait_stops_the_session_as_ever(bench: Bench) -> None:
    bench.checks.wait_seconds = 1.0
    caps = (
        OpenAccount(unit="nano_usd", purpose="work"),
        OpenAccount(unit="tokens", purpose="work"),
        OpenAccount(unit="nano_usd", purpose="verification", cap=1),
        OpenAccount(unit="tokens", purpose="verification"),
    )
    async with bench.running():
        session_id = await bench.sessions.create(effects=caps)
        await bench.sessions.send(
            session_id,
            "user.define_outcome",
            description="the checks are green",
            outcome_id="outc_1",
            rubric={"type": "text", "content": "as the verifiers say"},
            verifiers=[RUBRIC, {"type": "command", "command": "ci"}],
        )
        await bench.rests(session_id)
        bench.runs.done["ci"] = True
        idle = await bench.sessions.wait_idle(session_id)
    assert idle["stop_reason"] == {"type": "budget_reached"}
    assert await bench.sessions.bodies(session_id, "span.outcome_evaluation_end") == []
