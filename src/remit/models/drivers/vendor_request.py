"""Parts of a request for Anthropic's own API alone: Bedrock and Vertex refuse all that they don't know. Pure.

Which betas they know is told by their refusals, as the issue trackers of gateways and of Claude Code report them
(anthropics/claude-code 49370, 21767, 82549; LiteLLM keeps a table).
"""

from __future__ import annotations

from typing import cast

import msgspec

from remit.models.drivers.tool_calls import told_of_tool
from remit.values import JsonObject, JsonValue, ModelRequest

_BOTH = frozenset(
    {
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",
        "context-management-2025-06-27",
        "thinking-display-updates-2026-08-18",
    }
)
BEDROCK_BETAS = _BOTH | {"effort-2025-11-24", "fine-grained-tool-streaming-2025-05-14"}
VERTEX_BETAS = _BOTH | {"interleaved-thinking-2025-05-14"}
_OF_TOOLS = ("defer_loading", "eager_input_streaming", "allowed_callers", "input_examples")
"""Fields of tools under betas that are not known there: such tools are there from the beginning."""


def without_first_party(request: ModelRequest) -> ModelRequest:
    """The request without scopes of the cache and deferred tools; system messages in mid-conversation are the user's."""
    encoded = request.content_json
    if not any(
        f'"{name}"'.encode() in encoded
        for name in (*_OF_TOOLS, "scope", "system", "diagnostics", "tool_reference")
    ):
        return request
    fields = {name: _unscoped(value) for name, value in request.fields.items() if name != "diagnostics"}
    tools = (
        {name: _unscoped(value) for name, value in tool.items() if name not in _OF_TOOLS}
        if "input_schema" in tool
        else tool
        for tool in request.tools
    )
    return msgspec.structs.replace(
        request, fields=fields, tools=tuple(tools), messages=_users_alone(request.messages)
    )


def _users_alone(messages: tuple[JsonObject, ...]) -> tuple[JsonObject, ...]:
    turns: list[JsonObject] = []
    for message in messages:
        is_system = message.get("role") == "system"
        content = message.get("content")
        if isinstance(content, list):
            content = [_unscoped(block) for block in content]
        said: JsonObject = {"role": "user" if is_system else message.get("role"), "content": content}
        if is_system and turns and turns[-1]["role"] == "user":
            turns[-1] = {"role": "user", "content": [*_listed(turns[-1]["content"]), *_listed(content)]}
        else:
            turns.append(said)
    return tuple(turns)


def _listed(content: JsonValue) -> list[JsonValue]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _unscoped(value: JsonValue) -> JsonValue:
    """A block, or blocks, whose mark for the cache names no scope; tools that were found are told of."""
    if isinstance(value, list):
        return [_unscoped(each) for each in value]
    if not isinstance(value, dict):
        return value
    if (told := told_of_tool(value)) is not None:
        return told
    if value.get("type") == "tool_result" and isinstance(value.get("content"), list):
        value = {**value, "content": _unscoped(value["content"])}
    if set(value) <= {"type", "ttl", "scope"} and "scope" in value:
        return {name: each for name, each in value.items() if name != "scope"}
    mark = value.get("cache_control")
    if isinstance(mark, dict) and "scope" in mark:
        return {**value, "cache_control": cast("JsonObject", _unscoped(mark))}
    return value
