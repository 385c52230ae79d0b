"""Reports of a session to its parent: made from its state, in the transaction that they tell of."""

from __future__ import annotations

from collections.abc import Sequence

from remit.session.state import SessionState
from remit.streams.children import ChildEvaluated, ChildEvaluation, ChildIdled
from remit.values import JsonObject


def idle_report(
    state: SessionState, *, stop_reason: JsonObject | None = None, taking: Sequence[str] = ()
) -> ChildIdled:
    """Report rest for `stop_reason`; or that a session at rest consumes the inputs `taking`."""
    reason = stop_reason if stop_reason is not None else state.stop_reason
    standing = state.standing
    # At its budget a session leaves what is queued where it is.
    is_at_cap = reason is not None and reason["type"] == "budget_reached"
    has_input = any(id not in taking for id in state.pending)
    interrupts = [id for id in taking if state.pending[id]["type"] == "user.interrupt"]
    return ChildIdled(
        session_id=state.session_id,
        seq=state.seq,
        status="idle",
        is_resting=(is_at_cap or not has_input) and not state.may_resume,
        stop_reason=reason,
        tree_digest=standing.tree_digest,
        evaluation=standing.interrupted,
        interrupt_id=interrupts[-1] if interrupts else standing.interrupt_id,
        failure=standing.failure,
        error=standing.error,
        refusal=standing.refusal,
    )


def evaluated_report(state: SessionState, evaluation: ChildEvaluation) -> ChildEvaluated:
    """Report that the session's outcome was judged, and the turn goes on or ends after this."""
    standing = state.standing
    return ChildEvaluated(
        session_id=state.session_id,
        seq=state.seq,
        status=state.status,
        tree_digest=standing.tree_digest,
        evaluation=evaluation,
        interrupt_id=standing.interrupt_id,
        failure=standing.failure,
        error=standing.error,
        refusal=standing.refusal,
    )
