"""Input that the two OpenAI protocols share: tools, choices, formats, media. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from remit.errors import InvalidRequest
from remit.values import UNPARSED_INPUT, JsonObject, JsonValue

MAX_TOKENS_DEFAULT = 32_768
"""Where the caller names no limit (Codex never does): enough to think and to write a file. The hold must have one, and a
smaller budget or model makes it smaller."""


_OF_SCHEMAS = ("name", "description", "schema", "strict")


def invalid(place: str, what: str) -> InvalidRequest:
    """A refusal that names the place."""
    return InvalidRequest(f"`{place}`: {what}")


def as_object(value: JsonValue, place: str) -> JsonObject:
    """Raises InvalidRequest."""
    if not isinstance(value, dict):
        raise invalid(place, "must be an object.")
    return value


def as_text(value: JsonValue, place: str) -> str:
    """Raises InvalidRequest."""
    if not isinstance(value, str):
        raise invalid(place, "must be a string.")
    return value


def only(given: JsonObject, known: Sequence[str], place: str) -> None:
    """Raises InvalidRequest for a field that has no meaning here. What is null says nothing."""
    for name, value in given.items():
        if name not in known and value is not None:
            raise invalid(f"{place}.{name}", "there is no such field here; remove it.")


def function_tool(function: JsonObject, place: str) -> JsonObject:
    """A function in the canonical form."""
    tool: JsonObject = {
        "name": as_text(function.get("name"), f"{place}.name"),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    if function.get("description") is not None:
        tool["description"] = as_text(function["description"], f"{place}.description")
    if function.get("strict") is not None:
        tool["strict"] = function["strict"]
    return tool


def tool_choice_of(
    choice: str | JsonObject | None, *, name: str | None, parallel: bool | None, has_tools: bool
) -> JsonObject | None:
    """`name` is the function's, if the choice names one."""
    chosen: JsonObject | None = None
    match choice:
        case "auto" | "none":
            chosen = {"type": choice}
        case "required":
            chosen = {"type": "any"}
        case None:
            pass
        case _ if name is not None:
            chosen = {"type": "tool", "name": name}
        case _:
            raise invalid("tool_choice", "must be auto, none, required or a function.")
    if parallel is False and has_tools and (chosen is None or chosen["type"] != "none"):
        chosen = {**(chosen or {"type": "auto"}), "disable_parallel_tool_use": True}
    return chosen


def arguments_of(written: JsonValue, place: str) -> JsonObject:
    """A call's arguments, which these protocols write as a string. What is no JSON object is kept as it was written."""
    text = as_text(written, place)
    try:
        parsed: JsonValue = msgspec.json.decode(text) if text.strip() else {}
    except msgspec.DecodeError:
        parsed = text
    return parsed if isinstance(parsed, dict) else {UNPARSED_INPUT: parsed}


def format_of(given: JsonObject, place: str) -> JsonObject | None:
    """A JSON schema to answer by, in the canonical form; None for plain text. `json_object` is left to its own."""
    match given.get("type"):
        case "text":
            only(given, ("type",), place)
            return None
        case "json_schema":
            is_nested = "json_schema" in given
            inner = as_object(given.get("json_schema", given), f"{place}.json_schema")
            only(given, ("type", *(("json_schema",) if is_nested else _OF_SCHEMAS)), place)
            only(inner, (*(() if is_nested else ("type",)), *_OF_SCHEMAS), f"{place}.json_schema")
            schema = as_object(as_object(inner, place).get("schema"), f"{place}.schema")
            return {"type": "json_schema", "schema": schema}
        case kind:
            raise invalid(f"{place}.type", f"{kind!r} is none of: text, json_schema.")


def image_of(url: JsonValue, place: str) -> JsonObject:
    """An image by its address or in a data URL."""
    text = as_text(url, place)
    if not text.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": text}}
    media_type, data = _data_url(text, place)
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def file_of(given: JsonObject, place: str) -> JsonObject:
    """A document in a data URL; files kept at the provider are not known here."""
    only(given, ("type", "filename", "file_data"), place)
    media_type, data = _data_url(as_text(given.get("file_data"), f"{place}.file_data"), f"{place}.file_data")
    document: JsonObject = {
        "type": "document",
        "source": {"type": "base64", "media_type": media_type, "data": data},
    }
    if isinstance(name := given.get("filename"), str):
        document["title"] = name
    return document


def _data_url(text: str, place: str) -> tuple[str, str]:
    head, comma, data = text.removeprefix("data:").partition(",")
    if not text.startswith("data:") or not comma or not head.endswith(";base64"):
        raise invalid(place, "must be a data URL such as data:image/png;base64,….")
    return head.removesuffix(";base64"), data


def joined_turns(messages: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """Neighbouring messages of one role become one: the canonical form has turns, where these protocols have items. What
    tools gave stands first in its turn, for there it must."""
    turns: list[JsonObject] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1] = {**turns[-1], "content": [*_listed(turns[-1]), *_listed(message)]}
        else:
            turns.append(message)
    return tuple({**turn, "content": sorted(_listed(turn), key=_comes_later)} for turn in turns)


def _listed(turn: JsonObject) -> list[JsonValue]:
    return cast("list[JsonValue]", turn["content"])


def _comes_later(block: JsonValue) -> bool:
    return not (isinstance(block, dict) and block.get("type") == "tool_result")
