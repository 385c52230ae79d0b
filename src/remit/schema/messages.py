"""Requests to /v1/messages: published fields alone (`published`), and of those none that could spend outside
of the hold."""

from __future__ import annotations

from typing import Annotated, cast

import msgspec

from remit.errors import InvalidRequest
from remit.schema.published import ASKED, COUNTED, Shape, client_tool, refuse_unknown
from remit.schema.wire import Json, JsonMap, ModelId, OutputTokens, decode

MESSAGES_MAX = 100_000


class MessagesParams(msgspec.Struct, kw_only=True, frozen=True):
    """The fields that every provider knows in some form."""

    model: ModelId
    messages: Annotated[tuple[JsonMap, ...], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]
    max_tokens: OutputTokens | None = None
    system: str | tuple[JsonMap, ...] | None = None
    tools: tuple[JsonMap, ...] = ()
    tool_choice: JsonMap | None = None
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()
    output_config: JsonMap | None = None
    stream: bool = False


class GivenMessages(msgspec.Struct, kw_only=True, frozen=True):
    """A request: the known fields checked, the further ones as they came."""

    known: MessagesParams
    further: JsonMap


# Where the bill would not be the hold's: what runs at the provider, on other models, or at another rate.
_SPENDS = "it could spend more than is held for the call; leave it out"
REFUSED: dict[str, str] = {
    "mcp_servers": f"servers that the provider calls are not passed on, for {_SPENDS}.",
    "container": f"containers at the provider are not passed on, for {_SPENDS}.",
    "fallbacks": "other models at the provider are not passed on; list them in [routes] of the settings.",
    "billing_policy": f"is not passed on, for {_SPENDS}.",
    "fallback_credit_token": f"is not passed on, for {_SPENDS}.",
    "compaction": f"a compaction at the provider is not passed on, for {_SPENDS}.",
    "inference_geo": f"a region has its own rate, and {_SPENDS}.",
}
NO_THREADS = "`thread`: threads kept at the provider are not passed on, for their length is unknown; send all messages."
ALLOWED_VALUES: dict[str, str] = {"service_tier": "standard_only", "speed": "standard"}
"""Other values have other rates."""


def read_messages(body: bytes) -> GivenMessages:
    """A request for an answer. Raises InvalidRequest."""
    given = _read(body, ASKED)
    if given.known.max_tokens is None:
        raise InvalidRequest("`max_tokens` is required; add it.")
    return given


def read_counted(body: bytes) -> GivenMessages:
    """A request to count its tokens. Raises InvalidRequest."""
    return _read(body, COUNTED)


def _read(body: bytes, published: Shape) -> GivenMessages:
    known = decode(body, MessagesParams)
    whole = decode(body, JsonMap)  # what is passed on unread can be no JSON either
    further = {
        name: value
        for name, value in whole.items()
        if name not in MessagesParams.__struct_fields__ and value is not None
    }
    if not isinstance((known.output_config or {}).get("effort", ""), str):
        raise InvalidRequest("`output_config.effort`: must be a word such as low, medium or high.")
    _refuse_spending(known, further)
    refuse_unknown({name: whole[name] for name in whole if name not in (*REFUSED, "thread")}, published, "")
    for name in (*REFUSED, "thread"):
        further.pop(name, None)
    return GivenMessages(known=known, further=further)


def _refuse_spending(known: MessagesParams, further: JsonMap) -> None:
    if further.get("thread"):
        # By this code the SDK's tool runner, which begins with a thread, goes on without one.
        raise InvalidRequest(NO_THREADS, code="thread_unsupported_request")
    for name, reason in REFUSED.items():
        if further.get(name):
            raise InvalidRequest(f"`{name}`: {reason}", code="not_supported")
    for name, allowed in ALLOWED_VALUES.items():
        if name in further and further[name] != allowed:
            raise InvalidRequest(
                f"`{name}`: {further[name]!r} has a rate of its own; use {allowed!r} or leave it out.",
                code="not_supported",
            )
    for index, tool in enumerate(known.tools):
        type = tool.get("type") or "custom"
        shape = client_tool(type)
        if shape is None:
            raise InvalidRequest(
                f"`tools[{index}].type`: {type!r} runs at the provider, where {_SPENDS}; use a tool that you run.",
                code="not_supported",
            )
        refuse_unknown(tool, shape, f"tools[{index}]")
    for index, edit in enumerate(_edits(further.get("context_management"))):
        if str(edit.get("type")).startswith("compact"):
            raise InvalidRequest(
                f"`context_management.edits[{index}]`: a compaction is a call of its own at the provider, where {_SPENDS}.",
                code="not_supported",
            )


def _edits(management: Json) -> list[JsonMap]:
    edits: Json = cast("JsonMap", management).get("edits") if isinstance(management, dict) else None
    return (
        [edit for edit in cast("list[Json]", edits) if isinstance(edit, dict)]
        if isinstance(edits, list)
        else []
    )
