"""A canonical request in the words of Responses. What has no words there is refused by name."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from remit.models.drivers.openai import (
    SERVICE_TIER,
    THINKING,
    answer_schema,
    blocks_of,
    data_url,
    effort_of,
    listed_blocks,
    search_result_text,
    tool_choice_of,
    tool_schema,
    user_of,
)
from remit.models.drivers.tool_calls import told_of_tool
from remit.models.drivers.tool_use_ids import RESPONSES_ID_LENGTH_MAX, with_ids
from remit.models.http.failures import refused
from remit.values import JsonObject, JsonValue, ModelRequest

SIGNATURE = "openai:"
"""How the signature of a block of thinking begins that only this protocol can read."""

REASONING = "reasoning"
_ABOUT_REASONING = re.compile(
    r"encrypted.content.{0,80}(?:could not|cannot|can't|invalid|failed)|invalid_encrypted_content"
    r"|of type 'reasoning' was provided without|reasoning item.{0,60}(?:not found|required)"
)
"""Sealed for another model, account or key, or without what followed it."""
_REFUSES = re.compile(
    r"unsupported|not supported|not permitted|not allowed|unknown|unrecognized|unexpected|extra|invalid"
)
_CAN_BE_LEFT_OUT = {
    "include": re.compile(r"encrypted.content|\binclude\b"),
    "service_tier": re.compile(r"\bservice_tier\b"),
    "store": re.compile(r"['\"`. ]store\b"),
}
"""Fields that servers exist without, and models."""

TAKEN_FIELDS = frozenset(
    {
        "top_p",
        "metadata",
        "output_config",
        "openai.verbosity",
        "openai.prompt_cache_key",
        "openai.safety_identifier",
        "openai.user",
        "openai.response_format",
        "openai.reasoning_summary",
    }
)


def responses_body(request: ModelRequest, *, left_out: Collection[str] = ()) -> JsonObject:
    """The body of POST /responses, without the fields that its server has refused; REASONING stands for what the model
    thought before."""
    if request.stop_sequences:
        raise refused("stop sequences cannot be sent over Responses; leave them out")
    items: list[JsonValue] = []
    for asked in request.messages:
        message = with_ids(asked, length_max=RESPONSES_ID_LENGTH_MAX)
        items.extend(
            item
            for item in _items(message)
            if REASONING not in left_out or not isinstance(item, dict) or item.get("type") != REASONING
        )
    body: JsonObject = {
        "model": request.model,
        "input": items,
        "max_output_tokens": request.max_tokens,
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "service_tier": SERVICE_TIER,
    }
    if request.system:
        body["instructions"] = request.system
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        named: JsonObject = {"type": "function", "name": request.tool_choice.get("name")}
        body |= tool_choice_of(request.tool_choice, named=named)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    body |= _further(request)
    return {name: value for name, value in body.items() if name not in left_out}


def refused_part(refusal: str) -> str | None:
    """Return the part of a request that a refusal is about and that can be left out; None: another one."""
    plain = refusal.lower()
    if _ABOUT_REASONING.search(plain):
        return REASONING
    if not _REFUSES.search(plain):
        return None
    return next((name for name, words in _CAN_BE_LEFT_OUT.items() if words.search(plain)), None)


def _further(request: ModelRequest) -> JsonObject:
    fields, body = request.fields, JsonObject()
    reasoning: JsonObject = {}
    if (effort := effort_of(request)) is not None:
        reasoning["effort"] = effort
    if "openai.reasoning_summary" in fields:
        reasoning["summary"] = fields["openai.reasoning_summary"]
    if reasoning:
        body["reasoning"] = reasoning
    for name in ("openai.prompt_cache_key", "openai.safety_identifier", "openai.user"):
        if name in fields:
            body[name.removeprefix("openai.")] = fields[name]
    if "top_p" in fields:
        body["top_p"] = fields["top_p"]
    if (user := user_of(fields)) is not None:
        body["user"] = user
    text: JsonObject = {}
    if (schema := answer_schema(fields)) is not None:
        text["format"] = {"type": "json_schema", "name": "answer", "schema": schema}
    elif "openai.response_format" in fields:
        text["format"] = fields["openai.response_format"]
    if "openai.verbosity" in fields:
        text["verbosity"] = fields["openai.verbosity"]
    if text:
        body["text"] = text
    return body


def _tool(tool: JsonObject) -> JsonObject:
    function: JsonObject = {
        "type": "function",
        "name": tool["name"],
        "parameters": tool_schema(tool),
        # The protocol's own default is to rewrite schemas until they are strict.
        "strict": bool(tool.get("strict")),
    }
    if "description" in tool:
        function["description"] = tool["description"]
    return function


def _items(message: JsonObject) -> list[JsonValue]:
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise refused(f"the role {role!r} is unknown; use user, assistant or system")
    items: list[JsonValue] = []
    parts: list[JsonValue] = []
    for block in blocks_of(message):
        item = _item(block)
        if item is None and block.get("type") not in THINKING:
            parts.append(_part(block, role))
        elif item is not None:
            _close(items, parts, role)
            parts = []
            items.append(item)
    _close(items, parts, role)
    return items


def _close(items: list[JsonValue], parts: list[JsonValue], role: JsonValue) -> None:
    if parts:
        items.append({"type": "message", "role": role, "content": parts})


def _item(block: JsonObject) -> JsonObject | None:
    """A block that is an item of its own; None for a part of a message, and for another model's thinking."""
    match block.get("type"):
        case "tool_use":
            return {
                "type": "function_call",
                "call_id": block.get("id"),
                "name": block.get("name"),
                "arguments": msgspec.json.encode(block.get("input")).decode(),
            }
        case "tool_result":
            return {
                "type": "function_call_output",
                "call_id": block.get("tool_use_id"),
                "output": _output(block),
            }
        case "thinking":
            return _reasoning(block)
        case _:
            return None


def _reasoning(block: JsonObject) -> JsonObject | None:
    signature = block.get("signature")
    if not isinstance(signature, str) or not signature.startswith(SIGNATURE):
        return None
    item_id, _, sealed = signature.removeprefix(SIGNATURE).partition(":")
    text = str(block.get("thinking") or "")
    summary: list[JsonValue] = [{"type": "summary_text", "text": text}] if text else []
    return {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": sealed}


def _output(block: JsonObject) -> JsonValue:
    inner = listed_blocks(block.get("content"))
    parts: list[JsonValue] = (
        [{"type": "input_text", "text": "The tool failed:"}] if block.get("is_error") else []
    )
    parts += [
        _part(told_of_tool(part) or part, "user")
        for part in (inner if isinstance(inner, list) else [])
        if isinstance(part, dict)
    ]
    return parts or ""


def _part(block: JsonObject, role: JsonValue) -> JsonObject:
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        return {"type": "output_text" if role == "assistant" else "input_text", "text": block.get("text")}
    if kind == "search_result":
        return {"type": "input_text", "text": search_result_text(block)}
    if isinstance(source, dict):
        match kind, source.get("type"):
            case "image", "base64":
                return {"type": "input_image", "image_url": data_url(source), "detail": "auto"}
            case "image", "url":
                return {"type": "input_image", "image_url": source.get("url"), "detail": "auto"}
            case "document", "text":
                return {"type": "input_text", "text": str(source.get("data") or "")}
            case "document", "url":
                return {"type": "input_file", "file_url": source.get("url")}
            case "document", "base64":
                name = str(block.get("title") or "document.pdf")
                return {"type": "input_file", "filename": name, "file_data": data_url(source)}
            case _:
                pass
    raise refused(f"a block of type {kind!r} cannot be sent over Responses")
