"""A Responses request in the canonical form. What has no words there is refused by name. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import cast

import msgspec

from remit.gateway.protocols.openai_input import (
    MAX_TOKENS_DEFAULT,
    as_object,
    as_text,
    file_of,
    format_of,
    image_of,
    invalid,
    joined_turns,
    only,
    tool_choice_of,
)
from remit.gateway.protocols.responses_tools import LOCAL_SHELL, ResponsesTools, call_of, flat_name, found_of
from remit.schema.openai import ResponsesParams
from remit.values import JsonObject, JsonValue, ModelRequest

_OPENAI_FIELDS = ("prompt_cache_key", "safety_identifier", "user", "client_metadata")
_OF_MESSAGES = ("type", "id", "status", "role", "content", "phase")
_SEALED_PREFIX = "remit:"


def request_from_responses(params: ResponsesParams) -> ModelRequest:
    """Raises InvalidRequest naming what cannot be said."""
    offered = ResponsesTools(params)
    systems = [params.instructions] if params.instructions else []
    messages: list[JsonObject] = []
    items: tuple[JsonObject, ...] = (
        ({"type": "message", "role": "user", "content": params.input},)
        if isinstance(params.input, str)
        else params.input
    )
    for index, item in enumerate(items):
        place = f"input[{index}]"
        if item.get("type") == "additional_tools":
            continue
        if item.get("role") in ("system", "developer"):
            only(item, _OF_MESSAGES, place)
            told = _texts(item.get("content"), place)
            if messages:  # in its place: a prompt that grew at its beginning would be in nobody's cache
                messages.append({"role": "user", "content": list[JsonValue](told)})
            else:
                systems += [str(block["text"]) for block in told]
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
    if reasoning is not None and reasoning.context is not None:
        fields["openai.reasoning_context"] = reasoning.context
    fields |= offered.hosted
    if details := [detail for detail in _details(items) if detail not in (None, "auto")]:
        fields["openai.image_detail"] = details[-1]
    tools = offered.canonical
    return ModelRequest(
        model=params.model,
        messages=joined_turns(messages),
        max_tokens=params.max_output_tokens or MAX_TOKENS_DEFAULT,
        system="\n\n".join(systems) or None,
        tools=tools,
        tool_choice=tool_choice_of(
            params.tool_choice,
            name=_chosen_tool(params.tool_choice),
            parallel=params.parallel_tool_calls,
            has_tools=bool(tools),
        ),
        temperature=params.temperature,
        effort=reasoning.effort if reasoning is not None else None,
        fields=fields,
    )


def _chosen_tool(choice: str | JsonObject | None) -> str | None:
    if not isinstance(choice, dict):
        return None
    only(choice, ("type", "name", "namespace"), "tool_choice")
    kind = choice.get("type")
    if kind == LOCAL_SHELL:
        return LOCAL_SHELL
    if kind not in ("function", "custom"):
        raise invalid("tool_choice.type", f"{kind!r} is none of: function, custom, local_shell.")
    namespace = choice.get("namespace")
    name = as_text(choice.get("name"), "tool_choice.name")
    return flat_name(name, None if namespace is None else as_text(namespace, "tool_choice.namespace"))


def _message(item: JsonObject, place: str) -> JsonObject | None:
    match item.get("type") or "message":
        case "message":
            return _spoken(item, place)
        case "function_call" | "custom_tool_call" | "local_shell_call" | "tool_search_call":
            return {"role": "assistant", "content": [call_of(item, place)]}
        case "function_call_output" | "custom_tool_call_output" | "local_shell_call_output":
            only(item, ("type", "id", "status", "call_id", "output", "name"), place)
            output = item.get("output")
            result: JsonObject = {
                "type": "tool_result",
                "tool_use_id": as_text(item.get("call_id") or item.get("id"), f"{place}.call_id"),
                "content": output if isinstance(output, str) else _parts(output, f"{place}.output"),
            }
            return {"role": "user", "content": [result]}
        case "tool_search_output":
            call_id = as_text(item.get("call_id"), f"{place}.call_id")
            found: JsonObject = {"type": "tool_result", "tool_use_id": call_id, "content": found_of(item)}
            return {"role": "user", "content": [found]}
        case "reasoning":
            only(item, ("type", "id", "status", "summary", "content", "encrypted_content"), place)
            for name in ("summary", "content"):
                parts = item.get(name)
                for number, part in enumerate(parts if isinstance(parts, list) else ()):
                    at = f"{place}.{name}[{number}]"
                    only(as_object(part, at), ("type", "text"), at)
            # Without its content sealed in the item there is nothing of it to send: it was kept nowhere.
            sealed = item.get("encrypted_content")
            block = unseal_thinking(sealed) if isinstance(sealed, str) else None
            return {"role": "assistant", "content": [block]} if block is not None else None
        case kind:
            raise invalid(f"{place}.type", f"{kind!r} is not served here.")


def _spoken(item: JsonObject, place: str) -> JsonObject:
    only(item, _OF_MESSAGES, place)
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
            only(given, ("type", "text", "annotations", "logprobs"), place)
            return {"type": "text", "text": as_text(given.get("text"), f"{place}.text")}
        case "refusal":
            only(given, ("type", "refusal"), place)
            return {"type": "text", "text": as_text(given.get("refusal"), f"{place}.refusal")}
        case "input_image":
            only(given, ("type", "image_url", "detail"), place)
            return image_of(given.get("image_url"), f"{place}.image_url")
        case "input_file":
            return file_of(given, place)
        case kind:
            raise invalid(
                f"{place}.type", f"{kind!r} is none of: input_text, input_image, input_file, output_text."
            )


def _details(items: Iterable[JsonObject]) -> Iterator[JsonValue]:
    """How closely images are to be looked at."""
    for item in items:
        parts = item.get("output", item.get("content"))
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and part.get("type") == "input_image":
                yield part.get("detail")


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
    """Unseal a block of thinking; None for another service's, which means nothing to models here."""
    if not sealed.startswith(_SEALED_PREFIX):
        return None
    try:
        block: JsonValue = msgspec.json.decode(base64.urlsafe_b64decode(sealed.removeprefix(_SEALED_PREFIX)))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None
    is_thinking = isinstance(block, dict) and block.get("type") in ("thinking", "redacted_thinking")
    return cast("JsonObject", block) if is_thinking else None
