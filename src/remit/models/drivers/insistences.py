"""Demands of some servers of Chat Completions, beyond the protocol or short of it: Mistral's, templates of
models that know only one order of roles, doors with fewer fields. A server says so by refusing; what it wants
is remembered. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from remit.values import JsonObject, JsonValue

Insistence = Literal[
    "short ids",
    "answered results",
    "system first",
    "content in words",
    "completion tokens",
    "no stream options",
]
"""Ids of nine letters and digits; an assistant's message between a tool's and the next one of a person; the system prompt in
the first message of a person; texts as one text, and none for nothing; the newer name of the limit of output; no word about
the usage, which some know no field for."""

_ID_LENGTH = 9
_BRIDGE = "(I have read the results.)"
_ASKED: tuple[tuple[Insistence, re.Pattern[str]], ...] = (
    (
        "short ids",
        re.compile(r"a-z, A-Z, 0-9, with a length of 9|tool[ _]call[ _]ids? (?:should|must) .{0,40}\b9\b"),
    ),
    (
        "system first",
        re.compile(
            r"system role (?:is )?not supported|only user(?:,| and) (?:assistant|model) roles? (?:are|is) supported"
        ),
    ),
    (
        "answered results",
        re.compile(
            r"unexpected role '?user'? after role '?tool|roles must alternate|user message (?:cannot|can't|must not) follow"
            r"|expected (?:an )?assistant (?:message )?after (?:a )?tool"
        ),
    ),
    (
        "completion tokens",
        re.compile(
            r"max_completion_tokens'? instead|(?:unsupported|unknown|unrecognized) (?:parameter|argument)s?:? '?max_tokens"
        ),
    ),
    (
        "no stream options",
        re.compile(
            r"(?:unsupported|unknown|unrecognized|extra|not permitted|not supported|not allowed).{0,80}stream_options"
            r"|stream_options.{0,80}(?:unsupported|unknown|unrecognized|extra|not permitted|not supported|not allowed)"
        ),
    ),
    (
        "content in words",
        re.compile(
            r"content.{0,60}(?:sequence, expected a string|valid string|must be a string|should be a string|<nil>|cannot be null"
            r"|must not be null|is null|got null|nonetype|is required|missing)|content type: (?:<nil>|\[\]interface)"
            r"|(?:missing|invalid).{0,20}'?content'?(?: field|$)"
        ),
    ),
)


def insistence_in(refusal: str) -> Insistence | None:
    """Return the demand that a refusal makes of the messages; None: it is about something else."""
    plain = refusal if "a-z, A-Z" in refusal else refusal.lower()
    return next((kind for kind, words in _ASKED if words.search(plain)), None)


def as_insisted(body: JsonObject, insisted: frozenset[Insistence]) -> None:
    """Make a body what the server wants."""
    messages = body["messages"]
    if "completion tokens" in insisted and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if "no stream options" in insisted:
        body.pop("stream_options", None)
    if not isinstance(messages, list):
        return
    if "short ids" in insisted:
        _shorten_ids(messages)
    if "answered results" in insisted:
        _answer_results(messages)
    if "system first" in insisted:
        _merge_system(messages)
    if "content in words" in insisted:
        for message in _objects(messages):
            _put_into_words(message)


def _put_into_words(message: JsonObject) -> None:
    content = message.get("content")
    if content is None:
        message["content"] = ""
    elif isinstance(content, list) and all(part.get("type") == "text" for part in _objects(content)):
        message["content"] = "\n\n".join(str(part.get("text") or "") for part in _objects(content))


def _shorten_ids(messages: list[JsonValue]) -> None:
    for message in _objects(messages):
        if "tool_call_id" in message:
            message["tool_call_id"] = _short(message["tool_call_id"])
        calls = message.get("tool_calls")
        for call in _objects(calls if isinstance(calls, list) else []):
            call["id"] = _short(call.get("id"))


def _short(id: JsonValue) -> str:
    """Nine letters and digits; the server's own ids stay as they are."""
    given = str(id)
    if len(given) == _ID_LENGTH and given.isascii() and given.isalnum():
        return given
    return hashlib.sha256(given.encode()).hexdigest()[:_ID_LENGTH]


def _answer_results(messages: list[JsonValue]) -> None:
    for index in range(len(messages) - 1, 0, -1):
        before, after = messages[index - 1], messages[index]
        if isinstance(before, dict) and isinstance(after, dict):
            if before.get("role") == "tool" and after.get("role") == "user":
                messages.insert(index, {"role": "assistant", "content": _BRIDGE})
            elif before.get("role") == after.get("role") and after.get("role") in ("user", "assistant"):
                _merge(messages, index)


def _merge(messages: list[JsonValue], index: int) -> None:
    """Put a message to the one before it, of the same role, where both are no calls."""
    before, after = messages[index - 1], messages[index]
    if (
        not isinstance(before, dict)
        or not isinstance(after, dict)
        or "tool_calls" in before
        or "tool_calls" in after
    ):
        return
    messages[index - 1 : index + 1] = [{**before, "content": [*_parts(before), *_parts(after)]}]


def _merge_system(messages: list[JsonValue]) -> None:
    first = messages[0] if messages else None
    if not isinstance(first, dict) or first.get("role") != "system":
        return
    second = messages[1] if len(messages) > 1 else None
    if isinstance(second, dict) and second.get("role") == "user":
        messages[:2] = [{"role": "user", "content": [*_parts(first), *_parts(second)]}]
    else:
        messages[0] = {**first, "role": "user"}


def _parts(message: JsonObject) -> list[JsonValue]:
    content = message.get("content")
    return content if isinstance(content, list) else [{"type": "text", "text": content or ""}]


def _objects(values: list[JsonValue]) -> list[JsonObject]:
    return [value for value in values if isinstance(value, dict)]
