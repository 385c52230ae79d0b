"""The tools of a Responses request in the canonical form, and its calls in the words of either. Pure.

The canonical form has functions alone: a custom tool becomes one with a text as its input, a namespace is written before
the names in it, `local_shell` and a `tool_search` of the client's become functions of those names. Tools of the vendor's own are kept apart, to be left out.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, NamedTuple

import msgspec

from remit.gateway.protocols.openai_input import (
    arguments_of,
    as_object,
    as_text,
    function_tool,
    invalid,
    only,
)
from remit.schema.openai import ResponsesParams
from remit.values import UNPARSED_INPUT, JsonObject, JsonValue

CUSTOM_INPUT = "input"
"""The one property of a custom tool's input."""
USUAL_NAMESPACE = "functions"
"""The vendor's own for what is in none: models know its tools by their bare names."""
NAME_CHARACTERS_MAX = 64
HOSTED = ("web_search", "web_search_preview", "image_generation")
"""Tools of the vendor that coding agents offer of their own accord and can do without."""
LOCAL_SHELL = "local_shell"
TOOL_SEARCH = "tool_search"
BRING_TOOLS = ("additional_tools", "tool_search_output")
"""Items that offer tools in the middle of a conversation."""
_ACTION = ("type", "command", "env", "timeout_ms", "user", "working_directory")
_LOCAL_SHELL_TOOL: JsonObject = {
    "name": LOCAL_SHELL,
    "description": "Runs a command on the user's machine and returns its output.",
    "input_schema": {
        "type": "object",
        "properties": {
            "command": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Program and arguments.",
            },
            "working_directory": {"type": "string"},
            "timeout_ms": {"type": "integer"},
        },
        "required": ["command"],
    },
}
_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_LISTED = ("function", "custom", "namespace", LOCAL_SHELL, TOOL_SEARCH)
Kind = Literal["function", "custom", "local_shell", "tool_search"]


class Called(NamedTuple):
    """A tool as its caller knows it."""

    kind: Kind
    name: str
    namespace: str | None = None


class ResponsesTools:
    """The tools of one request."""

    def __init__(self, params: ResponsesParams) -> None:
        """Raises InvalidRequest naming what cannot be said."""
        self._tools: dict[str, JsonObject] = {}
        self._called: dict[str, Called] = {}
        self.hosted: JsonObject = {}
        """By the name of their field in `ModelRequest.fields`."""
        self._read(list(params.tools), "tools", None)
        for index, item in enumerate(params.input if not isinstance(params.input, str) else ()):
            if item.get("type") in BRING_TOOLS:
                only(
                    item, ("type", "id", "role", "status", "tools", "call_id", "execution"), f"input[{index}]"
                )
                self._read(item.get("tools"), f"input[{index}].tools", None)

    @property
    def canonical(self) -> tuple[JsonObject, ...]:
        """Functions, in the order in which they were offered."""
        return tuple(self._tools.values())

    def called(self, name: str) -> Called:
        """The tool that a model calls by this name."""
        return self._called.get(name, Called("function", name))

    def _read(self, tools: JsonValue, place: str, namespace: str | None) -> None:
        if not isinstance(tools, list):
            raise invalid(place, "must be a list of tools.")
        for index, each in enumerate(tools):
            self._read_one(as_object(each, f"{place}[{index}]"), f"{place}[{index}]", namespace)

    def _read_one(self, tool: JsonObject, place: str, namespace: str | None) -> None:
        kind = tool.get("type")
        match kind:
            case "function":
                only(tool, ("type", "name", "description", "parameters", "strict", "defer_loading"), place)
                self._add(function_tool(tool, place), "function", namespace)
            case "custom":
                only(tool, ("type", "name", "description", "format", "defer_loading"), place)
                self._add(_custom(tool, place), "custom", namespace)
            case "namespace" if namespace is None:
                only(tool, ("type", "name", "description", "tools"), place)
                self._read(tool.get("tools"), f"{place}.tools", as_text(tool.get("name"), f"{place}.name"))
            case "local_shell" if namespace is None:
                only(tool, ("type",), place)
                self._add(_LOCAL_SHELL_TOOL, "local_shell", None)
            case "tool_search" if namespace is None:
                only(tool, ("type", "execution", "description", "parameters"), place)
                if tool.get("execution") == "client":
                    self._add(function_tool({**tool, "name": TOOL_SEARCH}, place), "tool_search", None)
                else:  # what it would find is offered at once
                    self.hosted[f"openai.{TOOL_SEARCH}"] = tool
            case str() if kind in HOSTED and namespace is None:
                self.hosted[f"openai.{kind.removesuffix('_preview')}"] = tool
            case _:
                raise invalid(
                    f"{place}.type",
                    f"{kind!r} is not served here, for it runs at the provider or is not known; use one of: "
                    f"{', '.join(_LISTED)}.",
                )

    def _add(self, tool: JsonObject, kind: Kind, namespace: str | None) -> None:
        name = str(tool["name"])
        flat = flat_name(name, namespace)
        self._tools[flat] = {**tool, "name": flat}
        self._called[flat] = Called(kind, name, namespace)


def flat_name(name: str, namespace: str | None) -> str:
    """The name by which a model calls a tool of a namespace; the same in every request."""
    joined = name
    if namespace not in (None, "", USUAL_NAMESPACE):
        joined = f"{namespace}{'' if namespace.endswith('__') else '__'}{name}"
    plain = _NOT_OF_NAMES.sub("_", joined)
    if plain == joined and len(plain) <= NAME_CHARACTERS_MAX:
        return joined
    return f"{plain[: NAME_CHARACTERS_MAX - 9]}_{hashlib.sha256(joined.encode()).hexdigest()[:8]}"


def _custom(tool: JsonObject, place: str) -> JsonObject:
    """A tool that takes a text. A model that is held to no grammar is told of it."""
    told = as_text(tool.get("description") or "", f"{place}.description")
    format = tool.get("format")
    if format is not None:
        given = as_object(format, f"{place}.format")
        only(given, ("type", "syntax", "definition"), f"{place}.format")
        if given.get("type") == "grammar":
            told += (
                f"\n\nThe input must follow this {given.get('syntax')} grammar:\n{given.get('definition')}"
            )
        elif given.get("type") != "text":
            raise invalid(f"{place}.format.type", f"{given.get('type')!r} is none of: text, grammar.")
    text: JsonObject = {"type": "string", "description": "The whole input of the tool, as plain text."}
    schema: JsonObject = {"type": "object", "properties": {CUSTOM_INPUT: text}, "required": [CUSTOM_INPUT]}
    return {
        "name": as_text(tool.get("name"), f"{place}.name"),
        "description": told.strip(),
        "input_schema": {**schema, "additionalProperties": False},
    }


# ------------------------------------------------------------------------------------------------- calls


def call_of(item: JsonObject, place: str) -> JsonObject:
    """An item that is a call, as a canonical block. Raises InvalidRequest."""
    input: JsonObject
    match item.get("type"):
        case "function_call":
            only(item, ("type", "id", "status", "call_id", "name", "namespace", "arguments"), place)
            name = _name(item, place)
            input = arguments_of(item.get("arguments"), f"{place}.arguments")
        case "custom_tool_call":
            only(item, ("type", "id", "status", "call_id", "name", "namespace", "input"), place)
            name = _name(item, place)
            input = {CUSTOM_INPUT: as_text(item.get("input"), f"{place}.input")}
        case "tool_search_call":
            only(item, ("type", "id", "status", "call_id", "execution", "arguments"), place)
            name = TOOL_SEARCH
            input = as_object(item.get("arguments"), f"{place}.arguments")
        case _:
            only(item, ("type", "id", "status", "call_id", "action"), place)
            name = LOCAL_SHELL
            action = as_object(item.get("action"), f"{place}.action")
            only(action, _ACTION, f"{place}.action")
            input = {each: value for each, value in action.items() if each != "type" and value is not None}
    call_id = as_text(item.get("call_id") or item.get("id"), f"{place}.call_id")
    return {"type": "tool_use", "id": call_id, "name": name, "input": input}


def found_of(item: JsonObject) -> str:
    """Describe the tools that a search has found; the tools themselves are offered with all others."""
    names: list[str] = []
    tools = item.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        given = tool if isinstance(tool, dict) else {}
        inner = given.get("tools")
        namespace = str(given.get("name")) if isinstance(inner, list) else None
        for each in inner if isinstance(inner, list) else [given]:
            name = each.get("name") if isinstance(each, dict) else None
            names.append(flat_name(str(name), namespace))
    return f"Found: {', '.join(names)}. They can be called now." if names else "Nothing was found."


def _name(item: JsonObject, place: str) -> str:
    namespace = item.get("namespace")
    return flat_name(
        as_text(item.get("name"), f"{place}.name"),
        None if namespace is None else as_text(namespace, f"{place}.namespace"),
    )


def custom_input(input: JsonObject) -> str:
    """The text that a model gives a custom tool, also where it did not write it as it was to."""
    for name in (CUSTOM_INPUT, UNPARSED_INPUT):
        if isinstance(text := input.get(name), str):
            return text
    texts = [value for value in input.values() if isinstance(value, str)]
    if len(input) == 1 and texts:
        return texts[0]
    return msgspec.json.encode(input).decode() if input else ""


def shell_action(input: JsonObject) -> JsonObject:
    """Turn a model's input for `local_shell` into the action of its call."""
    command = input.get("command")
    words: list[JsonValue] = (
        list(command) if isinstance(command, list) else ["bash", "-lc", custom_input(input)]
    )
    more = {
        name: value for name, value in input.items() if name in _ACTION and name not in ("type", "command")
    }
    return {"type": "exec", "command": words, "env": {}, **more}
