"""What a stream waits for, in words: the answer's shape, and what sessions and remits have in common of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import msgspec

from remit.client.wording import memory_not_kept_text
from remit.clock import rfc3339
from remit.values import EventRow, JsonObject, StreamHead, Value

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
    "budget",
    "session",
]
"""`nobody`: it is over. `queue`: others are before it at a limit of the platform's own, which is named. `worker`: it is
due, and a worker takes it next. `lease`: of a worker that no longer renews it. `session`: a remit's working session, which says the rest."""

MESSAGE_SHOWN_MAX = 300
"""Characters of a failure's message."""


class Way(Value, frozen=True, kw_only=True):
    """What a person can do about it."""

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


class Queued(Value, frozen=True, kw_only=True):
    """A place in a line of the platform's own."""

    what: Literal["model", "sandbox"]
    limit: str
    ahead: int
    """How many others were in line when it came."""
    since_us: int


class Signs(Value, frozen=True, kw_only=True):
    """What the fold forgets: when things began, and what went wrong last."""

    began_us: dict[str, int]
    """By model call, tool use, span or state change, when it began."""
    pause_seconds: float | None
    """Of the retry that was announced last."""
    queued: Queued | None
    """Where it waits for its turn; None once something began after that."""
    trouble: Trouble | None


class Found(Value, frozen=True, kw_only=True):
    """One reason to wait, before it is put together."""

    waits_for: WaitsFor
    since_us: int
    sentences: tuple[str, ...]
    ways: tuple[Way, ...] = ()


def attend(head: StreamHead, *, now_us: int) -> Found | None:
    """Why nobody works on a stream that has something to do; None: a worker does, as far as the row tells."""
    if head.owner is not None and head.lease_until_us > now_us:
        return None
    if head.owner is not None:
        until = rfc3339(head.lease_until_us)
        return Found(
            waits_for="lease",
            since_us=head.lease_until_us,
            sentences=(
                f"The worker {head.owner} has not renewed its lease, which ran out at {until}: it is dead or cut off.",
                "Any live worker takes over within a second; if this stays, no server is running on this data.",
            ),
            ways=(Way(does="Start a server on this data folder", command="remit up"),),
        )
    if head.wake_at_us is None:
        return Found(
            waits_for="worker",
            since_us=head.created_at_us,
            sentences=("No worker has it and nothing is set to wake it: that is a fault of Remit's.",),
            ways=(Way(does="Check its invariants", call=f"GET {_path(head)}/check"),),
        )
    due = rfc3339(head.wake_at_us)
    if head.wake_at_us > now_us:
        return Found(
            waits_for="worker",
            since_us=now_us,
            sentences=(f"No worker has it now; it is taken up again at {due}.",),
        )
    return Found(
        waits_for="worker",
        since_us=head.wake_at_us,
        sentences=(
            f"It has been due since {due} and no worker has taken it: every place is taken (`streams_max`; workspaces take turns), or no server is running on this data.",
        ),
        ways=(Way(does="Start a server on this data folder", command="remit up"),),
    )


def lease_sentence(head: StreamHead) -> str:
    """Who works on it, and what happens if that is no longer true."""
    return (
        f"The worker {head.owner} has it and renews its lease, now until {rfc3339(head.lease_until_us)}; "
        "if it dies, another takes over then."
    )


def read_signs(rows: Sequence[EventRow]) -> Signs:
    """When things began, and what went wrong last."""
    began_us: dict[str, int] = {}
    pause_seconds: float | None = None
    trouble: Trouble | None = None
    queued: Queued | None = None
    for row in rows:
        if row.type == "wait.began":
            body = _decode(row)
            queued = Queued(
                what="sandbox" if body["what"] == "sandbox" else "model",
                limit=str(body["limit"]),
                ahead=cast("int", body["ahead"]),
                since_us=row.created_at_us,
            )
        elif row.type in _ENDS_OF_WAITS:
            queued = None
        if row.type == "session.packages_installing":
            began_us[PACKAGES] = row.created_at_us
        elif row.type in _ENDS_OF_INSTALLING:
            began_us.pop(PACKAGES, None)
        if row.type.startswith("session.status_"):
            began_us["status"] = row.created_at_us
        elif row.type in ("span.outcome_evaluation_start", "agent.tool_use", "agent.custom_tool_use"):
            began_us[row.event_id] = row.created_at_us
        elif row.type in ("model.started", "tool.started"):
            body = _decode(row)
            began_us[str(body.get("call_id") or body.get("tool_use_id"))] = row.created_at_us
        elif row.type in _TROUBLES:
            body = _decode(row)
            if row.type == "model.ended":
                pause_seconds = cast("float | None", body.get("pause_seconds"))
            trouble = _trouble(row, body) or trouble
    return Signs(began_us=began_us, pause_seconds=pause_seconds, trouble=trouble, queued=queued)


PACKAGES = "packages"
"""In `Signs.began_us`: the installation of the environment's packages, while it lasts."""
_ENDS_OF_INSTALLING = frozenset(
    {"packages.installed", "session.error", "session.status_idle", "session.status_running"}
)
_ENDS_OF_WAITS = frozenset(
    {"model.started", "sandbox.started", "tool.started", "session.status_idle", "session.status_running"}
)
_TROUBLES = frozenset(
    {
        "session.error",
        "session.sandbox_lost",
        "session.memory_not_kept",
        "model.ended",
        "model.refused",
        "span.outcome_evaluation_end",
    }
)


def _trouble(row: EventRow, body: JsonObject) -> Trouble | None:
    match row.type:
        case "session.error":
            error = cast("JsonObject", body["error"])
            return make_trouble(row, str(error.get("type")), str(error.get("message")))
        case "session.sandbox_lost":
            return make_trouble(row, "sandbox_lost", f"The sandbox was lost: {body.get('reason')}.")
        case "session.memory_not_kept":
            return make_trouble(
                row, "memory_not_kept", f"Not kept as memories: {memory_not_kept_text(body)}."
            )
        case "model.refused":
            return make_trouble(row, "budget_reached", str(body.get("message")))
        case "model.ended" if body.get("error_reason") is not None:
            return make_trouble(row, str(body["error_reason"]), str(body.get("error_message")))
        case "span.outcome_evaluation_end" if body.get("result") not in ("satisfied", "interrupted"):
            return make_trouble(row, str(body["result"]), str(body.get("explanation")))
        case _:
            return None


def make_trouble(row: EventRow, type: str, message: str) -> Trouble:
    """The first line of the message, bounded."""
    line = message.partition("\n")[0]
    shown = line if len(line) <= MESSAGE_SHOWN_MAX else f"{line[:MESSAGE_SHOWN_MAX]}…"
    return Trouble(at=rfc3339(row.created_at_us), type=type, message=shown)


def _path(head: StreamHead) -> str:
    return f"/v1/{head.kind}s/{head.stream_id}"


def _decode(row: EventRow) -> JsonObject:
    return cast("JsonObject", msgspec.json.decode(row.body))
