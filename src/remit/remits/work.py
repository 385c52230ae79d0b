"""The facts of a working session, as it reported them in the transaction of what they tell of."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from remit.remits.state import RemitState, session_event_id
from remit.session.folding import fold as fold_session
from remit.session.reporting import idle_report
from remit.session.rows import ROWS, OutcomeDefined
from remit.session.turn_rows import OutcomeEvaluationEnd, OutcomeVerified
from remit.streams.children import ChildEvaluation, ChildFailure, ChildReport
from remit.values import EventRow, Value, Verdict


class Work(Value, frozen=True, kw_only=True):
    """The working session now."""

    is_resting: bool = False
    """Idle or terminated, with no input waiting: nothing will happen by itself."""
    is_terminated: bool = False
    stop_reason: str | None = None
    evaluations: tuple[ChildEvaluation, ...] = ()
    """Of the remit's own outcome, oldest first; what others define in the session proves nothing here."""
    last_result: str | None = None
    """Of the outcome that was defined last; None while it has none."""
    tree_digest: str | None = None
    """The newest state of the working tree that is durable; None: nothing was changed."""
    input_ids: frozenset[str] = frozenset()
    """What the session was given of its remit: its outcome again, the word to go on."""
    last_interrupt_id: str | None = None
    failure: ChildFailure | None = None
    """Why its last turn failed that did; None in older logs."""
    error_message: str | None = None
    """Of the last error the session reported."""
    refusal: str | None = None
    """Why the last call that did not fit was not made, in figures."""

    @property
    def judged(self) -> ChildEvaluation | None:
        """The last evaluation that judged a tree."""
        return next(
            (e for e in reversed(self.evaluations) if e.result not in ("interrupted", "failed")), None
        )


DELETED = Work(is_resting=True, is_terminated=True, error_message="The working session was deleted.")


def known_work(state: RemitState) -> Work | None:
    """Return the work as the session reported it; None before the session exists."""
    if not state.is_working:
        return None
    if any(told.seq is None for told in state.told):
        return DELETED
    last_told = max((told.seq or 0 for told in state.told), default=0)
    outcomes = [session_event_id(told.command_id) for told in state.told if told.gives_outcome]
    results = [
        evaluation.result
        for evaluation in state.evaluations
        if (evaluation.outcome_event_id == outcomes[-1] if outcomes else evaluation.is_first_outcome)
    ]
    work = Work(
        evaluations=state.evaluations,
        last_result=results[-1] if results else None,
        input_ids=frozenset(session_event_id(told.command_id) for told in state.told),
    )
    report = state.report
    if report is None:
        return work
    return _as_reported(work, report, is_resting=report.is_resting and report.seq >= last_told)


def read_work(rows: Sequence[EventRow], reopening_ids: frozenset[str]) -> Work:
    """Read the work from the session's own log, for remits whose sessions once reported no more than that
    there is something to see. The remit's outcome is the first one of the session; `reopening_ids` are the
    events that gave it again."""
    outcome_ids: list[str] = []
    evaluations: list[ChildEvaluation] = []
    verified: OutcomeVerified | None = None
    for row in rows:
        body = ROWS.decode(row)
        if isinstance(body, OutcomeDefined) and (not outcome_ids or row.event_id in reopening_ids):
            outcome_ids.append(body.outcome_id)
        elif isinstance(body, OutcomeVerified):  # stands before the end that it tells more of
            verified = body
        elif isinstance(body, OutcomeEvaluationEnd):
            if body.outcome_id in outcome_ids:
                evaluations.append(_evaluation(body, verified))
            verified = None
    results = [one.result for one in evaluations if one.outcome_id in outcome_ids[-1:]]
    work = Work(
        evaluations=tuple(evaluations),
        last_result=results[-1] if results else None,
        input_ids=frozenset(row.event_id for row in rows if row.type in ("input.received", "turn.continued")),
    )
    state = fold_session(rows)
    report = replace(idle_report(state), status=state.status)
    is_resting = state.status == "terminated" or (state.status == "idle" and report.is_resting)
    return _as_reported(work, report, is_resting=is_resting)


def _as_reported(work: Work, report: ChildReport, *, is_resting: bool) -> Work:
    return replace(
        work,
        is_resting=is_resting,
        is_terminated=report.status == "terminated",
        stop_reason=None if report.stop_reason is None else str(report.stop_reason["type"]),
        tree_digest=report.tree_digest,
        last_interrupt_id=report.interrupt_id,
        failure=report.failure,
        error_message=report.error,
        refusal=report.refusal,
    )


def _evaluation(end: OutcomeEvaluationEnd, verified: OutcomeVerified | None) -> ChildEvaluation:
    return ChildEvaluation(
        event_id=end.event_id,
        outcome_id=end.outcome_id,
        result=end.result,
        explanation=end.explanation or "",
        verdicts=msgspec.convert(() if verified is None else verified.verdicts, tuple[Verdict, ...]),
    )
