"""The next step of a remit: a pure decision over its own log and its working session's.

The same logs always give the same step, so whoever takes over after a crash goes on exactly where the logs end.
"""

from __future__ import annotations

from typing import Literal

from remit.clock import parse_rfc3339
from remit.remits.events import Command, EndStatus
from remit.remits.outage import treatment
from remit.remits.state import RemitState, session_event_id
from remit.remits.work import Work
from remit.streams.children import ChildEvaluation, ChildFailure
from remit.values import Value, Verdict


class Rest(Value, frozen=True, kw_only=True):
    """No step is due until something is appended."""

    why: Literal["consent", "interrupted", "paused", "session", "ended"]
    wake_at_us: int | None = None
    """When it goes on by itself."""


class AnswerCommand(Value, frozen=True, kw_only=True):
    """Consume approve, decline, interrupt or resume: append its public event."""

    command: Command


class RepeatVerification(Value, frozen=True, kw_only=True):
    """Run the verifiers again on what there is now."""

    command: Command


class Fund(Value, frozen=True, kw_only=True):
    """Take the budget from the workspace: its side first, then ours."""


class SetUp(Value, frozen=True, kw_only=True):
    """Find and make what stands around the work: where its packages lie, what the setup command adds."""


class VerifyInput(Value, frozen=True, kw_only=True):
    """Let the verifiers that cost nothing look at the input."""


class MakeForecast(Value, frozen=True, kw_only=True):
    """Say what the work will probably cost, and what the run on the input has shown: then a person is asked."""


class DecideSession(Value, frozen=True, kw_only=True):
    """Give the working session its id and its grants, before it exists."""


class OpenSession(Value, frozen=True, kw_only=True):
    """Make the session that was decided."""

    session_id: str


class CopyIterations(Value, frozen=True, kw_only=True):
    """Copy evaluations of the session that this log does not have."""

    evaluations: tuple[ChildEvaluation, ...]


class NoteInterruption(Value, frozen=True, kw_only=True):
    """Someone interrupted the session itself: the remit is interrupted too."""

    session_event_id: str


class ReopenOutcome(Value, frozen=True, kw_only=True):
    """Give the session its outcome again, after an interruption."""

    resume_id: str
    max_iterations: int


class Pause(Value, frozen=True, kw_only=True):
    """Stay away from a model that does not answer."""

    failure: ChildFailure


class GrantSession(Value, frozen=True, kw_only=True):
    """Give the session what a reopened remit got: this side of it."""

    reopening_id: str


class ContinueSession(Value, frozen=True, kw_only=True):
    """Let the session go on with the turn that stopped, with the money of a reopening where that is why."""

    command_id: str
    is_reopening: bool = False


class PrepareDeliverables(Value, frozen=True, kw_only=True):
    """Write down what is handed over."""

    tree_digest: str | None


class End(Value, frozen=True, kw_only=True):
    """Give back what is left and say how it ended."""

    status: EndStatus
    completed: bool
    verified: bool
    explanation: str


Step = (
    Rest
    | AnswerCommand
    | RepeatVerification
    | Fund
    | SetUp
    | VerifyInput
    | MakeForecast
    | DecideSession
    | OpenSession
    | CopyIterations
    | NoteInterruption
    | ReopenOutcome
    | Pause
    | GrantSession
    | ContinueSession
    | PrepareDeliverables
    | End
)


def next_step(state: RemitState, work: Work | None) -> Step:
    """Decide. `work` is the working session, once it exists (`work.known_work`)."""
    if state.pending:
        command = state.pending[0]
        return (
            RepeatVerification(command=command)
            if command.type == "remit.verify"
            else AnswerCommand(command=command)
        )
    if state.ended is not None:
        return Rest(why="ended")
    if state.consent == "declined":
        return stopped(state.decline_reason or "The forecast was declined.")
    if work is not None and (news := _not_copied(state, work)):
        return CopyIterations(evaluations=news)
    if state.is_interrupted:
        return Rest(why="interrupted")
    if state.is_paused:
        wake_at = state.pause.wake_at if state.pause is not None else None
        return Rest(why="paused", wake_at_us=None if wake_at is None else parse_rfc3339(wake_at))
    return _step_before_work(state) if work is None else _step_of_work(state, work)


def _step_before_work(state: RemitState) -> Step:
    if state.funding is None and state.funding_refusal is not None:
        return ended_as("budget_reached", state.funding_refusal)
    if state.setup is not None and state.setup.error is not None:
        return stopped(state.setup.error)
    if state.initial is not None and state.initial.error is not None:
        return stopped(state.initial.error)
    if state.forecast is None and state.setup is None and state.initial is None and _has_input(state):
        return SetUp()
    if state.forecast is None and state.initial is None:
        return VerifyInput()
    if state.forecast is None:
        return MakeForecast()
    if state.reasons:
        return Rest(why="consent")
    if state.funding is None:
        return Fund()
    if state.initial is None:  # of an older log
        return VerifyInput()
    if state.session is None:
        return DecideSession()
    return OpenSession(session_id=state.session.session_id)


def _has_input(state: RemitState) -> bool:
    return state.created is not None and state.created.tree_digest is not None


def _step_of_work(state: RemitState, work: Work) -> Step:
    if state.reopenings and not work.is_terminated and (step := _step_of_reopening(state, work)):
        return step
    if not work.is_resting or (work.stop_reason == "requires_action" and not work.is_terminated):
        return Rest(why="session")
    if _is_interruption(work):
        return _step_after_interruption(state, work)
    if step := _step_after_failure(state, work):
        return step
    end = _end_of_work(state, work)
    if state.deliverables is None:
        return PrepareDeliverables(tree_digest=work.tree_digest)
    return end


def _is_interruption(work: Work) -> bool:
    return not work.is_terminated and work.last_result == "interrupted"


def _step_after_interruption(state: RemitState, work: Work) -> Step:
    last_resume_id = state.resume_ids[-1] if state.resume_ids else None
    if last_resume_id is not None and session_event_id(last_resume_id) not in work.input_ids:
        return ReopenOutcome(resume_id=last_resume_id, max_iterations=max_iterations_left(state))
    return NoteInterruption(session_event_id=work.last_interrupt_id or "")


def _step_of_reopening(state: RemitState, work: Work) -> Step | None:
    reopening_id = state.reopenings[-1].id
    if state.funding is None:
        refusal = state.funding_refusal
        return Fund() if refusal is None else ended_as("budget_reached", refusal)
    if reopening_id not in state.granted:
        return GrantSession(reopening_id=reopening_id)
    if session_event_id(reopening_id) not in work.input_ids:
        return ContinueSession(command_id=reopening_id, is_reopening=True)
    return None


def _step_after_failure(state: RemitState, work: Work) -> Step | None:
    """None: its last turn did not fail, or by something that going on would not mend."""
    failure = work.failure
    is_failed = work.stop_reason == "retries_exhausted" and not work.is_terminated
    if failure is None or not is_failed or treatment(failure) == "end":
        return None
    is_known = state.pause is not None and state.pause.session_event_id == failure.event_id
    if not is_known or not state.resume_ids:
        return Pause(failure=failure)
    return ContinueSession(command_id=state.resume_ids[-1])


def max_iterations_left(state: RemitState) -> int:
    """Return how many iterations a reopened outcome may have: at least one, so that resuming is worth it."""
    assert state.created is not None, "a session works for a remit that was created"
    used = sum(1 for iteration in state.iterations if iteration.result == "needs_revision")
    return max(1, state.created.max_iterations - used)


def _not_copied(state: RemitState, work: Work) -> tuple[ChildEvaluation, ...]:
    copied = {iteration.evaluation_event_id for iteration in state.iterations}
    return tuple(evaluation for evaluation in work.evaluations if evaluation.event_id not in copied)


def _end_of_work(state: RemitState, work: Work) -> End:
    """`satisfied` needs a verifier that was not green before; completed is another fact than verified."""
    result = work.last_result
    completed = (
        work.stop_reason == "end_turn"
        and not work.is_terminated
        and result in ("satisfied", "failed", "max_iterations_reached")
    )
    if result == "satisfied":
        judged = work.judged
        verified = judged is not None and is_verified(state, judged.verdicts)
        status: EndStatus = "satisfied" if verified else "unsatisfied"
        return End(
            status=status, completed=completed, verified=verified, explanation=_why_satisfied(state, verified)
        )
    if work.is_terminated or work.stop_reason == "retries_exhausted":
        return stopped(work.error_message or "The working session ended with an error.")
    if work.stop_reason == "budget_reached":
        return ended_as(
            "budget_reached", work.refusal or "The budget is reached: the next call does not fit."
        )
    if result in ("needs_revision", "max_iterations_reached", "failed"):
        return End(
            status="unsatisfied",
            completed=completed,
            verified=False,
            explanation=_last_explanation(work, result),
        )
    if work.stop_reason == "refusal":
        return stopped("The model refused to go on.")
    return stopped("The working session came to rest without an evaluation of its outcome.")


def is_verified(state: RemitState, verdicts: tuple[Verdict, ...]) -> bool:
    """Return whether every verifier passed on untampered inputs, and at least one was not green before any
    work."""
    assert state.created is not None, "verdicts belong to a remit that was created"
    count = len(state.created.verifiers)
    return (
        len(verdicts) == count
        and all(verdict.passed and not verdict.tampered for verdict in verdicts)
        and len(state.vacuous) < count
    )


def _why_satisfied(state: RemitState, verified: bool) -> str:
    if verified:
        return "Every verifier passed on untampered inputs."
    assert state.created is not None, "checked by is_verified"
    if len(state.vacuous) >= len(state.created.verifiers):
        return (
            "Every verifier that passed was already green before any work, so it proves nothing. "
            "Add a verifier that fails on the input."
        )
    return "The verdicts do not show that every verifier passed on untampered inputs."


def _last_explanation(work: Work, result: str) -> str:
    """One line: a remit shows the verdicts themselves."""
    first_line = work.evaluations[-1].explanation.partition("\n")[0]
    return first_line or f"The last evaluation ended as {result}."


def stopped(explanation: str) -> End:
    """The end of a remit that could not be carried through."""
    return ended_as("stopped", explanation)


def ended_as(status: EndStatus, explanation: str) -> End:
    """An end short of the outcome."""
    return End(status=status, completed=False, verified=False, explanation=explanation)
