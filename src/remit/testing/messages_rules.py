"""The published rules of Anthropic Messages, as a function over a request's body: what a strict provider refuses.

Each rule has its source: `api` is the reference of the Messages API, `tools`, `vision`, `pdf`, `thinking`, `caching` the
guide of that name, `said` the API's own refusal, as public issue trackers quote it. A model of tests stands behind it:
`StrictModel` refuses what the rules refuse and remembers it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import cast

import msgspec

from remit.errors import ModelCallFailed
from remit.interfaces import ModelProvider
from remit.session.images import (
    IMAGE_ENCODED_BYTES_MAX,
    IMAGE_SIDE_PIXELS_MAX,
    IMAGES_MAX,
    LONE_IMAGE_SIDE_PIXELS_MAX,
    MANY_IMAGES,
    recognise_encoded,
)
from remit.values import JsonObject, JsonValue, ModelDelta, ModelInfo, ModelRequest, ModelResponse, Value

REQUEST_BYTES_MAX = 32 << 20
CACHE_MARKS_MAX = 4
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_THINKING = ("thinking", "redacted_thinking")
_ROLES = ("user", "assistant")
_WIDTHLESS = dict.fromkeys(
    [*range(32), *range(0x7F, 0xA0), 0xAD, *range(0x200B, 0x2010), *range(0x2060, 0x2070), 0xFEFF]
)
"""Controls, and marks without a width: Python, JavaScript, Go and Rust differ over which of them are blanks."""
_PDF_HEAD = "JVBERi"
"""`%PDF` in base64."""

SOURCES = {
    "not_empty": "api: messages holds at least one message",
    "role": "api: a role is user or assistant",
    "begins_with_user": "said: first message must use the user role",
    "ends_with_user": "api: prefilling the answer is refused by models since 4.6",
    "content": "said: all messages must have non-empty content except for the optional final assistant message",
    "blank_text": "said: text content blocks must be non-empty / must contain non-whitespace text",
    "nul": "anthropics/claude-code#94055: not valid JSON: unexpected end of data, where a text has a NUL",
    "block_type": "api: the types of blocks that each role may send",
    "use_id": "said: tool_use.id should match pattern ^[a-zA-Z0-9_-]+$",
    "use_id_twice": "said: tool_use ids must be unique",
    "use_name": "tools: a name matches ^[a-zA-Z0-9_-]{1,64}$",
    "use_input": "api: input is an object",
    "unanswered": "said: tool_use ids were found without tool_result blocks immediately after",
    "orphan": "said: unexpected tool_use_id found in tool_result blocks",
    "answered_twice": "said: each tool_use must have a single result",
    "results_first": "tools: tool results come first in the content of a message",
    "error_is_text": "said: all content must be type text if is_error is true",
    "image_type": "vision: JPEG, PNG, GIF, WebP, as its bytes are",
    "image_bytes": "said: image exceeds 5 MB maximum",
    "image_side": "vision: at most 8000 pixels a side",
    "image_side_of_many": "vision: at most 2000 pixels a side in a request with more than 20 images",
    "images": "vision: at most 100 images in a request",
    "document": "pdf: a document is a PDF or text that is not blank; api: title and context have at least one character",
    "thinking_signature": "thinking: blocks go back whole, with their signature",
    "thinking_last": "said: the final block in an assistant message cannot be thinking",
    "cache_marks": "caching: at most 4 blocks with cache_control, none on blank text or thinking",
    "tool_names": "tools: names are well-formed and differ",
    "max_tokens": "api: max_tokens is at least 1",
    "request_bytes": "api: 413 request_too_large above 32 MB",
}
"""Every rule and where it is published."""


class MessagesViolation(Value, frozen=True, kw_only=True):
    """A rule that a request breaks, and where."""

    rule: str
    where: str

    @property
    def source(self) -> str:
        """Return where the rule is published."""
        return SOURCES[self.rule]


def violations(body: JsonObject) -> list[MessagesViolation]:
    """The rules that the body of a POST /v1/messages breaks; none: a strict provider takes it."""
    found = [*_of_request(body)]
    messages = cast("list[JsonObject]", body.get("messages") or [])
    seen: set[str] = set()
    for number, message in enumerate(messages):
        before = messages[number - 1] if number else None
        after = messages[number + 1] if number + 1 < len(messages) else None
        found += _of_message(message, f"messages.{number}", is_last=after is None)
        found += _of_uses(message, after, f"messages.{number}", seen)
        found += _of_results(message, before, f"messages.{number}")
    found += _of_images(messages)
    return found


def _of_request(body: JsonObject) -> Iterator[MessagesViolation]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield MessagesViolation(rule="not_empty", where="messages")
        return
    if (first := cast("JsonObject", messages[0])).get("role") != "user":
        yield MessagesViolation(rule="begins_with_user", where=f"messages.0 ({first.get('role')})")
    if cast("JsonObject", messages[-1]).get("role") != "user":
        yield MessagesViolation(rule="ends_with_user", where=f"messages.{len(messages) - 1}")
    max_tokens = body.get("max_tokens")
    if not isinstance(max_tokens, int) or max_tokens < 1:
        yield MessagesViolation(rule="max_tokens", where="max_tokens")
    if len(msgspec.json.encode(body)) > REQUEST_BYTES_MAX:
        yield MessagesViolation(rule="request_bytes", where="the body")
    system = body.get("system")
    if isinstance(system, list):
        for index, block in enumerate(cast("list[JsonObject]", system)):
            yield from _of_text(block, f"system.{index}")
    names = [tool.get("name") for tool in cast("list[JsonObject]", body.get("tools") or [])]
    if len(set(names)) != len(names) or not all(
        isinstance(name, str) and _NAME.fullmatch(name) for name in names
    ):
        yield MessagesViolation(rule="tool_names", where="tools")
    marked = list(_marked(body))
    refused = [block for block in marked if block.get("type") in _THINKING or _is_blank(block)]
    if len(marked) > CACHE_MARKS_MAX or refused:
        yield MessagesViolation(rule="cache_marks", where=f"{len(marked)} blocks")


def _marked(part: JsonValue) -> Iterator[JsonObject]:
    if isinstance(part, dict):
        if "cache_control" in part:
            yield part
        for name, value in part.items():
            if name not in ("input", "input_schema"):
                yield from _marked(value)
    elif isinstance(part, list):
        for each in part:
            yield from _marked(each)


def _blocks(message: JsonObject) -> list[JsonObject]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return cast("list[JsonObject]", content) if isinstance(content, list) else []


def _of_message(message: JsonObject, where: str, *, is_last: bool) -> Iterator[MessagesViolation]:
    role, blocks = message.get("role"), _blocks(message)
    if role not in _ROLES:
        yield MessagesViolation(rule="role", where=where)
    if not blocks and not (is_last and role == "assistant"):
        yield MessagesViolation(rule="content", where=where)
    own = ("text", "image", "document", "search_result", "tool_result")
    if role == "assistant":
        own = ("text", "tool_use", *_THINKING)
    for index, block in enumerate(blocks):
        at = f"{where}.content.{index}"
        if block.get("type") not in own:
            yield MessagesViolation(rule="block_type", where=f"{at} ({block.get('type')})")
        yield from _of_block(block, at)
    if role == "assistant" and blocks and blocks[-1].get("type") in _THINKING:
        yield MessagesViolation(rule="thinking_last", where=where)


def _of_block(block: JsonObject, where: str) -> Iterator[MessagesViolation]:
    match block.get("type"):
        case "text":
            yield from _of_text(block, where)
        case "image":
            yield from _of_image(cast("JsonObject", block.get("source") or {}), where)
        case "document":
            if any(name in block and not str(block[name] or "").strip() for name in ("title", "context")):
                yield MessagesViolation(rule="document", where=f"{where}.title")
            yield from _of_document(cast("JsonObject", block.get("source") or {}), where)
        case "search_result":
            for part in _blocks(block) or [JsonObject({"type": "text", "text": ""})]:
                yield from _of_text(part, where)
        case "thinking":
            if not block.get("signature"):
                yield MessagesViolation(rule="thinking_signature", where=where)
        case "tool_result":
            parts = _blocks(block)
            if block.get("is_error") and any(part.get("type") != "text" for part in parts):
                yield MessagesViolation(rule="error_is_text", where=where)
            for index, part in enumerate(parts):
                if part.get("type") not in ("text", "image", "document", "search_result"):
                    yield MessagesViolation(
                        rule="block_type", where=f"{where}.content.{index} ({part.get('type')})"
                    )
                yield from _of_block(part, f"{where}.content.{index}")
        case _:
            pass


def _is_blank(block: JsonObject) -> bool:
    seen = str(block.get("text") or "").translate(_WIDTHLESS).strip()
    return block.get("type") == "text" and not seen


def _of_text(block: JsonObject, where: str) -> Iterator[MessagesViolation]:
    if _is_blank(block):
        yield MessagesViolation(rule="blank_text", where=where)
    if "\0" in str(block.get("text") or ""):
        yield MessagesViolation(rule="nul", where=where)


def _of_image(source: JsonObject, where: str) -> Iterator[MessagesViolation]:
    if source.get("type") != "base64":
        if source.get("type") != "url" or not str(source.get("url")).startswith(("http://", "https://")):
            yield MessagesViolation(rule="image_type", where=where)
        return
    data = str(source.get("data") or "")
    kind = recognise_encoded(data)
    if (
        len(data) % 4
        or kind is None
        or kind.media_type != source.get("media_type")
        or kind.width is None
        or kind.height is None
    ):
        yield MessagesViolation(rule="image_type", where=where)
        return
    if len(data) > IMAGE_ENCODED_BYTES_MAX:
        yield MessagesViolation(rule="image_bytes", where=where)
    if not min(kind.width, kind.height) or max(kind.width, kind.height) > LONE_IMAGE_SIDE_PIXELS_MAX:
        yield MessagesViolation(rule="image_side", where=where)


def _of_document(source: JsonObject, where: str) -> Iterator[MessagesViolation]:
    data = str(source.get("data") or "")
    match source.get("type"), source.get("media_type"):
        case "text", "text/plain" if data.strip():
            return
        case "base64", "application/pdf" if data.startswith(_PDF_HEAD):
            return
        case "url", _ if str(source.get("url")).startswith(("http://", "https://")):
            return
        case _:
            yield MessagesViolation(rule="document", where=where)


def _of_uses(
    message: JsonObject, after: JsonObject | None, where: str, seen: set[str]
) -> Iterator[MessagesViolation]:
    answered = [
        block.get("tool_use_id") for block in _blocks(after or {}) if block.get("type") == "tool_result"
    ]
    for index, block in enumerate(_blocks(message)):
        if block.get("type") != "tool_use":
            continue
        at, id = f"{where}.content.{index}", block.get("id")
        if not isinstance(id, str) or not _ID.fullmatch(id):
            yield MessagesViolation(rule="use_id", where=f"{at} ({id!r})")
        if str(id) in seen:
            yield MessagesViolation(rule="use_id_twice", where=f"{at} ({id!r})")
        seen.add(str(id))
        if not isinstance(block.get("name"), str) or not _NAME.fullmatch(str(block["name"])):
            yield MessagesViolation(rule="use_name", where=at)
        if not isinstance(block.get("input"), dict):
            yield MessagesViolation(rule="use_input", where=at)
        if b"\\u0000" in msgspec.json.encode(block.get("input")):
            yield MessagesViolation(rule="nul", where=at)
        if answered.count(id) != 1:
            yield MessagesViolation(
                rule="answered_twice" if id in answered else "unanswered", where=f"{at} ({id!r})"
            )


def _of_results(message: JsonObject, before: JsonObject | None, where: str) -> Iterator[MessagesViolation]:
    used = {str(block.get("id")) for block in _blocks(before or {}) if block.get("type") == "tool_use"}
    is_over = False
    for index, block in enumerate(_blocks(message)):
        if block.get("type") != "tool_result":
            is_over = True
            continue
        if is_over:
            yield MessagesViolation(rule="results_first", where=f"{where}.content.{index}")
        if str(block.get("tool_use_id")) not in used:
            yield MessagesViolation(
                rule="orphan", where=f"{where}.content.{index} ({block.get('tool_use_id')!r})"
            )


def _of_images(messages: Sequence[JsonObject]) -> Iterator[MessagesViolation]:
    images = [
        cast("JsonObject", part.get("source") or {})
        for message in messages
        for block in _blocks(message)
        for part in (_blocks(block) if block.get("type") == "tool_result" else [block])
        if part.get("type") == "image"
    ]
    if len(images) > IMAGES_MAX:
        yield MessagesViolation(rule="images", where=f"{len(images)} images")
    if len(images) <= MANY_IMAGES:
        return
    for number, source in enumerate(images):
        kind = recognise_encoded(str(source.get("data") or ""))
        if kind is not None and max(kind.width or 0, kind.height or 0) > IMAGE_SIDE_PIXELS_MAX:
            yield MessagesViolation(rule="image_side_of_many", where=f"image {number}")


# ------------------------------------------------------------------------------------------ a model that is strict


def body_of(request: ModelRequest) -> JsonObject:
    """A canonical request as the body it stands for; thinking that nobody signed is of another model, and its driver
    leaves it out."""
    messages = [
        {**message, "content": [block for block in _blocks(message) if not _is_unsigned(block)]}
        for message in request.messages
    ]
    body: JsonObject = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": cast("list[JsonValue]", messages),
        "tools": list[JsonValue](request.tools),
    }
    if request.system:
        body["system"] = [{"type": "text", "text": request.system}]
    return body


def _is_unsigned(block: JsonObject) -> bool:
    return block.get("type") == "thinking" and not block.get("signature")


class StrictModel:
    """A `ModelProvider` before another one: refuses, as a strict provider would, what breaks a rule."""

    def __init__(self, model: ModelProvider) -> None:
        self._model = model
        self.violations: list[MessagesViolation] = []
        """All that came."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        if found := violations(body_of(request)):
            self.violations += found
            said = "; ".join(f"{one.where}: {one.source}" for one in found[:5])
            raise ModelCallFailed(
                f"strict answered 400: {said}", reason="invalid", billed="no", is_retryable=False
            )
        async for item in self._model.stream(request):
            yield item

    async def models(self) -> Sequence[ModelInfo]:
        return await self._model.models()

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return await self._model.count_tokens(request)

    async def close(self) -> None:
        await self._model.close()

    def require_none(self) -> None:
        """Raise AssertionError if anything came that breaks a rule."""
        told = [f"{one.rule} at {one.where} ({one.source})" for one in self.violations[:3]]
        assert not told, told
