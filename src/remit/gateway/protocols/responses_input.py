"""A Responses request in the canonical form. What has no words there is refused by name. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import cast

import msgspec

from remit.gateway.protocols.openai_input import (
    MAX_TOKENS_DEFAULT,
    arguments_of,
    as_object,
    as_text,
    file_of,
    format_of,
    function_tool,
    image_of,
    invalid,
    joined_turns,
    only,
    tool_choice_of,
)
from remit.schema.openai import ResponsesParams
from remit.values import JsonObject, JsonValue, ModelRequest

_OPENAI_FIELDS = ("prompt_cache_key", "safety_identifier", "user")
_SEALED_PREFIX = "remit:"


def request_from_responses(params: ResponsesParams) -> ModelRequest:
    """Raises InvalidRequest naming what cannot be said."""
    systems = [params.instructions] if params.instructions else []
    messages: list[JsonObject] = []
    items: tuple[JsonObject, ...] = (
        ({"type": "message", "role": "user", "content": params.input},)
        if isinstance(params.input, str)
        else params.input
    )
    for index, item in enumerate(items):
        place = f"input[{index}]"
        if item.get("role") in ("system", "developer"):
            systems += [str(block["text"]) for block in _texts(item.get("content"), place)]
        elif (message := _message(item, place)) is not None:
            messages.append(message)
    if not messages:
        raise invalid("input", "must hold a message of the user.")
    fields: JsonObject = {
        f"openai.{name}": value for name in _OPENAI_FIELDS if (value := getattr(params, name)) is not None
    }
    if params.top_p is not None:
        fields["top_p"] = params.top_p
    text = params.text
    if text is not None and text.verbosity is not None:
        fields["openai.verbosity"] = text.verbosity
    if text is not None and text.format is not None:
        if text.format.get("type") == "json_object":
            fields["openai.response_format"] = text.format
        elif (format := format_of(text.format, "text.format")) is not None:
            fields["output_config"] = {"format": format}
    reasoning = params.reasoning
    if reasoning is not None and reasoning.summary is not None:
        fields["openai.reasoning_summary"] = reasoning.summary
    tools = tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(params.tools))
    return ModelRequest(
        model=params.model,
        messages=joined_turns(messages),
        max_tokens=params.max_output_tokens or MAX_TOKENS_DEFAULT,
        system="\n\n".join(systems) or None,
        tools=tools,
        tool_choice=tool_choice_of(
            params.tool_choice,
            name=_chosen_function(params.tool_choice),
            parallel=params.parallel_tool_calls,
            has_tools=bool(tools),
        ),
        temperature=params.temperature,
        effort=reasoning.effort if reasoning is not None else None,
        fields=fields,
    )


def _tool(tool: JsonObject, place: str) -> JsonObject:
    if tool.get("type") != "function":
        raise invalid(f"{place}.type", f"{tool.get('type')!r} is not served here; only functions are.")
    only(tool, ("type", "name", "description", "parameters", "strict"), place)
    return function_tool(tool, place)


def _chosen_function(choice: str | JsonObject | None) -> str | None:
    if not isinstance(choice, dict):
        return None
    return as_text(choice.get("name"), "tool_choice.name")


def _message(item: JsonObject, place: str) -> JsonObject | None:
    match item.get("type") or "message":
        case "message":
            return _spoken(item, place)
        case "function_call":
            use: JsonObject = {
                "type": "tool_use",
                "id": as_text(item.get("call_id"), f"{place}.call_id"),
                "name": as_text(item.get("name"), f"{place}.name"),
                "input": arguments_of(item.get("arguments"), f"{place}.arguments"),
            }
            return {"role": "assistant", "content": [use]}
        case "function_call_output":
            output = item.get("output")
            result: JsonObject = {
                "type": "tool_result",
                "tool_use_id": as_text(item.get("call_id"), f"{place}.call_id"),
                "content": output if isinstance(output, str) else _parts(output, f"{place}.output"),
            }
            return {"role": "user", "content": [result]}
        case "reasoning":
            # Without its content sealed in the item there is nothing of it to send: it was kept nowhere.
            sealed = item.get("encrypted_content")
            block = unseal_thinking(sealed) if isinstance(sealed, str) else None
            return {"role": "assistant", "content": [block]} if block is not None else None
        case kind:
            raise invalid(f"{place}.type", f"{kind!r} is not served here.")


def _spoken(item: JsonObject, place: str) -> JsonObject:
    role = item.get("role")
    if role not in ("user", "assistant"):
        raise invalid(f"{place}.role", f"{role!r} is none of: system, developer, user, assistant.")
    content = item.get("content")
    if isinstance(content, str):
        return {"role": role, "content": [{"type": "text", "text": content}]}
    return {"role": role, "content": _parts(content, f"{place}.content")}


def _parts(content: JsonValue, place: str) -> list[JsonValue]:
    if not isinstance(content, list) or not content:
        raise invalid(place, "must be a string or a list of parts.")
    return [_part(part, f"{place}[{index}]") for index, part in enumerate(content)]


def _part(part: JsonValue, place: str) -> JsonValue:
    given = as_object(part, place)
    match given.get("type"):
        case "input_text" | "output_text":
            return {"type": "text", "text": as_text(given.get("text"), f"{place}.text")}
        case "refusal":
            return {"type": "text", "text": as_text(given.get("refusal"), f"{place}.refusal")}
        case "input_image":
            if given.get("detail") not in (None, "auto"):
                raise invalid(f"{place}.detail", "is not served here; remove it.")
            return image_of(given.get("image_url"), f"{place}.image_url")
        case "input_file":
            return file_of(given, place)
        case kind:
            raise invalid(
                f"{place}.type", f"{kind!r} is none of: input_text, input_image, input_file, output_text."
            )


def _texts(content: JsonValue, place: str) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks = [cast("JsonObject", part) for part in _parts(content, f"{place}.content")]
    if any(block["type"] != "text" for block in blocks):
        raise invalid(f"{place}.content", "only text can stand here.")
    return blocks


def seal_thinking(block: JsonObject) -> str:
    """A thinking block as `encrypted_content`, so that it comes back with the next request. It holds no secret: the
    signature within is the provider's own."""
    return _SEALED_PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(block)).decode()


def unseal_thinking(sealed: str) -> JsonObject | None:
    """None for what was not sealed here: another service's reasoning means nothing to this one's models."""
    if not sealed.startswith(_SEALED_PREFIX):
        return None
    try:
        block: JsonValue = msgspec.json.decode(base64.urlsafe_b64decode(sealed.removeprefix(_SEALED_PREFIX)))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None
    is_thinking = isinstance(block, dict) and block.get("type") in ("thinking", "redacted_thinking")
    return cast("JsonObject", block) if is_thinking else None
