"""The published fields of the Messages API: nothing else passes /v1/messages and /v1/messages/count_tokens.

From the API reference of November 2026 (the types of the official SDK 2.12), with what Claude Code sends under its betas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, cast

from remit.errors import InvalidRequest
from remit.schema.wire import Json, JsonMap

NAMED_MAX = 40
"""Names that a refusal lists at most."""


class Shape(NamedTuple):
    """The fields of one kind of object; of each, what stands in it. None: anything."""

    fields: Mapping[str, Inner]


class Kinds(NamedTuple):
    """Objects that their `type` tells apart."""

    shapes: Mapping[str, Shape]
    otherwise: str | None = None
    """The kind of an object without a type."""
    what: str = "block"


class Words(NamedTuple):
    """Texts of a closed set, where another one would have a price or a meaning that is not known here."""

    words: tuple[str, ...]


Inner = Shape | Kinds | Words | None
"""Of one object or a list of them; what is no object is for the types of the fields to judge."""


def refuse_unknown(value: Json, expected: Shape | Kinds, place: str) -> None:
    """Raises InvalidRequest for the first field, or kind of object, that is not published."""
    if isinstance(value, list | tuple):
        for index, each in enumerate(cast("list[Json]", value)):
            if isinstance(each, dict):
                _refuse_in(cast("JsonMap", each), expected, f"{place}[{index}]")
    elif isinstance(value, dict):
        _refuse_in(cast("JsonMap", value), expected, place)


def _refuse_in(given: JsonMap, expected: Shape | Kinds, place: str) -> None:
    shape = _shape_of(given, expected, place) if isinstance(expected, Kinds) else expected
    fields = shape.fields
    for name, value in given.items():
        if name not in fields:
            field = f"{place}.{name}" if place else name
            raise InvalidRequest(
                f"`{field}`: there is no such field; remove it or correct its name. There are: {_named(fields)}."
            )
        inner = fields[name]
        if isinstance(inner, Words):
            if value is not None and value not in inner.words:
                field = f"{place}.{name}" if place else name
                raise InvalidRequest(f"`{field}`: {value!r} is none of: {', '.join(inner.words)}.")
        elif inner is not None:
            refuse_unknown(value, inner, f"{place}.{name}" if place else name)


def _shape_of(given: JsonMap, expected: Kinds, place: str) -> Shape:
    kind: Json = given.get("type") or expected.otherwise
    shape = expected.shapes.get(kind) if isinstance(kind, str) else None
    if shape is None:
        field = f"{place}.type" if place else "type"
        raise InvalidRequest(
            f"`{field}`: {kind!r} is no {expected.what} that there is; use one of: {_named(expected.shapes)}."
        )
    return shape


def _named(names: Mapping[str, object]) -> str:
    listed = list(names)
    more = f" and {len(listed) - NAMED_MAX} more" if len(listed) > NAMED_MAX else ""
    return ", ".join(listed[:NAMED_MAX]) + more


def _shape(names: str, **inner: Inner) -> Shape:
    return Shape({**dict.fromkeys(names.split()), **inner})


# ------------------------------------------------------------------------------------------------ blocks

CACHE = _shape("scope", type=Words(("ephemeral",)), ttl=Words(("5m", "1h")))
_CALLER = _shape("type tool_id")
_sources: dict[str, Shape] = {}
SOURCE = Kinds(_sources, what="source")
_blocks: dict[str, Shape] = {}
BLOCKS = Kinds(_blocks)

_sources |= {
    "base64": _shape("type media_type data"),
    "url": _shape("type url"),
    "file": _shape("type file_id"),
    "text": _shape("type media_type data"),
    "content": _shape("type", content=BLOCKS),
}


def _block(names: str = "", **inner: Inner) -> Shape:
    return _shape(f"type {names}", cache_control=CACHE, **inner)


TEXT = _block("text citations")
_RESULT = _block("tool_use_id content")
_RESULT_OF_WEB = _block("tool_use_id content", caller=_CALLER)
"""What a tool of the provider gave, in a conversation that was had there."""
_TOOL_REFERENCE = _shape("type name server_name")

# ------------------------------------------------------------------------------------------------- tools

_ANY_TOOL = "type name allowed_callers defer_loading input_examples strict"
CUSTOM_TOOL = _block(f"{_ANY_TOOL} description eager_input_streaming input_schema")
_BY_NAME: Mapping[str, Shape] = {
    "bash_": _block(_ANY_TOOL),
    "memory_": _block(_ANY_TOOL),
    "text_editor_": _block(f"{_ANY_TOOL} max_characters"),
    "computer_toolset_": _block("configs"),
    "computer_": _block(f"{_ANY_TOOL} display_height_px display_width_px display_number enable_zoom"),
    "browser_toolset_": _block("configs"),
}
"""Tools that the caller runs, by what comes before their version. All others run at the provider, at a price of their
own."""
_VERSIONED = re.compile(r"([a-z_]+_)[0-9]{8}")


def client_tool(type: Json) -> Shape | None:
    """Return the shape of a tool of this type; None for one that the caller does not run."""
    if type == "custom":
        return CUSTOM_TOOL
    versioned = _VERSIONED.fullmatch(type) if isinstance(type, str) else None
    return _BY_NAME.get(versioned[1]) if versioned is not None else None


_blocks |= {
    "text": TEXT,
    "image": _block(source=SOURCE, transformations=_shape("oversized_image")),
    "document": _block("title context", source=SOURCE, citations=_shape("enabled")),
    "search_result": _block("source title", citations=_shape("enabled"), content=BLOCKS),
    "thinking": _shape("type thinking signature"),
    "redacted_thinking": _shape("type data"),
    "tool_use": _block("id name input toolset_name", caller=_CALLER),
    "tool_result": _block("tool_use_id is_error toolset_name", content=BLOCKS),
    "tool_reference": _block("tool_name"),
    "browser_state": _block("state_changes tabs"),
    "server_tool_use": _block("id name input", caller=_CALLER),
    "web_search_tool_result": _RESULT_OF_WEB,
    "web_fetch_tool_result": _RESULT_OF_WEB,
    "advisor_tool_result": _RESULT,
    "code_execution_tool_result": _RESULT,
    "bash_code_execution_tool_result": _RESULT,
    "text_editor_code_execution_tool_result": _RESULT,
    "tool_search_tool_result": _RESULT,
    "mcp_tool_use": _block("id name input server_name"),
    "mcp_tool_result": _block("tool_use_id is_error", content=BLOCKS),
    "compaction": _block("content encrypted_content signature tool_changes"),
    "tool_addition": _block(
        tool=Kinds(
            {
                "tool_reference": _TOOL_REFERENCE,
                "tool_definition": _shape(
                    "type", definition=Kinds({"custom": CUSTOM_TOOL}, "custom", "tool")
                ),
            },
            what="tool that can be added here",
        )
    ),
    "tool_removal": _block(tool=_TOOL_REFERENCE),
    "fallback": _shape("type from to trigger"),
}

# ---------------------------------------------------------------------------------------------- requests

_AMOUNT = _shape("type value")
OUTPUT_FORMAT = _shape("type schema")
OUTPUT_CONFIG = _shape("effort", format=OUTPUT_FORMAT, task_budget=_shape("type total remaining"))
MESSAGE = _shape(
    "clear_at", role=Words(("user", "assistant", "system")), content=BLOCKS, output_config=_shape("effort")
)
_EDITS = Kinds(
    {
        "clear_tool_uses_20250919": _shape(
            "type exclude_tools clear_tool_inputs", clear_at_least=_AMOUNT, keep=_AMOUNT, trigger=_AMOUNT
        ),
        "clear_thinking_20251015": _shape("type", keep=_AMOUNT),
    },
    what="edit",
)
_BINDING = _shape("prefix_mismatch_behavior")
COUNTED = _shape(
    "model tools",  # each tool is judged with its type
    messages=MESSAGE,
    system=Kinds({"text": TEXT}),
    cache_control=CACHE,
    context_management=_shape("", edits=_EDITS),
    output_config=OUTPUT_CONFIG,
    output_format=OUTPUT_FORMAT,
    speed=None,
    thinking=Kinds(
        {
            "enabled": _shape("type budget_tokens display", block_binding=_BINDING),
            "adaptive": _shape("type display", block_binding=_BINDING),
            "disabled": _shape("type"),
            "between_tools": _shape("type"),
        },
        what="thinking",
    ),
    tool_choice=Kinds(
        {
            "auto": _shape("type disable_parallel_tool_use"),
            "any": _shape("type disable_parallel_tool_use"),
            "tool": _shape("type name disable_parallel_tool_use"),
            "none": _shape("type"),
        },
        what="tool choice",
    ),
)
"""What /v1/messages/count_tokens takes."""
ASKED = _shape(
    "max_tokens stop_sequences stream temperature top_k top_p service_tier",
    metadata=_shape("user_id"),
    diagnostics=_shape("previous_message_id"),
    **COUNTED.fields,
)
"""What /v1/messages takes."""
