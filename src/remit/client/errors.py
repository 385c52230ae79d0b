"""Errors that can end a call instead of its answer."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from remit.errors import RemitError


class ConnectionLost(RemitError):
    """The server cannot be reached or broke the connection off; whether it acted on the call is unknown."""


class ApiError(RemitError):
    """The server's error envelope."""

    def __init__(
        self, message: str, *, status: int, type: str, error_code: str | None, request_id: str | None
    ) -> None:
        super().__init__(message, code=error_code)
        self.status = status
        self.type = type
        self.error_code = error_code
        self.request_id = request_id


class BadRequestError(ApiError):
    """400: the message names the field and the mend."""


class AuthenticationError(ApiError):
    """401: no key, or not a valid one."""


class BillingError(ApiError):
    """402: no money left where the call is paid."""


class PermissionDeniedError(ApiError):
    """403: the key lacks the scope."""


class NotFoundError(ApiError):
    """404: no such thing in this workspace."""


class ConflictError(ApiError):
    """409: the thing's state refuses this."""


class RequestTooLargeError(ApiError):
    """413: a limit of size."""


class RateLimitError(ApiError):
    """429: too many at once; `retry_after_seconds` says when to come back."""


class ServerError(ApiError):
    """5xx: the server's own fault."""


E = TypeVar("E", bound=ApiError)

_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: BillingError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: RequestTooLargeError,
    429: RateLimitError,
}


def error_from(status: int, body: bytes, request_id: str | None) -> ApiError:
    """Make the typed exception of an error answer, also when its body is no envelope."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return _from_envelope(kind, status, _object(_decode(body)), request_id)


def stream_error(envelope: dict[str, Any]) -> ServerError:
    """Make the exception of an `error` frame inside a stream whose head said 200."""
    return _from_envelope(ServerError, 200, envelope, None)


def _from_envelope(kind: type[E], status: int, envelope: dict[str, Any], request_id: str | None) -> E:
    error = _object(envelope.get("error"))
    return kind(
        _text(error.get("message")) or f"The server answered {status} without an explanation.",
        status=status,
        type=_text(error.get("type")) or "api_error",
        error_code=_text(_object(error.get("details")).get("error_code")),
        request_id=request_id or _text(envelope.get("request_id")),
    )


def _decode(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _object(value: object) -> dict[str, Any]:  # Any: JSON of any shape
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
