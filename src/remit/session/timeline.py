"""Signs in the log of a session that its fold forgets: when things began, and what went wrong last. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import msgspec

from remit.schema.tool_kinds import USE_TYPES
from remit.streams.waiting import Trouble, make_trouble
from remit.values import EventRow, JsonObject, Value
from remit.wording import memory_not_kept_text


class Queued(Value, frozen=True, kw_only=True):
    """A place in a line of the platform's own."""

    what: Literal["model", "sandbox"]
    limit: str
    ahead: int
    """How many others were in line when it came."""
    since_us: int


class Timeline(Value, frozen=True, kw_only=True):
    """The signs that the fold forgets: when things began, and what went wrong last."""

    began_us: dict[str, int]
    """By model call, tool use, span or state change, when it began."""
    pause_seconds: float | None
    """Of the retry that was announced last."""
    queued: Queued | None
    """Where it waits for its turn; None once something began after that."""
    trouble: Trouble | None


def read_timeline(rows: Sequence[EventRow]) -> Timeline:
    """Read from the rows when things began, and what went wrong last."""
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
        elif row.type == "span.outcome_evaluation_start" or row.type in USE_TYPES:
            began_us[row.event_id] = row.created_at_us
        elif row.type in ("model.started", "tool.started"):
            body = _decode(row)
            began_us[str(body.get("call_id") or body.get("tool_use_id"))] = row.created_at_us
        elif row.type in _TROUBLES:
            body = _decode(row)
            if row.type == "model.ended":
                pause_seconds = cast("float | None", body.get("pause_seconds"))
            trouble = _trouble(row, body) or trouble
    return Timeline(began_us=began_us, pause_seconds=pause_seconds, trouble=trouble, queued=queued)


PACKAGES = "packages"
"""In `Timeline.began_us`: the installation of the environment's packages, while it lasts."""
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


def _decode(row: EventRow) -> JsonObject:
    return cast("JsonObject", msgspec.json.decode(row.body))
