"""Requests to /v1/chat/completions and /v1/responses: the fields that have a meaning here; any other is
refused by name. Fields that only ask for what is done anyway take that one value."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from remit.schema.wire import Json, JsonMap, ModelId, OutputTokens, Params

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class StreamOptions(Params, frozen=True, kw_only=True):
    """The options of a chat stream's end."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class ChatParams(Params, frozen=True, kw_only=True):
    """POST /v1/chat/completions."""

    model: ModelId
    messages: Annotated[tuple[JsonMap, ...], msgspec.Meta(min_length=1)]
    max_completion_tokens: OutputTokens | None = None
    max_tokens: OutputTokens | None = None
    tools: tuple[JsonMap, ...] = ()
    tool_choice: str | JsonMap | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | tuple[str, ...] | None = None
    reasoning_effort: Effort | None = None
    response_format: JsonMap | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    # Only for models of OpenAI's protocols.
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: JsonMap | None = None
    verbosity: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    # One answer, not kept at the provider, at the usual rate.
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["default"] | None = None
    modalities: tuple[Literal["text"], ...] | None = None


class Reasoning(Params, frozen=True, kw_only=True):
    """The reasoning that is asked of a response."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed", "none"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    """Which of the reasoning of before is read again: here all that is sent."""


class TextSettings(Params, frozen=True, kw_only=True):
    """The form in which a response is written."""

    format: JsonMap | None = None
    verbosity: str | None = None


class ResponsesParams(Params, frozen=True, kw_only=True):
    """POST /v1/responses. Nothing is kept between requests: all items come with each."""

    model: ModelId
    input: str | tuple[JsonMap, ...]
    instructions: str | None = None
    max_output_tokens: OutputTokens | None = None
    tools: tuple[JsonMap, ...] = ()
    tool_choice: str | JsonMap | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning: Reasoning | None = None
    text: TextSettings | None = None
    include: tuple[Literal["reasoning.encrypted_content"], ...] | None = None
    metadata: dict[str, str] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    client_metadata: dict[str, Json] | None = None
    """What Codex says of itself; it goes to nobody."""
    store: Literal[False] | None = None
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None
    service_tier: Literal["default"] | None = None
