"""What is said of a session, for every state it can be found in: from its rows, its head and its accounts alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from remit.clock import rfc3339
from remit.session.why import explain_session
from remit.streams.waiting import Why
from remit.values import Account, EventRow, JsonObject, StreamHead, StreamSummary

START_US = 1_800_000_000_000_000
SECOND = 1_000_000
NOW_US = START_US + 1_000 * SECOND
ID = "sesn_1"


@dataclass
class Log:
    """Rows, one second apart."""

    rows: list[EventRow] = field(default_factory=list[EventRow])

    def add(
        self, type: str, event_id: str | None = None, *, visibility: str = "public", **body: object
    ) -> Log:
        seq = len(self.rows) + 1
        time_us = START_US + seq * SECOND
        id = event_id or f"sevt_{seq}"
        public = {"processed_at": rfc3339(time_us)} if visibility == "public" else {}
        self.rows.append(
            EventRow(
                workspace_id="wrkspc_1",
                stream_id=ID,
                seq=seq,
                event_id=id,
                type=type,
                visibility=visibility,  # type: ignore[arg-type] # one of the two
                schema_version=1,
                created_at_us=time_us,
                body=msgspec.json.encode({"id": id, "type": type, **public, **body}),
            )
        )
        return self

    def private(self, type: str, event_id: str | None = None, **body: object) -> Log:
        return self.add(type, event_id, visibility="private", **body)

    def came(self, type: str, event_id: str, **fields: object) -> Log:
        return self.private("input.received", event_id, event={"id": event_id, "type": type, **fields})


def new(*, budget: JsonObject | None = None, **more: Any) -> Log:
    session: JsonObject = {"title": None, "metadata": {}, "budget": budget}
    agent: JsonObject = {
        "id": "agent_1",
        "version": 1,
        "name": "a",
        "model": {"id": "scripted/s"},
        "tools": [],
    }
    return Log().private(
        "session.created", session=session, agent=agent, environment_id="env_1", thread_id="sthr_1", **more
    )


def running(**more: Any) -> Log:
    message: Any = {"content": [{"type": "text", "text": "hello"}]}
    log = new(**more).came("user.message", "sevt_m", **message)
    return log.add("session.status_running").add("user.message", "sevt_m", **message)


def queued(what: str) -> Log:
    return running().private("wait.began", what=what, limit="the limit of anthropic (64 at once)", ahead=7)


def calling() -> Log:
    return running().private(
        "model.started", call_id="call_1", number=1, model="scripted/s", served_model="scripted/s", holds=[]
    )


def retrying(**ended: Any) -> Log:
    error = {"type": "model_overloaded_error", "message": "the provider is overloaded", "retry_status": {}}
    return (
        calling()
        .private("model.ended", call_id="call_1", error_reason="overloaded", error_message="529", **ended)
        .add("session.error", error=error)
        .add("session.status_rescheduled")
    )


def using(*, permission: str = "allow", is_custom: bool = False) -> Log:
    log = calling().private(
        "model.ended",
        call_id="call_1",
        error_reason=None,
        content=[{"type": "tool_use", "id": "p1", "name": "bash", "input": {}}],
        stop_reason="tool_use",
        tool_use_ids={"p1": "sevt_use"},
    )
    if is_custom:
        return log.add("agent.custom_tool_use", "sevt_use", name="bash", input={})
    return log.add("agent.tool_use", "sevt_use", name="bash", input={}, evaluated_permission=permission)


def tooling() -> Log:
    return using().private("tool.started", tool_use_id="sevt_use", name="bash", holds=[])


def failed(type: str, message: str) -> Log:
    error = {"type": type, "message": message, "retry_status": {"type": "exhausted"}}
    return idle(running().add("session.error", error=error), "retries_exhausted")


FAILURES = {
    "compaction_limit_reached_error": ("it does not fit", "larger window", "POST /v1/sessions"),
    "billing_error": ("the account is empty", "is paid", "remit doctor"),
    "model_request_failed_error": ("anthropic answered 401: no", "refuses the key", "remit doctor"),
    "unknown_error": ("it broke", "it broke", "POST /v1/sessions"),
}


@pytest.mark.parametrize("type", FAILURES)
def test_a_failed_turn_says_what_is_wrong_and_which_call_mends_it(type: str) -> None:
    message, sentence, call = FAILURES[type]
    why = explain(failed(type, message), FREE)
    said = " ".join(why.sentences)
    assert f"What is wrong: {message}" in said
    assert sentence in said
    assert call in [way.call or way.command for way in why.ways]


def test_a_request_that_is_refused_for_something_else_names_the_model_and_the_session() -> None:
    log = failed("model_request_failed_error", "local answered 400: no such template")
    why = explain(log, FREE)
    assert "no such template" in " ".join(why.sentences)
    assert {way.call or way.command for way in why.ways} >= {"remit doctor", "POST /v1/sessions"}


def idle(log: Log, reason: str) -> Log:
    return log.add("session.status_idle", stop_reason={"type": reason})


def judging() -> Log:
    outcome = {"description": "it works", "outcome_id": "outc_1", "rubric": {"content": "so"}}
    return (
        running()
        .add("user.define_outcome", **outcome)
        .add("span.outcome_evaluation_start", outcome_id="outc_1", iteration=0)
    )


@dataclass(frozen=True)
class Lease:
    """How the stream's row stands."""

    owner: str | None = None
    until_us: int = 0
    wake_at_us: int | None = None


HELD = Lease("worker_1", NOW_US + 3 * SECOND)
DEAD = Lease("worker_1", NOW_US - 60 * SECOND)
FREE = Lease()
DUE = Lease(wake_at_us=NOW_US - 7 * SECOND)
LATER = Lease(wake_at_us=NOW_US + 5 * SECOND)


def explain(log: Log, lease: Lease, *accounts: Account) -> Why:
    head = StreamHead(
        workspace_id="wrkspc_1",
        stream_id=ID,
        kind="session",
        parent_stream_id=None,
        seq=len(log.rows),
        epoch=1,
        owner=lease.owner,
        lease_until_us=lease.until_us,
        wake_at_us=lease.wake_at_us,
        created_at_us=START_US,
        summary=StreamSummary(status="idle"),
    )
    return explain_session(log.rows, head, accounts, now_us=NOW_US)


BUDGET = Account(
    stream_id=ID, unit="nano_usd", purpose="work", cap=2_000_000_000, spent=1_900_000_000, held=50_000_000
)
DENIED = {"tool_use_id": "sevt_use", "result": "deny"}

CASES: dict[str, tuple[Log, Lease, str, list[str]]] = {
    # At rest.
    "a new session waits for its first message": (
        new(),
        FREE,
        "message",
        ["no message since it was created"],
    ),
    "after a turn it waits for a message": (
        idle(running(), "end_turn"),
        FREE,
        "message",
        ["last turn ended"],
    ),
    "after a refusal too": (idle(running(), "refusal"), FREE, "message", ["refused to go on"]),
    "after a failure nothing is tried by itself": (
        idle(retrying(), "retries_exhausted"),
        FREE,
        "message",
        ["failed", "nothing is tried again"],
    ),
    "an unknown reason is named": (idle(running(), "sleeping"), FREE, "message", ["(sleeping)"]),
    "a kept sandbox has an end": (
        idle(running().private("sandbox.started", sandbox_id="sbx_1"), "end_turn"),
        LATER,
        "message",
        ["sandbox is kept until about"],
    ),
    "a confirmation is a person's": (
        idle(using(permission="ask"), "requires_action"),
        FREE,
        "person",
        ["bash (sevt_use)", "allow or deny"],
    ),
    "a custom tool's result is the client's": (
        idle(using(is_custom=True), "requires_action"),
        FREE,
        "client",
        ["bash (sevt_use)", "client's result"],
    ),
    "a reached budget shows what is left": (
        idle(running().private("model.refused", message="the worst case does not fit"), "budget_reached"),
        FREE,
        "budget",
        ["$1.90 of $2.00", "$0.05 held", "$0.05 left"],
    ),
    "a reached cap of its key names it, and what goes on": (
        idle(
            running().private("model.refused", message="the cap of apikey_1 for the day is reached."),
            "budget_reached",
        ),
        FREE,
        "budget",
        ["cap of its key or workspace", "the cap of apikey_1 for the day is reached", "once there is room"],
    ),
    "a budget of its own is raised, and no cap is spoken of": (
        idle(
            running(budget={"type": "limit", "max_list_cost": {"amount": "200", "currency": "USD"}}),
            "budget_reached",
        ),
        FREE,
        "budget",
        ["Its budget was reached", "With a higher budget it goes on by itself"],
    ),
    "an archived session is over": (
        idle(running(), "end_turn").add("session.archived", archived_at="2027-01-01T00:00:00Z"),
        FREE,
        "nobody",
        ["archived"],
    ),
    "a terminated one too": (running().add("session.status_terminated"), FREE, "nobody", ["terminated"]),
    "a deleted one too": (new().private("session.deleted"), FREE, "nobody", ["deleted"]),
    # Input that nobody took up.
    "a message that nobody took up is due": (
        new().came("user.message", "sevt_m", content=[]),
        DUE,
        "worker",
        ["user.message came at", "no worker has taken it"],
    ),
    "one that a worker takes up": (
        new().came("user.message", "sevt_m", content=[]),
        HELD,
        "worker",
        ["is being taken up", "worker_1"],
    ),
    "one at a dead worker's": (
        new().came("user.message", "sevt_m", content=[]),
        DEAD,
        "lease",
        ["has not renewed its lease"],
    ),
    "an answer that resolves all starts the turn again": (
        idle(using(permission="ask"), "requires_action").came("user.tool_confirmation", "sevt_c", **DENIED),
        DUE,
        "worker",
        ["user.tool_confirmation came at"],
    ),
    # In a turn, with a worker.
    "a model call is under way": (calling(), HELD, "model", ["call to the model scripted/s", "worker_1"]),
    "a tool runs": (tooling(), HELD, "tool", ["bash (sevt_use) is running since"]),
    "a tool is about to run": (using(), HELD, "worker", ["about to run"]),
    "verifiers judge": (judging(), HELD, "verification", ["iteration 0"]),
    "a retry has its pause": (
        retrying(will_retry=True, pause_seconds=4.0),
        HELD,
        "retry",
        ["overloaded", "after a pause of 4.0 s"],
    ),
    "a retry of an older log has a pause of unknown length": (retrying(), HELD, "retry", ["after a pause."]),
    "between two steps": (running(), HELD, "worker", ["between two steps"]),
    "an interrupt is being carried out": (
        calling().came("user.interrupt", "sevt_i"),
        HELD,
        "model",
        ["interrupt has come"],
    ),
    # In a turn, without one.
    "the lease of a dead worker": (
        calling(),
        DEAD,
        "lease",
        [f"ran out at {rfc3339(DEAD.until_us)}", "Before that: a call", "settles that call"],
    ),
    "a tool of a dead worker is not run twice": (tooling(), DEAD, "lease", ["never runs it a second time"]),
    "due after a restart": (calling(), DUE, "worker", ["due since", "Before that: a call"]),
    "in line for a model call": (
        queued("model"),
        HELD,
        "queue",
        ["next model call has waited since", "the limit of anthropic (64 at once); 7 were in line before it"],
    ),
    "in line for a sandbox": (queued("sandbox"), HELD, "queue", ["Its sandbox has waited since"]),
    "no longer in line": (
        queued("model").private("model.started", call_id="call_9", number=1, model="m", holds=[]),
        HELD,
        "model",
        ["has been under way since"],
    ),
    "later, since its handler failed": (running(), LATER, "worker", ["taken up again at"]),
    "never, which is a fault": (running(), FREE, "worker", ["a fault of Remit's"]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_says_for_whom_it_waits_and_why(name: str) -> None:
    log, lease, waits_for, words = CASES[name]
    why = explain(log, lease, BUDGET)
    text = " ".join(why.sentences)
    assert why.waits_for == waits_for, text
    assert [word for word in words if word not in text] == [], text


LOGS = {
    "new": new,
    "running": running,
    "calling": calling,
    "retrying": retrying,
    "tooling": tooling,
    "asked": lambda: using(permission="ask"),
    "custom": lambda: using(is_custom=True),
    "judging": judging,
    "queued": lambda: queued("model"),
}
ENDS = (None, "end_turn", "requires_action", "budget_reached", "retries_exhausted", "refusal", "terminated")
INPUTS = (None, "user.message", "user.interrupt", "user.tool_confirmation", "session.updated")
LEASES = {"held": HELD, "dead": DEAD, "free": FREE, "due": DUE, "later": LATER}


@pytest.mark.parametrize("lease", LEASES)
def test_every_state_is_explained_in_whole_sentences_with_a_time_and_a_way(lease: str) -> None:
    for make, end, input in itertools.product(LOGS.values(), ENDS, INPUTS):
        log = make()
        if end == "terminated":
            log.add("session.status_terminated")
        elif end is not None:
            idle(log, end)
        if input is not None:
            log.came(input, "sevt_late", tool_use_id="sevt_use", result="allow")
        why = explain(log, LEASES[lease], BUDGET)
        assert why.sentences
        assert all(text[0].isupper() or text.split()[0] in INPUTS for text in why.sentences), why.sentences
        assert all(text.rstrip()[-1] in ".!" for text in why.sentences), why.sentences
        assert rfc3339(START_US) <= why.since <= rfc3339(NOW_US)
        is_person = why.waits_for in ("person", "client", "message", "budget")
        assert why.ways or not is_person, (why.waits_for, why.sentences)


def test_the_last_trouble_is_told_with_its_time_and_only_its_first_line() -> None:
    log = running().add("session.sandbox_lost", reason="its process died\nwith a trace")
    why = explain(log, HELD)
    assert why.trouble is not None
    assert why.trouble.type == "sandbox_lost"
    assert why.trouble.message == "The sandbox was lost: its process died"
    assert why.trouble.at == rfc3339(log.rows[-1].created_at_us)


def test_what_people_and_models_said_is_not_repeated() -> None:
    log = calling().came("user.message", "sevt_n", content=[{"type": "text", "text": "a secret plan"}])
    assert "secret" not in msgspec.json.encode(explain(log, HELD)).decode()


def test_an_installation_of_packages_is_what_a_tool_use_waits_for_until_it_ends() -> None:
    log = using().add("session.packages_installing", packages={"pip": ["numpy"]})
    why = explain(log, HELD)
    assert why.waits_for == "tool"
    assert "packages are being installed" in why.sentences[0]
    ended = log.private("packages.installed", tree_digest="d", packages={"pip": ["numpy"]}, files=1, bytes=1)
    assert not any("being installed" in sentence for sentence in explain(ended, HELD).sentences)
