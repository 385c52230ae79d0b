"""What a remit needs to know of its working session: as that reported it, in the same transaction as what it tells of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from remit.remits.state import RemitState, session_event_id
from remit.session.folding import fold as fold_session
from remit.streams.children import ChildEvaluation, ChildFailure
from remit.values import EventRow, JsonObject, Value, Verdict

SAME_APPEND_ROWS_MAX = 8


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
    """As the session reported it; None before it exists."""
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
    return msgspec.structs.replace(
        work,
        is_resting=report.is_resting and report.seq >= last_told,
        is_terminated=report.status == "terminated",
        stop_reason=None if report.stop_reason is None else str(report.stop_reason["type"]),
        tree_digest=report.tree_digest,
        last_interrupt_id=report.interrupt_id,
        failure=report.failure,
        error_message=report.error,
        refusal=report.refusal,
    )


def read_work(rows: Sequence[EventRow], reopening_ids: frozenset[str]) -> Work:
    """As the session's own log has it, for remits whose sessions once reported no more than that there is something to
    see. The remit's outcome is the first one the session received; `reopening_ids` are the events that gave it again."""
    state = fold_session(rows)
    ours = _evaluations(rows, reopening_ids | {_first_outcome_event(rows)})
    last_outcome_id = ours.outcome_ids[-1] if ours.outcome_ids else None
    is_terminated = state.status == "terminated"
    stop_reason = str(state.stop_reason["type"]) if state.stop_reason else None
    # At its budget a session leaves what is queued where it is.
    is_idle = state.status == "idle" and (stop_reason == "budget_reached" or not state.pending)
    return Work(
        is_resting=is_terminated or (is_idle and not state.may_resume),
        is_terminated=is_terminated,
        stop_reason=stop_reason,
        evaluations=ours.evaluations,
        last_result=next(
            (e.result for e in reversed(ours.evaluations) if e.outcome_id == last_outcome_id), None
        ),
        tree_digest=state.standing.tree_digest,
        input_ids=frozenset(row.event_id for row in rows if row.type in ("input.received", "turn.continued")),
        last_interrupt_id=state.standing.interrupt_id,
        failure=state.standing.failure,
        error_message=state.standing.error,
        refusal=state.standing.refusal,
    )


class _Evaluations(Value, frozen=True, kw_only=True):
    outcome_ids: tuple[str, ...]
    evaluations: tuple[ChildEvaluation, ...]


def _first_outcome_event(rows: Sequence[EventRow]) -> str:
    for row in rows:
        if row.type == "input.received":
            event = cast("JsonObject", _decode(row)["event"])
            if event["type"] == "user.define_outcome":
                return str(event["id"])
    return ""


def _evaluations(rows: Sequence[EventRow], outcome_event_ids: frozenset[str]) -> _Evaluations:
    outcome_ids: list[str] = []
    evaluations: list[ChildEvaluation] = []
    verified = [(row.seq, _decode(row)) for row in rows if row.type == "outcome.verified"]
    for row in rows:
        if row.type == "user.define_outcome" and row.event_id in outcome_event_ids:
            outcome_ids.append(str(_decode(row)["outcome_id"]))
        elif row.type == "span.outcome_evaluation_end":
            body = _decode(row)
            if str(body["outcome_id"]) in outcome_ids:
                evaluations.append(_evaluation(row, body, verified))
    return _Evaluations(outcome_ids=tuple(outcome_ids), evaluations=tuple(evaluations))


def _evaluation(row: EventRow, body: JsonObject, verified: list[tuple[int, JsonObject]]) -> ChildEvaluation:
    # The private row with the verdicts stands in the same append as the public one.
    near = [
        (abs(seq - row.seq), detail)
        for seq, detail in verified
        if detail.get("iteration") == body.get("iteration") and abs(seq - row.seq) <= SAME_APPEND_ROWS_MAX
    ]
    detail = min(near, key=lambda item: item[0])[1] if near else {}
    return ChildEvaluation(
        event_id=row.event_id,
        outcome_id=str(body["outcome_id"]),
        result=str(body["result"]),
        explanation=str(body.get("explanation") or ""),
        verdicts=msgspec.convert(detail.get("verdicts") or [], tuple[Verdict, ...]),
    )


def _decode(row: EventRow) -> JsonObject:
    return cast("JsonObject", msgspec.json.decode(row.body))
