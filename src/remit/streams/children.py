"""Children: streams that work for another one. Their word reaches the parent as a row of its own log.

A report is made by one function from the child's state, in the transaction that it tells of, and delivered through the
outbox: it is the truth, and a parent needs to read no log of a child.
"""

from __future__ import annotations

from msgspec.structs import replace

from remit.ids import Ids
from remit.streams.rows import PrivateRow
from remit.values import JsonObject, OutboxItem, Value, Verdict


class ChildEvaluation(Value, frozen=True, kw_only=True):
    """One evaluation of a child's outcome that has ended."""

    event_id: str
    outcome_id: str
    outcome_event_id: str = ""
    """Of the `user.define_outcome` that gave it."""
    is_first_outcome: bool = False
    """It is the one the child was made with."""
    result: str
    explanation: str = ""
    verdicts: tuple[Verdict, ...] = ()


class ChildFailure(Value, frozen=True, kw_only=True):
    """A turn of a child that failed."""

    event_id: str
    reason: str
    message: str = ""
    provider: str | None = None
    """Of the last call, where there was one."""
    retry_after_seconds: float | None = None
    in_a_row: int = 1
    """Turns that failed since a model last answered, this one among them."""
    paid_in_a_row: int = 0
    """How many of them were charged something."""


class ChildReport(PrivateRow, frozen=True, kw_only=True):
    """The report of how a child session stands."""

    session_id: str = ""
    seq: int = 0
    """The child's last row before those it came with; 0 in older logs, whose reports say no more than to look."""
    status: str = ""
    is_resting: bool = False
    """Idle or terminated, with no input waiting: nothing will happen by itself."""
    stop_reason: JsonObject | None = None
    tree_digest: str | None = None
    """The newest state of the working tree that is durable; None: nothing was changed."""
    evaluation: ChildEvaluation | None = None
    """The one that ended with this."""
    interrupt_id: str | None = None
    """The last interrupt that was carried out."""
    failure: ChildFailure | None = None
    """Why its last turn failed that did."""
    error: str | None = None
    """What it last told people of an error."""
    refusal: str | None = None
    """Why the last call that did not fit was not made, in figures."""


class ChildIdled(ChildReport, frozen=True, kw_only=True, tag="child.idled"):
    """A child session came to rest, or took note of something at rest."""


class ChildEvaluated(ChildReport, frozen=True, kw_only=True, tag="child.evaluated"):
    """A child session was judged, and may go on."""


def to_parent(
    parent_stream_id: str | None, report: ChildReport, about_event_id: str, ids: Ids
) -> tuple[OutboxItem, ...]:
    """Word for the stream that a child works for, if any; goes into the same append as the event it is about."""
    if parent_stream_id is None:
        return ()
    row = replace(report, id=ids.new("sevt"))
    event = row.as_row(key=f"child:{report.session_id}:{about_event_id}")
    return (OutboxItem(target_stream_id=parent_stream_id, event=event),)
