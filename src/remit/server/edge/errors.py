"""The one mapping of failures to answers: envelope, status, headers. Nothing else in the server makes an error body."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from starlette.exceptions import HTTPException

from remit import errors
from remit.errors import RemitError

INTERNAL_MESSAGE = "Something failed on our side; the server's log has the details under this request id."


class ErrorAnswer(NamedTuple):
    """An error as it goes out."""

    status: int
    body: bytes
    headers: dict[str, str]


class _Kind(NamedTuple):
    status: int
    type: str
    should_retry: bool | None = None
    """Said where the status alone would mislead: clients retry every 409 unless told otherwise."""


_KINDS: dict[type[RemitError], _Kind] = {
    errors.InvalidRequest: _Kind(400, "invalid_request_error"),
    errors.NotServed: _Kind(400, "invalid_request_error", should_retry=False),
    errors.WrongState: _Kind(400, "invalid_request_error"),
    errors.TooLarge: _Kind(413, "request_too_large"),
    errors.Unauthenticated: _Kind(401, "authentication_error"),
    errors.Forbidden: _Kind(403, "permission_error"),
    errors.NotFound: _Kind(404, "not_found_error"),
    errors.Conflict: _Kind(409, "conflict_error", should_retry=False),
    errors.PathConflict: _Kind(409, "memory_path_conflict_error", should_retry=False),
    errors.PreconditionFailed: _Kind(409, "memory_precondition_failed_error", should_retry=False),
    errors.SequenceConflict: _Kind(409, "conflict_error", should_retry=True),
    errors.RateLimited: _Kind(429, "rate_limit_error"),
    errors.Overloaded: _Kind(529, "overloaded_error"),
    errors.HoldRefused: _Kind(402, "billing_error"),
    errors.Unpriced: _Kind(400, "invalid_request_error"),
    errors.ModelUnavailable: _Kind(400, "invalid_request_error"),
    errors.VerifierUnavailable: _Kind(400, "invalid_request_error"),
    errors.SandboxRefused: _Kind(400, "invalid_request_error"),
    errors.BlobMissing: _Kind(503, "api_error"),
    errors.StoreUnavailable: _Kind(503, "api_error"),
    errors.SandboxUnavailable: _Kind(503, "api_error"),
    errors.SandboxLost: _Kind(503, "api_error"),
    errors.LeaseLost: _Kind(503, "api_error"),
    errors.ModelCallFailed: _Kind(503, "api_error"),
}


def answer(error: Exception, request_id: str) -> ErrorAnswer:
    """Return the answer to a failure. The unexpected is a 500 with a public text: the caller logs it."""
    match error:
        case RemitError():
            kind = _kind_of(error)
            if kind is None:
                return _answer(_Kind(500, "api_error"), INTERNAL_MESSAGE, request_id)
            headers: dict[str, str] = {}
            if kind.should_retry is not None:
                headers["x-should-retry"] = "true" if kind.should_retry else "false"
            retry_after = getattr(error, "retry_after_seconds", None)
            if isinstance(error, errors.RateLimited | errors.ModelCallFailed) and retry_after is not None:
                headers["retry-after"] = str(max(1, round(retry_after)))
            details = dict(error.details)
            if error.code is not None:
                details["error_code"] = error.code
            return _answer(kind, error.message, request_id, details=details, headers=headers)
        case HTTPException(status_code=404):
            return _answer(
                _Kind(404, "not_found_error"), "There is no such path; see docs/api.md.", request_id
            )
        case HTTPException(status_code=405):
            allowed = (error.headers or {}).get("Allow", "")
            message = f"This path does not take the method; use one of: {allowed}."
            return _answer(
                _Kind(405, "invalid_request_error"), message, request_id, headers={"allow": allowed}
            )
        case HTTPException():
            kind = _Kind(
                error.status_code, "invalid_request_error" if error.status_code < 500 else "api_error"
            )
            return _answer(kind, HTTPStatus(error.status_code).phrase, request_id)
        case _:
            return _answer(_Kind(500, "api_error"), INTERNAL_MESSAGE, request_id)


_MODEL_KINDS: dict[str, _Kind] = {
    "invalid": _Kind(400, "invalid_request_error"),
    "too_long": _Kind(400, "invalid_request_error"),
    "rate_limited": _Kind(429, "rate_limit_error"),
    "overloaded": _Kind(529, "overloaded_error"),
    "timeout": _Kind(504, "timeout_error"),
    # The operator's key or bill, which no repetition mends.
    "authentication": _Kind(503, "api_error", should_retry=False),
    "billing": _Kind(503, "api_error", should_retry=False),
}
"""By the reason for which the last attempt at a model call failed."""


def _kind_of(error: RemitError) -> _Kind | None:
    if isinstance(error, errors.ModelCallFailed) and error.reason in _MODEL_KINDS:
        return _MODEL_KINDS[error.reason]
    return next((_KINDS[base] for base in type(error).__mro__ if base in _KINDS), None)


def _answer(
    kind: _Kind,
    message: str,
    request_id: str,
    *,
    details: dict[str, Any] | None = None,  # Any: JSON, as the error carries it
    headers: dict[str, str] | None = None,
) -> ErrorAnswer:
    error: dict[str, Any] = {"type": kind.type, "message": message}
    if details:
        error["details"] = details
    body = msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})
    return ErrorAnswer(kind.status, body, headers or {})
