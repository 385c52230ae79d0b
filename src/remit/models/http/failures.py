"""The meaning of a provider's refusal for retries and money, whichever form it has: a status, an error inside
of a stream, or one where an answer was to be."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol

import msgspec

from remit.errors import ModelCallFailed
from remit.models.http.json_text import read_json
from remit.session.refusals import is_moderated, read_too_long
from remit.values import JsonObject, JsonValue

ERROR_TEXT_CHARS_MAX = 500
RETRY_AFTER_SECONDS_MAX = 86_400.0
"""What a provider says is believed up to here."""

_WORDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (402, ("quota", "billing", "balance", "credit", "payment", "arrearage")),
    (429, ("rate_limit", "ratelimit", "rate limit", "too_many", "toomany", "throttl", "resource_exhausted")),
    (503, ("overload", "capacity", "unavailable", "busy")),
    (
        401,
        ("authentication", "unauthorized", "api_key", "apikey", "permission", "access_denied", "forbidden"),
    ),
    (
        400,
        (
            "invalid",
            "not_found",
            "notfound",
            "bad_request",
            "badrequest",
            "validation",
            "context_length",
            "exceed_context",
            "unsupported",
            "too_large",
        ),
    ),
)
"""What statuses are called where an error has a name and no number."""
_TOLD = (
    (429, ("rate_limit", "too_many_requests", "throttl")),
    (402, ("exceeded_your_current_quota", "insufficient_balance", "insufficient_quota")),
    (503, ("overloaded", "no_available_capacity", "service_unavailable")),
    (401, ("invalid_api_key", "incorrect_api_key", "unauthorized")),
)
"""What statuses are called in whole sentences."""
_PARTS = re.compile(r"(?P<number>\d{1,6}(?:\.\d+)?)\s?(?P<unit>ms|h|m(?!s)|s)[a-z]*")
_PAUSE = re.compile(
    r"(?:try again|retry|wait|reset)\w* (?:in |after |for )?(?P<pause>(?:\d{1,6}(?:\.\d+)?\s?(?:ms|h|m(?!s)|s)[a-z]*\s?)+)",
    re.IGNORECASE,
)
_SECONDS_IN = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
_NUMBER = re.compile(r"\d{3}")
_ANSWERS = ("choices", "output", "content", "delta", "response", "item")
"""A document with one of these is (a part of) an answer, whatever else it says."""


class Refuser(Protocol):
    """An endpoint that can put a failure into its own words."""

    def without_secrets(self, body: bytes) -> bytes: ...

    def failure(self, what: str, *, reason: str, billed: str, again: bool = True) -> ModelCallFailed: ...


class _Verdict(NamedTuple):
    reason: str
    billed: str
    is_retryable: bool


_TOO_LONG = _Verdict("too_long", "no", False)
"""However it is said: with less before it, the same call is answered."""


class _Told(NamedTuple):
    """An error, in whichever of the usual shapes it comes."""

    kind: str
    text: str
    status: int | None


def status_failure(name: str, status: int, body: bytes, headers: Mapping[str, str]) -> ModelCallFailed:
    """The failure that an HTTP status stands for."""
    told = _told_in(body)
    verdict = _verdict(status, told.kind)
    if status != 429 and (status == 413 or read_too_long(f"{told.kind} {told.text}") is not None):
        verdict = _TOO_LONG
    elif status == 403 and is_moderated(told.text):
        verdict = _verdict(400, told.kind)  # OpenRouter: it is not the key
    said = _retry_after(headers)
    return ModelCallFailed(
        f"{name} answered {status}: {told.text}",
        reason=verdict.reason,
        billed=verdict.billed,
        is_retryable=verdict.is_retryable,
        retry_after_seconds=_told_pause(told.text) if status == 429 and said is None else said,
    )


def error_failure(endpoint: Refuser, error: JsonValue, *, is_begun: bool) -> ModelCallFailed:
    """The failure that an error stands for which came with a status of success. Its code counts like a status; where a
    part of the answer had come, nobody knows what it costs."""
    told = _told(error)
    status = told.status or _named_status(told.kind) or _told_status(told.text)
    verdict = _Verdict("unavailable", "no", True) if status is None else _verdict(status, told.kind)
    if (
        verdict.reason not in ("overloaded", "rate_limited")
        and read_too_long(f"{told.kind} {told.text}") is not None
    ):
        verdict = _TOO_LONG
    shown = told.text if not told.kind.strip() else f"{told.kind.strip()}: {told.text}"
    said = endpoint.without_secrets(shown.encode("utf-8", errors="replace")).decode(errors="replace")
    return endpoint.failure(
        f"sent an error: {said}",
        reason=verdict.reason,
        billed="unknown" if is_begun else verdict.billed,
        again=verdict.is_retryable,
    )


def error_in(document: JsonObject) -> JsonValue:
    """The error that a document of a stream, or in place of one, is or holds; None: it is none."""
    for name in ("error", "errors"):
        error = document.get(name)
        if error:
            return error[0] if isinstance(error, list) else error
    if document.get("object") == "error" or document.get("type") == "error":
        return document
    if document.get("success") is False:
        return document.get("data") or document
    if any(name in document for name in _ANSWERS):
        return None
    base = document.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return {"code": base.get("status_code"), "message": base.get("status_msg")}
    named = ("detail", "message", "error_msg", "msg", "Message", "error_message")
    message = next((document[name] for name in named if document.get(name)), None)
    return None if message is None else {**document, "message": message}


def refused(message: str) -> ModelCallFailed:
    """A request that cannot be put into the provider's protocol."""
    return ModelCallFailed(message, reason="invalid", billed="no", is_retryable=False)


def _verdict(status: int, kind: str) -> _Verdict:
    if "quota" in kind or "billing" in kind or status == 402:
        return _Verdict("billing", "no", False)
    match status:
        case 401 | 403:
            return _Verdict("authentication", "no", False)
        case 429:
            return _Verdict("rate_limited", "no", True)
        case 529 | 503:
            return _Verdict("overloaded", "no", True)
        case 408 | 409 | 500:
            return _Verdict("unavailable", "no", True)
        case _ if status > 500:
            # A gateway in between gave up; what stands behind it may have worked.
            return _Verdict("unavailable", "unknown", True)
        case _:
            return _Verdict("invalid", "no", False)


def _named_status(kind: str) -> int | None:
    """The status that an error's name stands for, if it is one that is known."""
    plain = kind.lower()
    return next((status for status, words in _WORDS if any(word in plain for word in words)), None)


def _told_status(text: str) -> int | None:
    """The same of an error that has neither, where its words say no more than one thing."""
    plain = text.lower().replace(" ", "_")
    return next((status for status, words in _TOLD if any(word in plain for word in words)), None)


def _told_in(body: bytes) -> _Told:
    try:
        decoded: JsonValue = read_json(body)
    except msgspec.DecodeError:
        text = body.decode("utf-8", errors="replace")[:ERROR_TEXT_CHARS_MAX]
        return _Told("", text or "no explanation", None)
    if isinstance(decoded, list) and decoded:  # Gemini's OpenAI-compatible door
        decoded = decoded[0]
    if not isinstance(decoded, dict):
        return _told(decoded)
    return _told(error_in(decoded) or decoded)


def _told(error: JsonValue) -> _Told:
    if not isinstance(error, dict):
        return _Told("", str(error)[:ERROR_TEXT_CHARS_MAX], None)
    inner = error.get("error")
    if isinstance(inner, dict):
        return _told(inner)
    named = [error.get(name) for name in ("type", "code", "status", "__type", "error_code", "statusCode")]
    kind = " ".join(str(name) for name in named if name not in (None, "", "error"))[:ERROR_TEXT_CHARS_MAX]
    numbers = (int(str(name)) for name in named if _NUMBER.fullmatch(str(name)))
    status = next((number for number in numbers if 400 <= number <= 599), None)
    message = str(error.get("message") or inner or error)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None  # OpenRouter: what its provider said
    if isinstance(raw, str) and raw:
        message = f"{message}: {raw}"
    return _Told(kind, message[:ERROR_TEXT_CHARS_MAX], status)


def _told_pause(text: str) -> float | None:
    """How long to wait by an error's own words (`try again in 1m2.5s`)."""
    told = _PAUSE.search(text)
    if told is None:
        return None
    seconds = sum(
        float(part["number"]) * _SECONDS_IN[part["unit"]] for part in _PARTS.finditer(told["pause"])
    )
    return min(seconds, RETRY_AFTER_SECONDS_MAX)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value.strip().removesuffix("s")) / divisor
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - _server_time(headers)
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return min(max(0.0, seconds), RETRY_AFTER_SECONDS_MAX)
    return None


def _server_time(headers: Mapping[str, str]) -> float:
    """By the clock that the server's times are of; ours may be a day off."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return time.time()
