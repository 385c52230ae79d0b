"""What is said of a remit, for every state it can be found in: from its log, its session's, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest

from remit.clock import rfc3339
from remit.remits.events import (
    AgentRef,
    AnyEvent,
    Budget,
    Command,
    HarnessRef,
    InitialVerificationEnded,
    InitialVerificationStarted,
    InputReceived,
    RemitApproved,
    RemitCreated,
    RemitDeclined,
    RemitEnded,
    RemitForecast,
    RemitFunded,
    RemitFundingRefused,
    RemitInterrupted,
    RemitResumed,
    RemitSessionCreated,
    RemitWorking,
)
from remit.remits.why import SessionFacts, explain_remit
from remit.streams.waiting import Why
from remit.values import EventRow, NewEvent, StreamHead, StreamSummary, Verdict

START_US = 1_800_000_000_000_000
NOW_US = START_US + 1_000_000_000
CREATED = RemitCreated(
    outcome="it works",
    verifiers=({"type": "command", "command": "true"},),
    budget=Budget(usd="1"),
    agent=AgentRef(
        id="agent_1", version=1, name="a", model="scripted/s", harness=HarnessRef(name="remit", version="1")
    ),
    model="scripted/s",
    max_iterations=3,
)
ASKED = (CREATED, RemitForecast())
"""As older versions wrote it."""
SHOWN = InitialVerificationEnded(
    verdicts=(Verdict(verifier={}, passed=False, summary="", reasons=("cannot_run",)),), vacuous=(0,)
)
FUNDED = (*ASKED, RemitApproved(actor="apikey_1"), RemitFunded())
JUDGED = (*FUNDED, InitialVerificationStarted(verification_id="v"), InitialVerificationEnded())
DECIDED = (*JUDGED, RemitSessionCreated(session_id="sesn_1"))
WORKING = (*DECIDED, RemitWorking(session_id="sesn_1"))


@dataclass(frozen=True)
class Lease:
    owner: str | None = None
    until_us: int = 0
    wake_at_us: int | None = None


HELD = Lease("worker_1", NOW_US + 3_000_000)
DEAD = Lease("worker_1", NOW_US - 3_000_000)
DUE = Lease(wake_at_us=NOW_US - 3_000_000)
FREE = Lease()


def command(type: str) -> InputReceived:
    return InputReceived(id="revt_c", event=Command(id="revt_c", type=type, actor="apikey_1"))


def row(stream_id: str, seq: int, event: NewEvent) -> EventRow:
    return EventRow(
        workspace_id="wrkspc_1",
        stream_id=stream_id,
        seq=seq,
        event_id=event.event_id,
        type=event.type,
        visibility=event.visibility,
        schema_version=1,
        created_at_us=START_US + seq * 1_000_000,
        body=event.body,
    )


def rows_of(events: Sequence[AnyEvent]) -> list[EventRow]:
    stamped = [
        msgspec.structs.replace(event, id=event.id or f"revt_{n}", processed_at=rfc3339(START_US))
        for n, event in enumerate(events)
    ]
    return [row("rmt_1", n, event.as_row()) for n, event in enumerate(stamped, start=1)]


def head(stream_id: str, kind: str, lease: Lease) -> StreamHead:
    return StreamHead(
        workspace_id="wrkspc_1",
        stream_id=stream_id,
        kind=kind,  # type: ignore[arg-type] # one of the kinds
        parent_stream_id=None,
        seq=1,
        epoch=1,
        owner=lease.owner,
        lease_until_us=lease.until_us,
        wake_at_us=lease.wake_at_us,
        created_at_us=START_US,
        summary=StreamSummary(status="idle"),
    )


def session(*types: tuple[str, dict[str, object]], lease: Lease = FREE) -> SessionFacts:
    created: dict[str, object] = {
        "session": {},
        "agent": {"id": "agent_1", "model": {"id": "scripted/s"}, "tools": []},
        "thread_id": "sthr_1",
        "parent": "rmt_1",
    }
    rows = [
        row(
            "sesn_1",
            seq,
            NewEvent(
                event_id=f"sevt_{seq}",
                type=type,
                visibility="public" if type.startswith(("session.status", "agent.")) else "private",
                body=msgspec.json.encode({"id": f"sevt_{seq}", "processed_at": rfc3339(START_US), **body}),
            ),
        )
        for seq, (type, body) in enumerate([("session.created", created), *types], start=1)
    ]
    return SessionFacts(rows=tuple(rows), head=head("sesn_1", "session", lease))


CALLING = session(
    ("session.status_running", {}),
    ("model.started", {"call_id": "call_1", "number": 1, "model": "scripted/s", "holds": []}),
    lease=HELD,
)
ASKING = session(
    ("session.status_running", {}),
    ("model.started", {"call_id": "c", "number": 1, "model": "scripted/s", "holds": []}),
    (
        "model.ended",
        {
            "call_id": "c",
            "content": [{"type": "tool_use", "id": "p", "name": "bash", "input": {}}],
            "stop_reason": "tool_use",
            "tool_use_ids": {"p": "sevt_5"},
        },
    ),
    ("agent.tool_use", {"name": "bash", "input": {}, "evaluated_permission": "ask"}),
    ("session.status_idle", {"stop_reason": {"type": "requires_action"}}),
)
FAILED = session(
    ("session.status_running", {}),
    ("session.error", {"error": {"type": "billing_error", "message": "no credit"}}),
    ("session.status_idle", {"stop_reason": {"type": "retries_exhausted"}}),
)


def explain(events: Sequence[AnyEvent], lease: Lease, working: SessionFacts | None = None) -> Why:
    return explain_remit(rows_of(events), head("rmt_1", "remit", lease), working, now_us=NOW_US)


ENDED = RemitEnded(
    status="satisfied",
    completed=True,
    verified=True,
    explanation="Every verifier passed on untampered inputs.",
)

CASES: dict[str, tuple[Sequence[AnyEvent], Lease, SessionFacts | None, str, list[str]]] = {
    "a forecast waits for a person": (
        ASKED,
        FREE,
        None,
        "person",
        ["a person's consent", "Nothing was spent"],
    ),
    "an input that is verified first": ((CREATED,), HELD, None, "verification", ["untouched input"]),
    "a forecast that is made": ((CREATED, SHOWN), HELD, None, "worker", ["forecast is made"]),
    "more than the cost is asked": (
        (CREATED, SHOWN, RemitForecast(), RemitApproved()),
        FREE,
        None,
        "person",
        ["vacuous", "cannot_run", "Nothing was spent"],
    ),
    "a consent that nobody took up": (
        (*ASKED, command("remit.approve")),
        DUE,
        None,
        "worker",
        ["remit.approve"],
    ),
    "a declined one ends": ((*ASKED, RemitDeclined()), HELD, None, "worker", ["ends as stopped"]),
    "the budget is taken": ((*ASKED, RemitApproved()), HELD, None, "worker", ["taken from the workspace"]),
    "a workspace without money": (
        (*ASKED, RemitApproved(), RemitFundingRefused(message="the workspace has no money")),
        HELD,
        None,
        "worker",
        ["ends as budget_reached"],
    ),
    "the input is verified": (FUNDED, HELD, None, "verification", ["untouched input"]),
    "at a dead worker's": (FUNDED, DEAD, None, "lease", ["has not renewed", "untouched input"]),
    "the session is made": (JUDGED, HELD, None, "worker", ["working session is made"]),
    "the decided session is made": (DECIDED, HELD, None, "worker", ["working session is made"]),
    "a session that calls its model": (WORKING, FREE, CALLING, "model", ["sesn_1", "call to the model"]),
    "a session that asks a person": (WORKING, FREE, ASKING, "person", ["sesn_1", "allow or deny"]),
    "a session that failed": (WORKING, HELD, FAILED, "worker", ["deliverables"]),
    "a deleted session": (WORKING, HELD, None, "worker", ["deliverables"]),
    "interrupted": ((*FUNDED, RemitInterrupted(actor="apikey_9")), FREE, None, "person", ["by apikey_9"]),
    "interrupted through its session": (
        (*FUNDED, RemitInterrupted(actor="session")),
        FREE,
        None,
        "person",
        ["someone in its session"],
    ),
    "resumed": (
        (*FUNDED, RemitInterrupted(), RemitResumed()),
        HELD,
        None,
        "verification",
        ["untouched input"],
    ),
    "ended": ((*WORKING, ENDED), FREE, CALLING, "nobody", ["satisfied, verified", "Every verifier passed"]),
    "verified again after its end": (
        (*WORKING, ENDED, command("remit.verify")),
        HELD,
        CALLING,
        "verification",
        ["verified again"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_says_for_whom_it_waits_and_why(name: str) -> None:
    events, lease, working, waits_for, words = CASES[name]
    why = explain(events, lease, working)
    text = " ".join(why.sentences)
    assert why.waits_for == waits_for, text
    assert [word for word in words if word not in text] == [], text
    assert all(sentence[0].isupper() and sentence[-1] == "." for sentence in why.sentences), why.sentences


def test_a_person_is_told_the_command_and_the_call() -> None:
    ways = explain(ASKED, FREE).ways
    assert [(way.call, way.command) for way in ways] == [
        ("POST /v1/remits/rmt_1/approve", "remit do --resume rmt_1"),
        ("POST /v1/remits/rmt_1/decline", None),
    ]


def test_a_person_is_told_what_to_name() -> None:
    way = explain((CREATED, SHOWN, RemitForecast()), FREE).ways[0]
    assert way.call == 'POST /v1/remits/rmt_1/approve {"despite":["vacuous","cannot_run"]}'
    assert way.command == "remit do --resume rmt_1 --despite vacuous --despite cannot_run"


def test_a_session_that_asks_is_answered_at_the_session() -> None:
    ways = explain(WORKING, FREE, ASKING).ways
    assert ways[0].call is not None
    assert ways[0].call.startswith("POST /v1/sessions/sesn_1/events")


def test_the_last_trouble_may_be_its_session_s() -> None:
    trouble = explain(WORKING, HELD, FAILED).trouble
    assert trouble is not None
    assert (trouble.type, trouble.message) == ("billing_error", "no credit")
