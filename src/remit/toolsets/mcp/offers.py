"""The tools of an MCP server, as the model is shown them: within limits, and marked as a stranger's words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec
from jsonschema import Draft202012Validator, SchemaError
from mcp_types import Tool as Listed

from remit.schema.tool_kinds import MCP
from remit.toolsets.marking import printable
from remit.toolsets.mcp.limits import McpLimits
from remit.toolsets.offers import config_of, permission_of
from remit.values import JsonObject, Tool

NAME_CHARACTERS_MAX = 128
SHOWN_NAME_CHARACTERS_MAX = 64
"""What every provider of models takes."""
DESCRIPTION_CHARACTERS_MAX = 2_000
SCHEMA_BYTES_MAX = 16_384

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
        tool = Tool(
            name=shown_name(server, one.name, names),
            description=_description(server, one.description or ""),
            input_schema=_schema(one.input_schema),
            kind=MCP,
            permission=permission_of(config, MCP),
            use_fields={"name": one.name, "mcp_server_name": server},
            needs_sandbox=is_in_sandbox,
            may_change_files=is_in_sandbox,
        )
        bytes_left -= len(msgspec.json.encode(tool.definition))
        if len(tools) == limits.tools or bytes_left < 0:
            break
        names.add(tool.name)
        own_names[tool.name] = one.name
        tools.append(tool)
    return Offer(tuple(tools), own_names, left_out=len(listed) - len(tools))


def shown_name(server: str, tool: str, taken: Iterable[str]) -> str:
    """`mcp__SERVER__TOOL`; with a digest where that is too long, or another has it."""
    plain = f"mcp__{_ODD.sub('_', server)}__{_ODD.sub('_', tool)}"
    if len(plain) <= SHOWN_NAME_CHARACTERS_MAX and plain not in taken:
        return plain
    digest = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:8]
    return f"{plain[: SHOWN_NAME_CHARACTERS_MAX - len(digest) - 1]}_{digest}"


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


def _schema(given: dict[str, object]) -> JsonObject:
    """The schema, or an open one where no provider would take it: a refusal would end the turn."""
    try:
        encoded = msgspec.json.encode(given)
        schema = cast("JsonObject", msgspec.json.decode(printable(encoded.decode())))
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError, TypeError, ValueError, msgspec.MsgspecError):
        return _OPEN
    properties = schema.get("properties", {})
    is_plain = (
        len(encoded) <= SCHEMA_BYTES_MAX
        and schema.get("type") == "object"
        and not any(word in schema for word in _COMBINING)
        and isinstance(properties, dict)
        and all(_PROPERTY.fullmatch(name) for name in properties)
    )
    return schema if is_plain else _OPEN
