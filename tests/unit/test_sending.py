"""The only way in: what a remit says passes the same gate as what a client says."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import remit
from remit.errors import Conflict, NotFound, RateLimited, VerifierUnavailable, WrongState
from remit.remits.state import session_event_id
from remit.remits.steps import ReopenOutcome
from remit.remits.working_session import SessionInput
from remit.schema.blocks import TextBlock
from remit.schema.events import UserDefineOutcome, UserMessage
from remit.schema.verifiers import CommandVerifier
from remit.session import events, rows
from remit.sessions import sending as sending_module
from remit.sessions.inbound import PENDING_EVENTS_MAX
from remit.sessions.sending import OutcomeGrounds, Sending, receipts
from remit.streams.reading import read_rows
from remit.values import Append, JsonObject
from support.remit_bench import RemitBench
from support.session_bench import AGENT, PRINCIPAL, say, script, use

pytestmark = pytest.mark.anyio

SOURCE = Path(remit.__file__).parent
INPUT_ROWS = {"received", "SessionInputReceived", "TurnContinued", "FilesPinned"}
"""What makes a row by which a session is told something."""
DEFINED_IN = {events.__file__, rows.__file__}

SCRIPTS = {
    "slow": script(
        use("bash", command="sleep 30"),
        use("write", file_path="/workspace/answer.txt", content="42\n"),
        say("Done."),
    ),
    "any": script(say("Yes.")),
}
ANSWERS = [{"type": "command", "command": "grep -qx 42 answer.txt"}]
HELLO = UserMessage(content=[TextBlock(text="hello")])
OUTCOME = UserDefineOutcome(description="Answer", verifiers=[CommandVerifier(command="true")])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[RemitBench]:
    bench = RemitBench(tmp_path, scripts=SCRIPTS)
    yield bench
    await bench.close()


def test_no_other_module_makes_the_rows_by_which_a_session_is_told_something() -> None:
    makers: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                named = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if named in INPUT_ROWS:
                    makers.add(str(path))
    assert makers - DEFINED_IN == {sending_module.__file__}


async def fill(bench: RemitBench, session_id: str) -> None:
    """As many messages as a session takes that nobody works on, sent together."""
    texts: list[JsonObject] = [
        {
            "id": bench.ids.new("sevt"),
            "type": "user.message",
            "content": [{"type": "text", "text": f"{number}"}],
        }
        for number in range(PENDING_EVENTS_MAX)
    ]
    await bench.store.append(PRINCIPAL, Append(stream_id=session_id, events=receipts(texts)))


async def interrupted(bench: RemitBench) -> tuple[str, str]:
    """A remit whose session was stopped at work; nobody works now."""
    remit_id = await bench.create(outcome="Answer", verifiers=ANSWERS, model="scripted/slow")
    async with bench.running():
        session_id = (await bench.wait_for(remit_id, "remit.working")).session_ids[0]
        await bench.sessions.wait_for(session_id, "tool.started")
        await bench.command(remit_id, "remit.interrupt")
        await bench.wait_for(remit_id, "remit.interrupted")
        await bench.sessions.wait_idle(session_id)
    return remit_id, session_id


@pytest.mark.long
async def test_what_a_remit_says_is_refused_when_its_session_has_no_room_and_said_again_later(
    bench: RemitBench,
) -> None:
    remit_id, session_id = await interrupted(bench)
    await fill(bench, session_id)
    resume_id = await bench.command(remit_id, "remit.resume")
    before = await read_rows(bench.store, PRINCIPAL, session_id)
    created = (await bench.state(remit_id)).created
    assert created is not None
    step = ReopenOutcome(resume_id=resume_id, max_iterations=2)
    with pytest.raises(RateLimited, match="events waiting"):
        await SessionInput(bench.services.sending, bench.store).reopen(PRINCIPAL, session_id, step, created)
    assert await read_rows(bench.store, PRINCIPAL, session_id) == before
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.session_ids) == ("satisfied", (session_id,))
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


async def test_an_outcome_is_not_given_to_a_session_that_somebody_gave_another(bench: RemitBench) -> None:
    remit_id, session_id = await interrupted(bench)
    await bench.services.sending.send(PRINCIPAL, session_id, [OUTCOME])
    created = (await bench.state(remit_id)).created
    assert created is not None
    step = ReopenOutcome(resume_id="revt_1", max_iterations=2)
    with pytest.raises(WrongState, match="still working on an outcome"):
        await SessionInput(bench.services.sending, bench.store).reopen(PRINCIPAL, session_id, step, created)


async def test_what_is_said_again_by_the_same_command_stands_as_it_was_first_said(bench: RemitBench) -> None:
    session_id = await bench.sessions.create()
    sending = bench.services.sending
    first = await sending.send(PRINCIPAL, session_id, [OUTCOME], command_id="revt_7")
    other = UserDefineOutcome(
        description="Answer", verifiers=[CommandVerifier(command="true")], max_iterations=1
    )
    again = await sending.send(PRINCIPAL, session_id, [other], command_id="revt_7")
    assert (again.seq, again.events) == (first.seq, first.events)
    assert first.events[0]["id"] == session_event_id("revt_7")
    log = await read_rows(bench.store, PRINCIPAL, session_id)
    assert [row.type for row in log] == ["session.created", "input.received"]


async def test_a_key_that_was_used_for_other_events_is_a_conflict(bench: RemitBench) -> None:
    session_id = await bench.sessions.create()
    sending = bench.services.sending
    first = await sending.send(PRINCIPAL, session_id, [HELLO], key="once")
    assert await sending.send(PRINCIPAL, session_id, [HELLO], key="once") == first
    with pytest.raises(Conflict):
        await sending.send(PRINCIPAL, session_id, [HELLO, HELLO], key="once")


async def test_the_first_events_of_a_session_pass_the_same_looks(bench: RemitBench) -> None:
    """Sessions of routes, deployments and remits are prepared here."""
    parts = bench.services
    sending = Sending(
        parts.states,
        store=parts.sessions,
        bus=parts.bus,
        dispatcher=parts.dispatcher,
        blobs=parts.blobs,
        files=parts.files,
        verifiers={},
        clock=parts.clock,
        ids=parts.ids,
    )
    with pytest.raises(VerifierUnavailable, match="no verifier 'command'"):
        await sending.prepare(PRINCIPAL, [OUTCOME], OutcomeGrounds(agent=AGENT), field="initial_events")


async def test_an_interrupt_has_always_room_and_an_ended_session_needs_none(bench: RemitBench) -> None:
    session_id = await bench.sessions.create()
    await fill(bench, session_id)
    sending = bench.services.sending
    for _ in range(2):
        await sending.interrupt(PRINCIPAL, session_id, "sevt_1")
    state = await bench.sessions.state(session_id)
    assert state.emptying == {"sevt_1": True}
    with pytest.raises(NotFound):
        await sending.interrupt(PRINCIPAL, "sesn_none", "sevt_1")
