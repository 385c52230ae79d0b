"""Failures of a turn as the wire's `session.error`, in words for people."""

from __future__ import annotations

from typing import Literal

from remit.errors import (
    CompactionLimitReached,
    ModelCallFailed,
    ModelUnavailable,
    RemitError,
    ToolsUnavailable,
    Unpriced,
)
from remit.session.rows import TurnFailed
from remit.values import JsonObject

RetryStatus = Literal["retrying", "exhausted", "terminal"]

_TYPES_BY_REASON = {
    "overloaded": "model_overloaded_error",
    "rate_limited": "model_rate_limited_error",
    "billing": "billing_error",
}


def session_error(error: RemitError, retry_status: RetryStatus) -> JsonObject:
    """The `error` of a `session.error` event."""
    if isinstance(error, ModelCallFailed):
        return error_body(error.reason, error.message, retry_status)
    if isinstance(error, ToolsUnavailable) and error.reason != "limits":  # for which the wire has no type
        return {
            "type": f"mcp_{error.reason}_failed_error",
            "message": error.message,
            "mcp_server_name": error.server,
            "retry_status": {"type": retry_status},
        }
    if isinstance(error, CompactionLimitReached):
        type = "compaction_limit_reached_error"
    else:
        type = "model_request_failed_error" if isinstance(error, ModelUnavailable) else "unknown_error"
    return {"type": type, "message": error.message, "retry_status": {"type": retry_status}}


def turn_failure(error: RemitError | None) -> TurnFailed:
    """Describe the failure of a turn, for whoever decides whether it goes on."""
    match error:
        case ModelCallFailed():
            reason, retry_after = error.reason, error.retry_after_seconds
        case ModelUnavailable():
            reason, retry_after = "no_provider", None
        case Unpriced():
            reason, retry_after = "unpriced", None
        case _:
            reason, retry_after = "other", None
    return TurnFailed(reason=reason, retry_after_seconds=retry_after)


def error_body(reason: str | None, message: str | None, retry_status: RetryStatus) -> JsonObject:
    """Return the error of a failed attempt, by the gateway's reason."""
    return {
        "type": _TYPES_BY_REASON.get(reason or "", "model_request_failed_error"),
        "message": message or "the model call failed",
        "retry_status": {"type": retry_status},
    }
