"""The fold of a remit's log and the next step: any prefix folds, and every state has one step."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    RemitDeliverablesReady,
    RemitEnded,
    RemitForecast,
    RemitFunded,
    RemitFundingRefused,
    RemitInterrupted,
    RemitIterationEnded,
    RemitPaused,
    RemitReopened,
    RemitResumed,
    RemitSessionCreated,
    RemitSessionGranted,
    RemitWorking,
)
from remit.remits.outage import TREATMENTS
from remit.remits.state import fold, session_event_id
from remit.remits.steps import (
    AnswerCommand,
    ContinueSession,
    CopyIterations,
    DecideSession,
    End,
    Fund,
    GrantSession,
    MakeForecast,
    NoteInterruption,
    Pause,
    PrepareDeliverables,
    ReopenOutcome,
    Rest,
    Step,
    VerifyInput,
    next_step,
)
from remit.remits.work import Work
from remit.streams.children import ChildEvaluation, ChildFailure
from remit.values import EventRow, Verdict

CREATED = RemitCreated(
    outcome="Answer",
    verifiers=({"type": "command", "command": "true"}, {"type": "command", "command": "false"}),
    budget=Budget(usd="1"),
    agent=AgentRef(id="a", version=1, name="n", model="m", harness=HarnessRef(name="remit", version="1")),
    model="m",
    max_iterations=3,
)
BEFORE_WORK: tuple[AnyEvent, ...] = (
    CREATED,
    RemitForecast(),
    RemitApproved(),
    RemitFunded(),
    InitialVerificationStarted(verification_id="v"),
)
WORKING: tuple[AnyEvent, ...] = (
    *BEFORE_WORK,
    InitialVerificationEnded(vacuous=(0,)),
    RemitSessionCreated(session_id="sesn_1"),
    RemitWorking(session_id="sesn_1"),
)
PASSED = Verdict(verifier={}, passed=True, summary="ok")
SATISFIED = ChildEvaluation(event_id="e1", outcome_id="o", result="satisfied", verdicts=(PASSED, PASSED))
COPIED = RemitIterationEnded(iteration=0, result="satisfied", evaluation_event_id="e1")


def rows(*events: AnyEvent) -> list[EventRow]:
    made: list[EventRow] = []
    for seq, event in enumerate(events, start=1):
        new = msgspec.structs.replace(event, id=event.id or f"revt_{seq}").as_row()
        made.append(
            EventRow(
                workspace_id="w",
                stream_id="remit_1",
                seq=seq,
                event_id=new.event_id,
                type=new.type,
                visibility=new.visibility,
                schema_version=1,
                created_at_us=seq,
                body=new.body,
            )
        )
    return made


def received(type: str, id: str) -> InputReceived:
    budget = Budget(usd="4") if type == "remit.raise" else None
    return InputReceived(id=id, event=Command(id=id, type=type, budget=budget))


KINDS = (
    "remit.approve",
    "remit.decline",
    "remit.interrupt",
    "remit.resume",
    "remit.verify",
    "remit.raise",
    "remit.surprise",
)
PAUSED = RemitPaused(reason="unavailable", wake_at="2027-01-15T08:00:30.000000Z", session_event_id="sevt_f")
FOR_PEOPLE = RemitPaused(reason="authentication", session_event_id="sevt_f")
REOPENED = RemitReopened(id="revt_b", budget=Budget(usd="4"))
GRANTED = RemitSessionGranted(reopening_id="revt_b", session_id="sesn_1")
AT_ITS_BUDGET = RemitEnded(status="budget_reached", completed=False, verified=False)
events = st.one_of(
    st.sampled_from(
        [
            *WORKING,
            COPIED,
            RemitDeclined(),
            RemitInterrupted(),
            RemitResumed(),
            RemitDeliverablesReady(tree_digest=None),
            RemitEnded(status="stopped", completed=False, verified=False),
            PAUSED,
            FOR_PEOPLE,
            AT_ITS_BUDGET,
            REOPENED,
            GRANTED,
        ]
    ),
    st.builds(received, st.sampled_from(KINDS), st.uuids().map(lambda id: f"revt_{id}")),
)


@given(st.lists(events, max_size=30), st.integers(0, 30))
def test_any_log_folds_and_in_two_parts_to_the_same(log: list[AnyEvent], cut: int) -> None:
    made = rows(CREATED, *log)
    whole = fold(made)
    assert fold(made[cut:], fold(made[:cut])) == whole
    assert whole.seq == len(made)
    assert whole.status


failures = st.none() | st.builds(
    ChildFailure,
    event_id=st.sampled_from(["sevt_f", "sevt_g"]),
    reason=st.sampled_from([*TREATMENTS, "a reason of a later version"]),
    in_a_row=st.integers(1, 9),
)
works = st.builds(
    Work,
    is_resting=st.booleans(),
    is_terminated=st.booleans(),
    stop_reason=st.sampled_from(["end_turn", "budget_reached", "retries_exhausted", "requires_action"]),
    last_result=st.sampled_from([None, "satisfied", "needs_revision", "interrupted"]),
    failure=failures,
)


@given(st.lists(events, max_size=30), works)
def test_every_state_has_a_next_step(log: list[AnyEvent], work: Work) -> None:
    state = fold(rows(CREATED, *log))
    assert next_step(state, work if state.is_working else None) is not None


FAILED = ChildFailure(event_id="sevt_f", reason="unavailable")
FAILED_WORK = Work(is_resting=True, stop_reason="retries_exhausted", failure=FAILED)
BUDGET_WORK = Work(is_resting=True, stop_reason="budget_reached")
RESUMED = RemitResumed(id="revt_r", actor="remit")
WAKE_AT_US = 1_800_000_030_000_000
READY = RemitDeliverablesReady(tree_digest=None)
WENT_ON = Work(is_resting=False, input_ids=frozenset({"sevt_b"}))
GOING_ON: dict[str, tuple[tuple[AnyEvent, ...], Work, Step, str]] = {
    "a turn failed": ((), FAILED_WORK, Pause(failure=FAILED), "working"),
    "it is paused": ((PAUSED,), FAILED_WORK, Rest(why="paused", wake_at_us=WAKE_AT_US), "paused"),
    "people are asked": ((FOR_PEOPLE,), FAILED_WORK, Rest(why="paused"), "paused"),
    "its time has come": ((PAUSED, RESUMED), FAILED_WORK, ContinueSession(command_id="revt_r"), "working"),
    "it failed again": (
        (PAUSED, RESUMED),
        msgspec.structs.replace(FAILED_WORK, failure=ChildFailure(event_id="sevt_g", reason="cut")),
        Pause(failure=ChildFailure(event_id="sevt_g", reason="cut")),
        "working",
    ),
    "interrupted in a pause": (
        (PAUSED, RemitInterrupted()),
        FAILED_WORK,
        Rest(why="interrupted"),
        "interrupted",
    ),
    "resumed after that": (
        (PAUSED, RemitInterrupted(), RESUMED),
        FAILED_WORK,
        ContinueSession(command_id="revt_r"),
        "working",
    ),
    "at its budget": ((READY, AT_ITS_BUDGET), BUDGET_WORK, Rest(why="ended"), "budget_reached"),
    "reopened": ((READY, AT_ITS_BUDGET, REOPENED), BUDGET_WORK, Fund(), "working"),
    "the workspace has no money": (
        (READY, AT_ITS_BUDGET, REOPENED, RemitFundingRefused(message="no")),
        BUDGET_WORK,
        End(status="budget_reached", completed=False, verified=False, explanation="no"),
        "working",
    ),
    "funded anew": (
        (READY, AT_ITS_BUDGET, REOPENED, RemitFunded()),
        BUDGET_WORK,
        GrantSession(reopening_id="revt_b"),
        "working",
    ),
    "granted to its session": (
        (READY, AT_ITS_BUDGET, REOPENED, RemitFunded(), GRANTED),
        BUDGET_WORK,
        ContinueSession(command_id="revt_b", is_reopening=True),
        "working",
    ),
    "at work again": (
        (READY, AT_ITS_BUDGET, REOPENED, RemitFunded(), GRANTED),
        WENT_ON,
        Rest(why="session"),
        "working",
    ),
}


@pytest.mark.parametrize("case", GOING_ON)
def test_what_goes_on_does_one_thing_after_the_other(case: str) -> None:
    log, work, step, status = GOING_ON[case]
    state = fold(rows(*WORKING, *log))
    assert next_step(state, work) == step
    assert state.status == status


VACUOUS = InitialVerificationEnded(vacuous=(0,))
UNSEEN = InitialVerificationEnded(
    verdicts=(Verdict(verifier={}, passed=False, summary="", reasons=("unseen",)),)
)
STARTED = InitialVerificationStarted(verification_id="v")
ASKING = (CREATED, STARTED, InitialVerificationEnded(), RemitForecast())
BEFORE_ASKING: dict[str, tuple[tuple[AnyEvent, ...], type[Step], str, tuple[str, ...]]] = {
    "made": ((CREATED,), VerifyInput, "verifying_input", ("cost",)),
    "with a yes at once": ((CREATED, RemitApproved()), VerifyInput, "verifying_input", ()),
    "the run begun": ((CREATED, STARTED), VerifyInput, "verifying_input", ("cost",)),
    "the run ended": (
        (CREATED, STARTED, InitialVerificationEnded()),
        MakeForecast,
        "verifying_input",
        ("cost",),
    ),
    "no run possible": ((CREATED, InitialVerificationEnded(error="x")), End, "verifying_input", ("cost",)),
    "forecast": (ASKING, Rest, "awaiting_consent", ("cost",)),
    "forecast after a yes": ((CREATED, RemitApproved(), *ASKING[1:]), Fund, "working", ()),
    "a yes": ((*ASKING, RemitApproved()), Fund, "working", ()),
    "a no": ((*ASKING, RemitDeclined()), End, "awaiting_consent", ("cost",)),
    "a yes to the cost alone": (
        (CREATED, RemitApproved(), VACUOUS, RemitForecast()),
        Rest,
        "awaiting_consent",
        ("vacuous",),
    ),
    "a yes to another reason": (
        (CREATED, UNSEEN, RemitForecast(), RemitApproved(despite=("vacuous",))),
        Rest,
        "awaiting_consent",
        ("unseen",),
    ),
    "a second yes": (
        (CREATED, UNSEEN, RemitForecast(), RemitApproved(), RemitApproved(despite=("unseen",))),
        Fund,
        "working",
        (),
    ),
    "accepted at creation": (
        (msgspec.structs.replace(CREATED, despite=("vacuous",)), VACUOUS, RemitForecast()),
        Rest,
        "awaiting_consent",
        ("cost",),
    ),
    "funded": ((*ASKING, RemitApproved(), RemitFunded()), DecideSession, "working", ()),
    "older: forecast": ((CREATED, RemitForecast()), Rest, "awaiting_consent", ("cost",)),
    "older: a yes": ((CREATED, RemitForecast(), RemitApproved()), Fund, "verifying_input", ()),
    "older: funded": (BEFORE_WORK[:-1], VerifyInput, "verifying_input", ()),
    "older: the run begun": (BEFORE_WORK, VerifyInput, "verifying_input", ()),
    "older: green before, which was no question then": (
        (*BEFORE_WORK, VACUOUS),
        DecideSession,
        "working",
        (),
    ),
    "older: no run possible": (
        (*BEFORE_WORK, InitialVerificationEnded(error="x")),
        End,
        "verifying_input",
        (),
    ),
}


@pytest.mark.parametrize("name", BEFORE_ASKING)
def test_before_work_every_log_has_one_step_a_status_and_what_is_left_to_accept(name: str) -> None:
    log, step, status, reasons = BEFORE_ASKING[name]
    state = fold(rows(*log))
    assert (type(next_step(state, None)), state.status, state.reasons) == (step, status, reasons)


@pytest.mark.parametrize(
    ("log", "command", "is_kept"),
    [
        ((CREATED,), Command(id="c", type="remit.approve"), True),
        ((CREATED, RemitApproved()), Command(id="c", type="remit.approve"), False),
        ((CREATED, RemitApproved()), Command(id="c", type="remit.approve", despite=("unseen",)), True),
        (
            (CREATED, RemitApproved(despite=("unseen",))),
            Command(id="c", type="remit.approve", despite=("unseen",)),
            False,
        ),
        ((CREATED, RemitApproved()), Command(id="c", type="remit.decline"), True),
        ((*ASKING, RemitApproved()), Command(id="c", type="remit.decline"), False),
        ((*ASKING, RemitApproved()), Command(id="c", type="remit.approve", despite=("unseen",)), False),
        ((CREATED, UNSEEN, RemitForecast(), RemitApproved()), Command(id="c", type="remit.decline"), True),
        ((*ASKING, RemitDeclined()), Command(id="c", type="remit.approve"), False),
        ((CREATED, RemitForecast(), RemitApproved()), Command(id="c", type="remit.decline"), False),
    ],
)
def test_an_answer_is_kept_as_long_as_it_means_something(
    log: tuple[AnyEvent, ...], command: Command, is_kept: bool
) -> None:
    assert bool(fold(rows(*log, InputReceived(id="c", event=command))).pending) == is_kept


def test_a_row_of_an_unknown_type_changes_nothing_but_the_position() -> None:
    known = rows(*WORKING)
    later = msgspec.structs.replace(
        known[-1], seq=len(known) + 1, type="remit.invented", body=b"not even json"
    )
    assert msgspec.structs.replace(fold([*known, later]), seq=len(known)) == fold(known)


def test_commands_that_mean_nothing_here_are_consumed_by_being_read() -> None:
    state = fold(rows(*WORKING, received("remit.approve", "revt_a"), received("remit.resume", "revt_b")))
    assert state.pending == ()


def test_an_interrupt_that_follows_a_resume_is_not_lost() -> None:
    log = [
        *WORKING,
        RemitInterrupted(),
        received("remit.resume", "revt_a"),
        received("remit.interrupt", "revt_b"),
    ]
    state = fold(rows(*log))
    assert next_step(state, Work()) == AnswerCommand(command=Command(id="revt_a", type="remit.resume"))
    state = fold(rows(*log, RemitResumed(id="revt_a")))
    assert next_step(state, Work()) == AnswerCommand(command=Command(id="revt_b", type="remit.interrupt"))


def test_a_session_at_work_is_waited_for() -> None:
    assert next_step(fold(rows(*WORKING)), Work()) == Rest(why="session")


def test_evaluations_are_copied_first_even_while_interrupted() -> None:
    work = Work(is_resting=True, stop_reason="end_turn", evaluations=(SATISFIED,), last_result="satisfied")
    assert next_step(fold(rows(*WORKING, RemitInterrupted())), work) == CopyIterations(
        evaluations=(SATISFIED,)
    )


def test_an_interrupted_session_is_noted_kept_and_reopened_once() -> None:
    cut = ChildEvaluation(event_id="e1", outcome_id="o", result="interrupted")
    work = Work(
        is_resting=True,
        stop_reason="end_turn",
        evaluations=(cut,),
        last_result="interrupted",
        last_interrupt_id="sevt_i",
    )
    base = (*WORKING, COPIED)
    assert next_step(fold(rows(*base)), work) == NoteInterruption(session_event_id="sevt_i")
    resumed = fold(rows(*base, RemitInterrupted(), RemitResumed(id="revt_r")))
    assert next_step(resumed, work) == ReopenOutcome(resume_id="revt_r", max_iterations=3)
    again = msgspec.structs.replace(work, input_ids=frozenset({session_event_id("revt_r")}))
    assert next_step(resumed, again) == NoteInterruption(session_event_id="sevt_i")


def test_satisfied_by_a_verifier_that_was_red_before_is_verified() -> None:
    ready = RemitDeliverablesReady(tree_digest=None)
    work = Work(is_resting=True, stop_reason="end_turn", evaluations=(SATISFIED,), last_result="satisfied")
    assert next_step(fold(rows(*WORKING, COPIED)), work) == PrepareDeliverables(tree_digest=None)
    end = next_step(fold(rows(*WORKING, COPIED, ready)), work)
    assert isinstance(end, End)
    assert (end.status, end.completed, end.verified) == ("satisfied", True, True)


def test_passing_on_tampered_files_is_never_verified() -> None:
    tampered = msgspec.structs.replace(PASSED, tampered=("test_x.py",))
    bad = msgspec.structs.replace(SATISFIED, verdicts=(PASSED, tampered))
    work = Work(is_resting=True, stop_reason="end_turn", evaluations=(bad,), last_result="satisfied")
    end = next_step(fold(rows(*WORKING, COPIED, RemitDeliverablesReady(tree_digest=None))), work)
    assert isinstance(end, End)
    assert (end.status, end.verified) == ("unsatisfied", False)


def test_how_the_session_rests_decides_the_end() -> None:
    state = fold(rows(*WORKING, RemitDeliverablesReady(tree_digest=None)))
    for work, status in [
        (Work(is_resting=True, stop_reason="budget_reached"), "budget_reached"),
        (Work(is_resting=True, stop_reason="retries_exhausted", error_message="no"), "stopped"),
        (Work(is_resting=True, is_terminated=True, stop_reason="end_turn"), "stopped"),
        (Work(is_resting=True, stop_reason="refusal"), "stopped"),
        (Work(is_resting=True, stop_reason="end_turn"), "stopped"),
    ]:
        end = next_step(state, work)
        assert isinstance(end, End)
        assert (end.status, end.completed, end.verified) == (status, False, False)


def test_a_session_that_waits_for_a_person_is_waited_for() -> None:
    work = Work(is_resting=True, stop_reason="requires_action")
    assert next_step(fold(rows(*WORKING)), work) == Rest(why="session")
