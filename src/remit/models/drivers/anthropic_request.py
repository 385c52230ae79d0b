"""A canonical request as Anthropic Messages takes it: thinking, effort, and what of the prompt is to be cached. Pure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import cast

import msgspec

from remit.errors import ModelCallFailed
from remit.models.drivers import openai_responses_request, reasoning
from remit.models.drivers.tool_use_ids import MESSAGES_ID_LENGTH_MAX, with_ids
from remit.schema.claude import EFFORTS, claude_model
from remit.values import EncodedObject, EncodedObjects, JsonObject, JsonValue, ModelRequest, translated

_OUTPUT_PART = "output_config."
_CACHE_MARK: JsonObject = {"type": "ephemeral"}
_FOREIGN = (openai_responses_request.SIGNATURE, reasoning.SIGNATURE)
"""How signatures begin that this protocol did not make."""
MARKED_MESSAGES = 2
"""The newest user messages that carry a cache mark: the last one for the next request, the one before it because the last
request ended there. A provider looks only some twenty blocks back from a mark, and one step may have more tool results."""


def request_headers(request: ModelRequest) -> dict[str, str]:
    """Return the headers that go along with a request."""
    return {"anthropic-beta": ",".join(request.betas)} if request.betas else {}


def request_body(request: ModelRequest) -> JsonObject:
    """The body of POST /v1/messages."""
    messages = translated(request.messages, _message)
    is_marked = request.is_cached and not request.mentions(b'"cache_control"')
    body: JsonObject = {
        **_fields(request.fields),
        "model": request.model,
        "max_tokens": request.max_tokens,
        "stream": True,
    }
    if request.system and "system" not in body:
        body["system"] = [{"type": "text", "text": request.system}]
    if request.tools:
        body["tools"] = list(request.tools)
    if is_marked:
        _mark_prefix(body)
        _mark_newest(messages)
    # Cast: a tuple of objects is as good as a list to whoever encodes it, and this one is encoded already.
    body["messages"] = cast("list[JsonValue]", EncodedObjects.of_encoded(messages))
    if request.tool_choice is not None:
        body["tool_choice"] = request.tool_choice
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if (effort := _effort(request)) is not None:
        output = body.get("output_config")
        body["output_config"] = {**(output if isinstance(output, dict) else {}), "effort": effort}
    if request.thinks and _decides_to_think(request.model):
        body.setdefault("thinking", {"type": "adaptive"})
    if request.stop_sequences:
        body["stop_sequences"] = list(request.stop_sequences)
    return body


def _fields(fields: JsonObject) -> JsonObject:
    """Further fields as they go out; parts of `output_config` stand beside it, so that each can be left out alone."""
    body = {name: value for name, value in fields.items() if not name.startswith(_OUTPUT_PART)}
    parts = {
        name.removeprefix(_OUTPUT_PART): fields[name] for name in fields if name.startswith(_OUTPUT_PART)
    }
    if parts:
        output = body.get("output_config")
        body["output_config"] = {**(output if isinstance(output, dict) else {}), **parts}
    return body


def _effort(request: ModelRequest) -> str | None:
    """How hard the model should work, in words that it knows: others say `none` and `minimal`, and the first models know
    no effort at all, or not the highest."""
    if request.effort is None:
        return None
    known = claude_model(request.model)
    if known is not None and not known.efforts:
        return None
    effort = "low" if request.effort in ("none", "minimal") else request.effort
    if known is None or effort in known.efforts or effort not in EFFORTS:
        return effort
    below = [each for each in EFFORTS[: EFFORTS.index(effort)] if each in known.efforts]
    return below[-1] if below else effort


def thinks_not(request: ModelRequest) -> bool:
    """Return whether it is known that the model answers without thinking, which would come in summary and be
    billed whole: it was told not to, or was not told to and is of those that think only then."""
    asked = request.fields.get("thinking")
    if asked is not None or request.thinks:
        return asked == {"type": "disabled"}
    known = claude_model(request.model)
    return known is not None and "enabled" in known.thinking


def refuses_thinking(request: ModelRequest, failure: ModelCallFailed) -> bool:
    """Return whether a session's call was refused for thinking that is bound to what has changed since: the
    prompt after an upgrade, the account after a change of keys. What a caller sends themselves is theirs to
    mend."""
    is_about_it = "signature" in failure.message and "thinking" in failure.message
    return request.thinks and failure.reason == "invalid" and is_about_it


def without_thinking(request: ModelRequest) -> ModelRequest:
    """The conversation without what the model thought in it."""
    messages = (_without(message, _is_thinking) for message in request.messages)
    return msgspec.structs.replace(request, messages=tuple(each for each in messages if each["content"]))


def _decides_to_think(model: str) -> bool:
    """Models that are newer than what we know of think unasked, and a server that is not Anthropic's is asked nothing
    that it may not know."""
    known = claude_model(model)
    return known is not None and "adaptive" in known.thinking


def _message(message: JsonObject) -> JsonObject | None:
    """The message as it is, with ids that the API takes, but for thinking that another provider's model did: without its
    own signature the API refuses it, and it is of no use to this model. A message that held nothing else is none; one that
    its caller sent empty is the caller's."""
    told = with_ids(message, length_max=MESSAGES_ID_LENGTH_MAX)
    sent = _without(told, _is_foreign_thinking)
    return None if sent.get("content") == [] and sent is not told else sent


def _without(message: JsonObject, is_left_out: Callable[[JsonValue], bool]) -> JsonObject:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    kept = [block for block in content if not is_left_out(block)]
    return message if len(kept) == len(content) else {**message, "content": kept}


def _is_thinking(block: JsonValue) -> bool:
    return isinstance(block, dict) and block.get("type") in ("thinking", "redacted_thinking")


def _is_foreign_thinking(block: JsonValue) -> bool:
    if not isinstance(block, dict) or block.get("type") != "thinking":
        return False
    signature = block.get("signature")
    return not isinstance(signature, str) or not signature or signature.startswith(_FOREIGN)


# ------------------------------------------------------------------------------------------- the cache


def _mark_prefix(body: JsonObject) -> None:
    """What no turn changes: the tools come before the system prompt, so a mark on the latter keeps both."""
    for part in ("system", "tools"):
        blocks = body.get(part)
        if isinstance(blocks, list) and blocks:
            *before, last = blocks
            if isinstance(last, dict):
                body[part] = [*before, {**last, "cache_control": _CACHE_MARK}]
            return


def _mark_newest(messages: list[EncodedObject]) -> None:
    backwards = reversed(range(len(messages)))
    newest = (index for index in backwards if messages[index].object.get("role") == "user")
    for index in islice(newest, MARKED_MESSAGES):
        messages[index] = EncodedObject.of(_marked(messages[index].object))


def _marked(message: JsonObject) -> JsonObject:
    """The message with a cache mark on its last block: the prefix up to here is kept for 5 minutes."""
    content = message.get("content")
    blocks: list[JsonValue] = (
        [{"type": "text", "text": content}] if isinstance(content, str) and content else []
    )
    if isinstance(content, list):
        blocks = list(content)
    if blocks and isinstance(last := blocks[-1], dict):
        blocks[-1] = {**last, "cache_control": _CACHE_MARK}
        return {**message, "content": blocks}
    return message
