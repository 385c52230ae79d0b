"""A canonical request in the words of Chat Completions. What has no words there is refused by name."""

from __future__ import annotations

import msgspec

from remit.models.drivers.insistences import Insistence, as_insisted
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
from remit.models.drivers.reasoning import PARTS, Told, fill_in, kept_in
from remit.models.drivers.tool_calls import told_of_tool
from remit.models.drivers.tool_use_ids import CHAT_ID_LENGTH_MAX, SERVER_ID_LENGTH_MAX, with_ids
from remit.models.http.failures import refused
from remit.values import JsonObject, JsonValue, ModelRequest

TAKEN_FIELDS = frozenset(
    {
        "top_p",
        "metadata",
        "output_config",
        "openai.seed",
        "openai.presence_penalty",
        "openai.frequency_penalty",
        "openai.logit_bias",
        "openai.verbosity",
        "openai.prompt_cache_key",
        "openai.safety_identifier",
        "openai.user",
        "openai.response_format",
    }
)


def chat_body(
    request: ModelRequest,
    *,
    is_vendor: bool,
    provider: str = "",
    told: Told = "as it came",
    insisted: frozenset[Insistence] = frozenset(),
) -> JsonObject:
    """The body of POST /chat/completions. Servers of one's own know only the older names of some fields; what `provider`
    said to itself goes back to it with its calls, as `told` says; `insisted` is what else it wants."""
    messages: list[JsonValue] = []
    if request.system:
        messages.append({"role": "system", "content": request.system})
    ids: dict[str, JsonValue] = {}
    length_max = CHAT_ID_LENGTH_MAX if is_vendor else SERVER_ID_LENGTH_MAX
    for asked in request.messages:
        message = with_ids(asked, length_max=length_max, is_any_printable=not is_vendor)
        for said in _messages(message):
            if said["role"] == "system" and not is_vendor:
                said["role"] = "user"  # most templates take a system prompt at the beginning alone
            if said["role"] == "assistant" and "tool_calls" in said:
                _give_back(said, message, ids, provider=provider, model=request.model, told=told)
            elif said["role"] == "tool":
                said["tool_call_id"] = ids.get(str(said["tool_call_id"]), said["tool_call_id"])
            messages.append(said)
    body: JsonObject = {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens" if is_vendor else "max_tokens": request.max_tokens,
    }
    if is_vendor:
        body["service_tier"] = SERVICE_TIER
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        named: JsonObject = {"type": "function", "function": {"name": request.tool_choice.get("name")}}
        body |= tool_choice_of(request.tool_choice, named=named)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if (effort := effort_of(request)) is not None:
        body["reasoning_effort"] = effort
    if request.stop_sequences:
        body["stop"] = list(request.stop_sequences)
    body |= _further(request.fields)
    as_insisted(body, insisted)
    return body


def _give_back(
    said: JsonObject,
    message: JsonObject,
    ids: dict[str, JsonValue],
    *,
    provider: str,
    model: str,
    told: Told,
) -> None:
    """Put back into a message with calls what the server had sent with them. `ids` are those that it knows the calls by."""
    kept = next(
        (
            kept
            for block in blocks_of(message)
            if block.get("type") == "thinking"
            and (kept := kept_in(block, provider=provider, model=model)) is not None
        ),
        None,
    )
    calls = said["tool_calls"]
    for call in calls if kept is not None and isinstance(calls, list) else []:
        belongs = kept.calls.get(str(call.get("id"))) if kept is not None and isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(belongs, dict):
            continue
        if "id" in belongs:
            ids[str(call["id"])] = call["id"] = belongs["id"]
        if "extra_content" in belongs and told != "left out":
            call["extra_content"] = belongs["extra_content"]
    if told != "left out" and kept is not None:
        parts = kept.fields.get(PARTS)
        said |= {name: value for name, value in kept.fields.items() if name != PARTS}
        if isinstance(parts, str):
            thought: JsonObject = {"type": "thinking", "thinking": [{"type": "text", "text": parts}]}
            text = said.get("content")
            said["content"] = [thought, *([{"type": "text", "text": text}] if text else [])]
    fill_in(said, told)


def _further(fields: JsonObject) -> JsonObject:
    body: JsonObject = {
        name.removeprefix("openai."): value for name, value in fields.items() if name.startswith("openai.")
    }
    if "top_p" in fields:
        body["top_p"] = fields["top_p"]
    if (user := user_of(fields)) is not None:
        body["user"] = user
    if (schema := answer_schema(fields)) is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return body


def _tool(tool: JsonObject) -> JsonObject:
    function: JsonObject = {"name": tool["name"], "parameters": tool_schema(tool)}
    if "description" in tool:
        function["description"] = tool["description"]
    if "strict" in tool:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _messages(message: JsonObject) -> list[JsonObject]:
    blocks = blocks_of(message)
    match message.get("role"):
        case "user":
            return _user(blocks)
        case "assistant":
            return [_assistant(blocks)]
        case "system":
            return [{"role": "system", "content": "\n".join(_text(block) for block in blocks)}]
        case role:
            raise refused(f"the role {role!r} is unknown; use user, assistant or system")


def _user(blocks: list[JsonObject]) -> list[JsonObject]:
    """Tool results first, each a message of its own (the protocol wants them right after the calls), then the rest.
    Images of a tool result go into the user's message: a tool's message holds only text."""
    results: list[JsonObject] = []
    parts: list[JsonValue] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            parts.append(_part(block))
            continue
        texts, media = _tool_result(block)
        results.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": texts})
        parts.extend(media)
    if not parts:
        return results
    only = parts[0]
    if len(parts) == 1 and isinstance(only, dict) and only.get("type") == "text":
        return [*results, {"role": "user", "content": only["text"]}]
    return [*results, {"role": "user", "content": parts}]


def _tool_result(block: JsonObject) -> tuple[str, list[JsonValue]]:
    inner = listed_blocks(block.get("content"))
    texts: list[str] = ["The tool failed:"] if block.get("is_error") else []
    media: list[JsonValue] = []
    for each in inner if isinstance(inner, list) else []:
        part = (told_of_tool(each) if isinstance(each, dict) else None) or each
        if isinstance(part, dict) and part.get("type") in ("text", "search_result"):
            texts.append(str(_part(part)["text"]))
        elif isinstance(part, dict):
            texts.append(f"(The {part.get('type')} of this result follows in the next message.)")
            media.append(_part(part))
    return "\n".join(texts), media


def _part(block: JsonObject) -> JsonObject:
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        return {"type": "text", "text": _text(block)}
    if kind == "search_result":
        return {"type": "text", "text": search_result_text(block)}
    if kind in ("image", "document") and isinstance(source, dict):
        match kind, source.get("type"):
            case "image", "base64":
                return {"type": "image_url", "image_url": {"url": data_url(source)}}
            case "image", "url":
                return {"type": "image_url", "image_url": {"url": source.get("url")}}
            case "document", "text":
                return {"type": "text", "text": str(source.get("data") or "")}
            case "document", "base64":
                name = str(block.get("title") or "document.pdf")
                return {"type": "file", "file": {"filename": name, "file_data": data_url(source)}}
            case _:
                raise refused(
                    f"a {kind} from {source.get('type')!r} cannot be sent over Chat Completions; send it as base64"
                )
    raise refused(f"a block of type {kind!r} cannot be sent over Chat Completions")


def _assistant(blocks: list[JsonObject]) -> JsonObject:
    texts: list[str] = []
    calls: list[JsonValue] = []
    for block in blocks:
        match block.get("type"):
            case "text":
                texts.append(_text(block))
            case "tool_use":
                arguments = msgspec.json.encode(block.get("input")).decode()
                function: JsonObject = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            case kind if kind in THINKING:
                continue  # what its own server wants back, `_give_back` puts there
            case kind:
                raise refused(f"a block of type {kind!r} cannot be sent over Chat Completions")
    message: JsonObject = {"role": "assistant", "content": "\n".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    return message


def _text(block: JsonObject) -> str:
    text = block.get("text")
    if not isinstance(text, str):
        raise refused(f"a block of type {block.get('type')!r} stands where only text can be sent")
    return text
