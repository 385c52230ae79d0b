"""Failures as the clients of an operation expect them: in our envelope, or in that of OpenAI's protocols."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.types import Send

from remit.errors import HoldRefused, ModelUnavailable, NotFound
from remit.schema.operation import ErrorForm
from remit.server.edge.errors import ErrorAnswer, answer

UNPAID = "insufficient_quota"
_SERVER_ERRORS = ("api_error", "overloaded_error", "timeout_error")
_FIELD = re.compile(r"^`([^`]+)`")


def answer_in(form: ErrorForm, error: Exception, request_id: str) -> ErrorAnswer:
    """The answer to a failure, in this form."""
    if isinstance(error, ModelUnavailable) and form != "remit":
        # There the model is what was asked for; both protocols say 404.
        error = NotFound(error.message, code="model_not_found")
    return openai_answer(error, request_id) if form == "openai" else answer(error, request_id)


async def send_error(
    form: ErrorForm, error: Exception, request_id: str, send: Send, *, closes: bool = False
) -> None:
    """Answer with it; with `closes` the connection ends after that."""
    status, body, headers = answer_in(form, error, request_id)
    fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    if closes:
        fields["connection"] = "close"
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


def openai_answer(error: Exception, request_id: str) -> ErrorAnswer:
    """Return an answer with the status, text and headers of everywhere, in the other envelope."""
    plain = answer(error, request_id)
    said: dict[str, Any] = msgspec.json.decode(plain.body)["error"]  # Any: JSON, made by `answer`
    field = _FIELD.match(said["message"])
    # Claude Code gives up at once on a 402, and Codex on nothing but a 400: it would ask five times more. A code of its own
    # (`budget_reached`) it would show instead of the reason.
    is_unpaid = isinstance(error, HoldRefused)
    type = UNPAID if is_unpaid else said["type"]
    body = {
        "error": {
            "message": said["message"],
            "type": "server_error" if said["type"] in _SERVER_ERRORS else type,
            "param": field[1] if field is not None else None,
            "code": UNPAID if is_unpaid else said.get("details", {}).get("error_code"),
        }
    }
    return ErrorAnswer(400 if is_unpaid else plain.status, msgspec.json.encode(body), plain.headers)
