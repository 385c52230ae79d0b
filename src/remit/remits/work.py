"""What a remit needs to know of its working session: folded from that session's log, which is the truth of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from remit.remits.outage import Failure
from remit.session.folding import fold as fold_session
from remit.values import EventRow, JsonObject, JsonValue, Value, Verdict

SAME_APPEND_ROWS_MAX = 8


class Evaluation(Value, frozen=True, kw_only=True):
    """One evaluation of the remit's outcome that has ended."""

    event_id: str
    outcome_id: str
    result: str
    explanation: str = ""
    verdicts: tuple[Verdict, ...] = ()
    tree_digest: str | None = None


class Work(Value, frozen=True, kw_only=True):
    """The working session now."""

    is_resting: bool = False
    """Idle or terminated, with no input waiting: nothing will happen by itself."""
    is_terminated: bool = False
    stop_reason: str | None = None
    evaluations: tuple[Evaluation, ...] = ()
    """Of the remit's own outcome, oldest first; what others define in the session proves nothing here."""
    last_result: str | None = None
    """Of the outcome that was defined last; None while it has none."""
    tree_digest: str | None = None
    """The newest state of the working tree that is durable; None: nothing was changed."""
    input_ids: frozenset[str] = frozenset()
    """Every input that was ever received, consumed or not, and every word of its remit to go on."""
    last_interrupt_id: str | None = None
    failure: Failure | None = None
    """Why its last turn failed that did; None in older logs."""
    error_message: str | None = None
    """Of the last error the session reported."""
    refusal: str | None = None
    """Why the last call that did not fit was not made, in figures."""
    outcome_event: JsonObject = msgspec.field(default_factory=dict[str, JsonValue])
    """The remit's outcome as the session received it first; empty before that."""

    @property
    def judged(self) -> Evaluation | None:
        """The last evaluation that judged a tree."""
        return next(
            (e for e in reversed(self.evaluations) if e.result not in ("interrupted", "failed")), None
        )


def read_work(rows: Sequence[EventRow], reopening_ids: frozenset[str]) -> Work:
    """Fold the session's rows. The remit's outcome is the first one the session received; `reopening_ids` are the
    events that gave it again."""
    state = fold_session(rows)
    outcome_event = _first_outcome(rows)
    ours = _evaluations(rows, reopening_ids | {str(outcome_event.get("id"))})
    last_outcome_id = ours.outcome_ids[-1] if ours.outcome_ids else None
    is_terminated = state.status == "terminated"
    stop_reason = str(state.stop_reason["type"]) if state.stop_reason else None
    # At its budget a session leaves what is queued where it is.
    is_idle = state.status == "idle" and (stop_reason == "budget_reached" or not state.pending)
    is_idle = is_idle and not state.may_resume
    return Work(
        is_resting=is_terminated or is_idle,
        is_terminated=is_terminated,
        stop_reason=stop_reason,
        evaluations=ours.evaluations,
        last_result=next(
            (e.result for e in reversed(ours.evaluations) if e.outcome_id == last_outcome_id), None
        ),
        tree_digest=_newest_tree(rows),
        input_ids=frozenset(row.event_id for row in rows if row.type in ("input.received", "turn.continued")),
        last_interrupt_id=next(
            (row.event_id for row in reversed(rows) if row.type == "user.interrupt"), None
        ),
        failure=_last_failure(rows),
        error_message=_last_error(rows),
        refusal=next(
            (str(_decode(row)["message"]) for row in reversed(rows) if row.type == "model.refused"), None
        ),
        outcome_event=outcome_event,
    )


class _Evaluations(Value, frozen=True, kw_only=True):
    outcome_ids: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]


def _first_outcome(rows: Sequence[EventRow]) -> JsonObject:
    for row in rows:
        if row.type == "input.received":
            event = cast("JsonObject", _decode(row)["event"])
            if event["type"] == "user.define_outcome":
                return event
    return {}


def _evaluations(rows: Sequence[EventRow], outcome_event_ids: frozenset[str]) -> _Evaluations:
    outcome_ids: list[str] = []
    evaluations: list[Evaluation] = []
    verified = [(row.seq, _decode(row)) for row in rows if row.type == "outcome.verified"]
    for row in rows:
        if row.type == "user.define_outcome" and row.event_id in outcome_event_ids:
            outcome_ids.append(str(_decode(row)["outcome_id"]))
        elif row.type == "span.outcome_evaluation_end":
            body = _decode(row)
            if str(body["outcome_id"]) in outcome_ids:
                evaluations.append(_evaluation(row, body, verified))
    return _Evaluations(outcome_ids=tuple(outcome_ids), evaluations=tuple(evaluations))


def _evaluation(row: EventRow, body: JsonObject, verified: list[tuple[int, JsonObject]]) -> Evaluation:
    # The private row with the verdicts stands in the same append as the public one.
    near = [
        (abs(seq - row.seq), detail)
        for seq, detail in verified
        if detail.get("iteration") == body.get("iteration") and abs(seq - row.seq) <= SAME_APPEND_ROWS_MAX
    ]
    detail = min(near, key=lambda item: item[0])[1] if near else {}
    return Evaluation(
        event_id=row.event_id,
        outcome_id=str(body["outcome_id"]),
        result=str(body["result"]),
        explanation=str(body.get("explanation") or ""),
        verdicts=msgspec.convert(detail.get("verdicts") or [], tuple[Verdict, ...]),
        tree_digest=cast("str | None", detail.get("tree_digest")),
    )


def _newest_tree(rows: Sequence[EventRow]) -> str | None:
    for row in reversed(rows):
        if row.type in ("snapshot.taken", "outcome.verified", "sandbox.released"):
            digest = _decode(row).get("tree_digest")
            if isinstance(digest, str):
                return digest
    return None


def _last_failure(rows: Sequence[EventRow]) -> Failure | None:
    failure: Failure | None = None
    in_a_row = paid_in_a_row = 0
    is_paid = False
    provider: str | None = None
    for row in rows:
        if row.type == "model.started":
            provider = cast("str | None", _decode(row).get("provider"))
        elif row.type == "model.ended":
            body = _decode(row)
            is_paid = is_paid or bool(body.get("is_assumed"))
            if body.get("error_reason") is None:
                in_a_row = paid_in_a_row = 0
                is_paid = False
        elif row.type == "turn.failed":
            body = _decode(row)
            in_a_row, paid_in_a_row, is_paid = in_a_row + 1, paid_in_a_row + is_paid, False
            failure = Failure(
                event_id=row.event_id,
                reason=str(body["reason"]),
                message=str(body.get("message") or ""),
                provider=provider,
                retry_after_seconds=cast("float | None", body.get("retry_after_seconds")),
                in_a_row=in_a_row,
                paid_in_a_row=paid_in_a_row,
            )
    return failure


def _last_error(rows: Sequence[EventRow]) -> str | None:
    for row in reversed(rows):
        if row.type == "session.error":
            error = _decode(row).get("error")
            return str(error.get("message") or "") if isinstance(error, dict) else None
    return None


def _decode(row: EventRow) -> JsonObject:
    return cast("JsonObject", msgspec.json.decode(row.body))
