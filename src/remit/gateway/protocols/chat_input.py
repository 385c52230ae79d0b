"""A Chat Completions request in the canonical form. What has no words there is refused by name. Pure."""

from __future__ import annotations

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
from remit.schema.openai import ChatParams
from remit.values import JsonObject, JsonValue, ModelRequest

_OPENAI_FIELDS = (
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "verbosity",
    "prompt_cache_key",
    "safety_identifier",
    "user",
)


def request_from_chat(params: ChatParams) -> ModelRequest:
    """Raises InvalidRequest naming what cannot be said."""
    systems: list[str] = []
    messages: list[JsonObject] = []
    for index, message in enumerate(params.messages):
        place = f"messages[{index}]"
        role = message.get("role")
        if role in ("system", "developer"):
            only(message, ("role", "content", "name"), place)
            systems.append(_plain_text(message.get("content"), place))
        else:
            messages.append(_message(message, place))
    if not messages:
        raise invalid("messages", "must hold a message of the user.")
    if params.max_tokens is not None and params.max_completion_tokens is not None:
        raise invalid("max_tokens", "goes without `max_completion_tokens`; give one of them.")
    fields: JsonObject = {
        f"openai.{name}": value for name in _OPENAI_FIELDS if (value := getattr(params, name)) is not None
    }
    if params.top_p is not None:
        fields["top_p"] = params.top_p
    if params.response_format is not None:
        if params.response_format.get("type") == "json_object":
            fields["openai.response_format"] = params.response_format
        elif (format := format_of(params.response_format, "response_format")) is not None:
            fields["output_config"] = {"format": format}
    tools = tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(params.tools))
    stop = (params.stop,) if isinstance(params.stop, str) else params.stop or ()
    return ModelRequest(
        model=params.model,
        messages=joined_turns(messages),
        max_tokens=params.max_completion_tokens or params.max_tokens or MAX_TOKENS_DEFAULT,
        system="\n\n".join(systems) or None,
        tools=tools,
        tool_choice=tool_choice_of(
            params.tool_choice,
            name=_chosen_function(params.tool_choice),
            parallel=params.parallel_tool_calls,
            has_tools=bool(tools),
        ),
        temperature=params.temperature,
        effort=params.reasoning_effort,
        stop_sequences=stop,
        fields=fields,
    )


def _tool(tool: JsonObject, place: str) -> JsonObject:
    if tool.get("type") != "function":
        raise invalid(f"{place}.type", f"{tool.get('type')!r} is not served here; only functions are.")
    only(tool, ("type", "function"), place)
    function = as_object(tool.get("function"), f"{place}.function")
    only(function, ("name", "description", "parameters", "strict"), f"{place}.function")
    return function_tool(function, f"{place}.function")


def _chosen_function(choice: str | JsonObject | None) -> str | None:
    if not isinstance(choice, dict):
        return None
    only(choice, ("type", "function"), "tool_choice")
    function = as_object(choice.get("function"), "tool_choice.function")
    only(function, ("name",), "tool_choice.function")
    return as_text(function.get("name"), "tool_choice.function.name")


def _message(message: JsonObject, place: str) -> JsonObject:
    match message.get("role"):
        case "user":
            only(message, ("role", "content", "name"), place)
            return {"role": "user", "content": _parts(message.get("content"), place)}
        case "tool":
            only(message, ("role", "content", "tool_call_id"), place)
            result: JsonObject = {
                "type": "tool_result",
                "tool_use_id": as_text(message.get("tool_call_id"), f"{place}.tool_call_id"),
                "content": _plain_text(message.get("content"), place),
            }
            return {"role": "user", "content": [result]}
        case "assistant":
            return _assistant(message, place)
        case role:
            raise invalid(f"{place}.role", f"{role!r} is none of: system, developer, user, assistant, tool.")


def _assistant(message: JsonObject, place: str) -> JsonObject:
    only(message, ("role", "content", "refusal", "tool_calls", "name", "annotations"), place)
    blocks: list[JsonValue] = [
        {"type": "text", "text": _plain_text(text, place)}
        for text in (message.get("content"), message.get("refusal"))
        if text
    ]
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else []):
        at = f"{place}.tool_calls[{index}]"
        only(as_object(call, at), ("id", "type", "function", "index"), at)
        only(
            as_object(as_object(call, at).get("function"), f"{at}.function"),
            ("name", "arguments"),
            f"{at}.function",
        )
        function = as_object(as_object(call, at).get("function"), f"{at}.function")
        blocks.append(
            {
                "type": "tool_use",
                "id": as_text(as_object(call, at).get("id"), f"{at}.id"),
                "name": as_text(function.get("name"), f"{at}.function.name"),
                "input": arguments_of(function.get("arguments"), f"{at}.function.arguments"),
            }
        )
    if not blocks:
        raise invalid(place, "has neither content nor tool_calls.")
    return {"role": "assistant", "content": blocks}


def _parts(content: JsonValue, place: str) -> list[JsonValue]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise invalid(f"{place}.content", "must be a string or a list of parts.")
    return [_part(part, f"{place}.content[{index}]") for index, part in enumerate(content)]


def _part(part: JsonValue, place: str) -> JsonValue:
    given = as_object(part, place)
    match given.get("type"):
        case "text":
            only(given, ("type", "text"), place)
            return {"type": "text", "text": as_text(given.get("text"), f"{place}.text")}
        case "image_url":
            only(given, ("type", "image_url"), place)
            image = as_object(given.get("image_url"), f"{place}.image_url")
            only(image, ("url", "detail"), f"{place}.image_url")
            if image.get("detail") not in (None, "auto"):
                raise invalid(f"{place}.image_url.detail", "is not served here; remove it.")
            return image_of(image.get("url"), f"{place}.image_url.url")
        case "file":
            only(given, ("type", "file"), place)
            return file_of(as_object(given.get("file"), f"{place}.file"), f"{place}.file")
        case kind:
            raise invalid(f"{place}.type", f"{kind!r} is none of: text, image_url, file.")


def _plain_text(content: JsonValue, place: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(f"{place}.content", "must be a string or a list of text parts.")
    texts: list[str] = []
    for index, part in enumerate(content):
        given = as_object(part, f"{place}.content[{index}]")
        if given.get("type") not in ("text", "refusal"):
            raise invalid(f"{place}.content[{index}].type", "only text can stand here.")
        only(given, ("type", "text", "refusal"), f"{place}.content[{index}]")
        texts.append(as_text(given.get("text") or given.get("refusal"), f"{place}.content[{index}].text"))
    return "\n".join(texts)


def encoded_arguments(block: JsonObject) -> str:
    """A tool use's input as these protocols write it."""
    return msgspec.json.encode(cast("JsonObject", block.get("input") or {})).decode()
