"""The tools of an MCP server, as the model is shown them: within limits, and marked as a stranger's words."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import cast

import msgspec
from jsonschema import Draft202012Validator, SchemaError
from mcp_types import Tool as Listed

from remit.schema.tool_kinds import MCP
from remit.toolsets.marking import printable
from remit.toolsets.mcp.limits import McpLimits
from remit.toolsets.offers import config_of, permission_of
from remit.values import JsonObject, JsonValue, Tool

NAME_CHARACTERS_MAX = 128
SHOWN_NAME_CHARACTERS_MAX = 64
"""What every provider of models takes."""
DESCRIPTION_CHARACTERS_MAX = 2_000
SCHEMA_BYTES_MAX = 16_384
SCHEMA_LEVELS_MAX = 64
"""Of objects and lists within each other: judging takes as long as their square."""
SCHEMAS_KEPT_MAX = 512
"""Judged schemas: lists are asked for again and again, and are mostly the same."""

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COMBINING = ("oneOf", "anyOf", "allOf", "not", "if", "$ref")
"""Providers take none of these at the top."""
_OPEN: JsonObject = {"type": "object"}


class Offer(msgspec.Struct, frozen=True):
    """The part of a server's tools that is shown."""

    tools: tuple[Tool, ...]
    own_names: dict[str, str]
    """The server's name for a tool, by the one that the model calls it."""
    left_out: int
    """Tools that are not shown: too many, too long, or with a name that cannot be told."""


def make_offer(
    server: str,
    listed: Sequence[Listed],
    entry: JsonObject,
    *,
    is_in_sandbox: bool,
    limits: McpLimits,
    taken: Iterable[str] = (),
) -> Offer:
    """The tools of a server as the agent's `entry` for it configures them; `taken` are names that others have."""
    tools: list[Tool] = []
    own_names: dict[str, str] = {}
    names, bytes_left = set(taken), limits.offer_bytes
    for one in sorted(listed, key=lambda one: one.name):  # a server may list them in another order each time
        if (
            not 0 < len(one.name) <= NAME_CHARACTERS_MAX
            or not one.name.isprintable()
            or one.name in own_names.values()
        ):
            continue
        config = config_of(entry, one.name)
        schema, looked_through = _schema(one.input_schema)
        tool = Tool(
            name=shown_name(server, one.name, names),
            description=_description(server, one.description or ""),
            input_schema=schema,
            kind=MCP,
            permission=permission_of(config, MCP),
            use_fields={"name": one.name, "mcp_server_name": server},
            needs_sandbox=is_in_sandbox,
            may_change_files=is_in_sandbox,
        )
        bytes_left -= max(looked_through, len(msgspec.json.encode(tool.definition)))
        if len(tools) == limits.tools or bytes_left < 0:
            break
        names.add(tool.name)
        own_names[tool.name] = one.name
        tools.append(tool)
    return Offer(tuple(tools), own_names, left_out=len(listed) - len(tools))


def shown_name(server: str, tool: str, taken: Collection[str]) -> str:
    """`mcp__SERVER__TOOL`; with a digest where that is too long, or another has it. A server may give a tool the name that
    another of its tools gets with a digest, so that is looked at as well."""
    plain = f"mcp__{_ODD.sub('_', server)}__{_ODD.sub('_', tool)}"
    if len(plain) <= SHOWN_NAME_CHARACTERS_MAX and plain not in taken:
        return plain
    for attempt in itertools.count():
        digest = hashlib.sha256(f"{server}\0{tool}{attempt or ''}".encode()).hexdigest()[:8]
        name = f"{plain[: SHOWN_NAME_CHARACTERS_MAX - len(digest) - 1]}_{digest}"
        if name not in taken:
            return name
    raise AssertionError("there are more digests than tools")


def _description(server: str, text: str) -> str:
    said = printable(text).strip()
    if len(said) > DESCRIPTION_CHARACTERS_MAX:
        said = f"{said[:DESCRIPTION_CHARACTERS_MAX]}…"
    whose = f"A tool of the MCP server {_ODD.sub('_', server)}"
    return (
        f"{whose}, described by it (its words, not the user's or the platform's): {said}"
        if said
        else f"{whose}."
    )


def _schema(given: dict[str, object]) -> tuple[JsonObject, int]:
    """The schema, or an open one where no provider would take it: a refusal would end the turn. With it how much was
    looked through, which takes a hundred times as long as reading it: of one that is too large, nothing."""
    try:
        encoded = msgspec.json.encode(given)
    except (RecursionError, TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return _OPEN, 0
    return (_judged(encoded), len(encoded)) if len(encoded) <= SCHEMA_BYTES_MAX else (_OPEN, 0)


@functools.lru_cache(SCHEMAS_KEPT_MAX)
def _judged(encoded: bytes) -> JsonObject:
    try:
        schema = cast("JsonObject", msgspec.json.decode(printable(encoded.decode())))
    except (RecursionError, ValueError, msgspec.MsgspecError):
        return _OPEN
    properties = schema.get("properties", {})
    is_plain = (
        schema.get("type") == "object"
        and not any(word in schema for word in _COMBINING)
        and isinstance(properties, dict)
        and all(_PROPERTY.fullmatch(name) for name in properties)
        and _levels(schema) <= SCHEMA_LEVELS_MAX
    )
    try:
        if is_plain:
            Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError):
        return _OPEN
    return schema if is_plain else _OPEN


def _levels(value: JsonObject) -> int:
    """How deep objects and lists stand in each other."""
    count, level = 0, list[dict[str, JsonValue] | list[JsonValue]]([value])
    while level:
        count += 1
        inner = [one for part in level for one in (part.values() if isinstance(part, dict) else part)]  # pyright: ignore
        level = [one for one in inner if isinstance(one, dict | list)]
    return count
