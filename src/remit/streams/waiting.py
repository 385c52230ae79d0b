"""Waiting of a stream, in words: the answer's shape, and what every kind has in common of it. Pure."""

from __future__ import annotations

from typing import Literal

from remit.clock import rfc3339
from remit.values import EventRow, StreamHead, Value

WaitsFor = Literal[
    "nobody",
    "message",
    "person",
    "client",
    "model",
    "retry",
    "tool",
    "queue",
    "verification",
    "worker",
    "lease",
    "time",
    "budget",
    "session",
]
"""`nobody`: it is over. `queue`: others are before it at a limit of the platform's own, which is named. `worker`: it is
due, and a worker takes it next. `lease`: of a worker that no longer renews it. `time`: one that is set. `session`: a remit's working session, which says the rest."""

MESSAGE_SHOWN_MAX = 300
"""Characters of a failure's message."""


class Way(Value, frozen=True, kw_only=True):
    """An action that a person can take about it."""

    does: str
    call: str | None = None
    """Of the API."""
    command: str | None = None
    """Of the command line."""


class Trouble(Value, frozen=True, kw_only=True):
    """The last thing that went wrong, perhaps long mended."""

    at: str
    type: str
    message: str


class Why(Value, frozen=True, kw_only=True):
    """The answer."""

    id: str
    kind: str
    status: str
    waits_for: WaitsFor
    since: str
    """When it began to wait for that."""
    sentences: tuple[str, ...]
    ways: tuple[Way, ...] = ()
    trouble: Trouble | None = None
    session: Why | None = None
    """Of a remit's working session, where that is what it waits for."""


class Reason(Value, frozen=True, kw_only=True):
    """One reason to wait, before it is put together."""

    waits_for: WaitsFor
    since_us: int
    sentences: tuple[str, ...]
    ways: tuple[Way, ...] = ()


def why(
    found: Reason,
    head: StreamHead,
    *,
    status: str | None = None,
    trouble: Trouble | None = None,
    session: Why | None = None,
) -> Why:
    """Put the answer together; without a `status` it is the row's."""
    return Why(
        id=head.stream_id,
        kind=head.kind,
        status=head.summary.status if status is None else status,
        waits_for=found.waits_for,
        since=rfc3339(found.since_us),
        sentences=found.sentences,
        ways=found.ways,
        trouble=trouble,
        session=session,
    )


def attend(head: StreamHead, path: str, *, now_us: int) -> Reason | None:
    """Explain why nobody works on a due stream, shown at `path`; None: a worker does, says the row."""
    if head.owner is not None and head.lease_until_us > now_us:
        return None
    if head.owner is not None:
        until = rfc3339(head.lease_until_us)
        return Reason(
            waits_for="lease",
            since_us=head.lease_until_us,
            sentences=(
                f"The worker {head.owner} has not renewed its lease, which ran out at {until}: it is dead or cut off.",
                "Any live worker takes over within a second; if this stays, no server is running on this data.",
            ),
            ways=(Way(does="Start a server on this data folder", command="remit up"),),
        )
    if head.wake_at_us is None:
        return Reason(
            waits_for="worker",
            since_us=head.created_at_us,
            sentences=("No worker has it and nothing is set to wake it: that is a fault of Remit's.",),
            ways=(Way(does="Check its invariants", call=f"GET {path}/check"),),
        )
    due = rfc3339(head.wake_at_us)
    if head.wake_at_us > now_us:
        return Reason(
            waits_for="worker",
            since_us=now_us,
            sentences=(f"No worker has it now; it is taken up again at {due}.",),
        )
    return Reason(
        waits_for="worker",
        since_us=head.wake_at_us,
        sentences=(
            f"It has been due since {due} and no worker has taken it: every place is taken (`streams_max`; workspaces take turns), or no server is running on this data.",
        ),
        ways=(Way(does="Start a server on this data folder", command="remit up"),),
    )


def lease_sentence(head: StreamHead) -> str:
    """Say who works on the stream, and what happens if that is no longer true."""
    return (
        f"The worker {head.owner} has it and renews its lease, now until {rfc3339(head.lease_until_us)}; "
        "if it dies, another takes over then."
    )


def make_trouble(row: EventRow, type: str, message: str) -> Trouble:
    """The first line of the message, bounded."""
    line = message.partition("\n")[0]
    shown = line if len(line) <= MESSAGE_SHOWN_MAX else f"{line[:MESSAGE_SHOWN_MAX]}…"
    return Trouble(at=rfc3339(row.created_at_us), type=type, message=shown)
