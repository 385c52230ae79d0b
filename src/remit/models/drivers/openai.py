"""The parts that both protocols of OpenAI share: where the vendor is, what it lists, how it counts, and the
words of a request that are the same in both."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from remit.models.drivers.limits import listed_entries, model_info
from remit.models.http.endpoint import FIRST_BYTE_SECONDS_OWN, ModelEndpoint, ModelTimeouts, is_served_here
from remit.models.http.failures import refused
from remit.values import JsonObject, JsonValue, ModelInfo, ModelRequest

BASE_URL = "https://api.openai.com/v1"
_HOSTS = ("api.openai.com", "eu.api.openai.com", "us.api.openai.com")

# Where the list of models does not say how much they hold.
CONTEXT_TOKENS_DEFAULT = 128_000
CONTEXT_TOKENS_DEFAULT_LOCAL = 32_768
OUTPUT_TOKENS_DEFAULT = 16_384
OUTPUT_TOKENS_DEFAULT_LOCAL = 8_192

SERVICE_TIER = "default"
"""A project's own default may be the priority tier, at twice the price the call is held at."""

USER_CHARACTERS_MAX = 64
"""Longer names of users are refused; Claude Code's is a small document."""
FOR_THE_VENDOR = frozenset(
    {
        "metadata",
        "openai.prompt_cache_key",
        "openai.safety_identifier",
        "openai.user",
        "openai.verbosity",
    }
)
"""Fields that mean something to OpenAI, and are refused by some of the others (Mistral's, strict servers)."""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
_DO_NOT_THINK = ("gpt-4o", "gpt-4.1", "chatgpt-4o", "gpt-4-", "gpt-3.5-")
THINKING = ("thinking", "redacted_thinking")


_ABOUT_EFFORT = re.compile(r"reasoning[_. ]?effort|does not support (?:thinking|reasoning)", re.IGNORECASE)


def is_vendor(base_url: str | None) -> bool:
    """Return whether a base URL is OpenAI itself; servers of one's own know less of its protocols."""
    return urlsplit(base_url or BASE_URL).hostname in _HOSTS


def streams_all(model: str, base_url: str | None) -> bool:
    """See StreamsAll: the vendor's models that do not think are known."""
    if is_vendor(base_url):
        return model.startswith(_DO_NOT_THINK)
    return base_url is not None and is_served_here(model, base_url)


def openai_endpoint(
    name: str, *, api_key: str | None, base_url: str | None, timeouts: ModelTimeouts | None
) -> ModelEndpoint:
    """OpenAI, or a server that speaks like it; some of those want no key."""
    return ModelEndpoint(
        name=name,
        base_url=base_url or BASE_URL,
        headers={} if api_key is None else {"authorization": f"Bearer {api_key}"},
        timeouts=timeouts
        or ModelTimeouts(first_byte_seconds=None if is_vendor(base_url) else FIRST_BYTE_SECONDS_OWN),
    )


async def listed_models(endpoint: ModelEndpoint, *, is_vendor: bool) -> Sequence[ModelInfo]:
    """List the models of an endpoint."""
    return [
        model_info(
            model_id,
            entry,
            provider=endpoint.name,
            context_tokens=CONTEXT_TOKENS_DEFAULT if is_vendor else CONTEXT_TOKENS_DEFAULT_LOCAL,
            max_output_tokens=OUTPUT_TOKENS_DEFAULT if is_vendor else OUTPUT_TOKENS_DEFAULT_LOCAL,
        )
        for model_id, entry in listed_entries(await endpoint.ask("GET", "/models"))
    ]


def effort_of(request: ModelRequest) -> str | None:
    """Return how hard the model should think. Raises ModelCallFailed for what has no counterpart."""
    if request.effort == "max":
        return EFFORTS[-1]
    if request.effort is not None and request.effort not in EFFORTS:
        raise refused(f"effort {request.effort!r} has no counterpart here; use one of {', '.join(EFFORTS)}")
    return request.effort


def user_of(fields: JsonObject) -> JsonValue:
    """Return the request's user, as in /v1/messages. Raises ModelCallFailed for what has no counterpart."""
    metadata = fields.get("metadata")
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or set(metadata) - {"user_id"}:
        raise refused("`metadata` can hold only `user_id` here")
    user = metadata.get("user_id")
    if isinstance(user, str) and len(user) > USER_CHARACTERS_MAX:
        return hashlib.sha256(user.encode()).hexdigest()
    return user


def without_effort(request: ModelRequest, refusal: str) -> ModelRequest | None:
    """The request for a model that was refused for being told how hard to think; None: that was not about it."""
    if request.effort is None or not _ABOUT_EFFORT.search(refusal):
        return None
    return msgspec.structs.replace(request, effort=None)


def answer_schema(fields: JsonObject) -> JsonValue:
    """The schema the answer must have, if any. Raises ModelCallFailed for what has no counterpart."""
    config = fields.get("output_config")
    if config is None:
        return None
    format = config.get("format") if isinstance(config, dict) else None
    if not isinstance(config, dict) or set(config) - {"format"}:
        raise refused("`output_config` can hold only `effort` and `format` here")
    if not isinstance(format, dict) or format.get("type") != "json_schema":
        raise refused("`output_config.format` can only be a json_schema here")
    return format.get("schema")


def tool_schema(tool: JsonObject) -> JsonValue:
    """Return a tool's input schema. Raises ModelCallFailed for one that another protocol's vendor runs."""
    if "input_schema" not in tool:
        raise refused(
            f"the tool {tool.get('name') or tool.get('type')!r} has no input_schema: it exists only at Anthropic"
        )
    return tool["input_schema"]


def tool_choice_of(choice: JsonObject, *, named: JsonObject) -> JsonObject:
    """The fields that say which tool is used; `named` is how the protocol names one. Raises ModelCallFailed."""
    fields: JsonObject = {}
    match choice.get("type"):
        case "auto" | "none" as kind:
            fields["tool_choice"] = kind
        case "any":
            fields["tool_choice"] = "required"
        case "tool":
            fields["tool_choice"] = named
        case kind:
            raise refused(f"tool_choice {kind!r} is unknown; use auto, any, tool or none")
    if choice.get("disable_parallel_tool_use"):
        fields["parallel_tool_calls"] = False
    return fields


def blocks_of(message: JsonObject) -> list[JsonObject]:
    """A message's content as blocks. Raises ModelCallFailed."""
    role, content = message.get("role"), message.get("content")
    blocks = listed_blocks(content)
    if not isinstance(blocks, list):
        raise refused(f"a message of {role!r} has no content")
    known = [block for block in blocks if isinstance(block, dict)]
    if len(known) < len(blocks):
        raise refused(f"a message of {role!r} has content that is no block")
    return known


def listed_blocks(content: JsonValue) -> JsonValue:
    """Content that is text alone as the one block that it stands for."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def search_result_text(block: JsonObject) -> str:
    """A hit of a search in words, for protocols that know no such blocks."""
    passages = listed_blocks(block.get("content"))
    texts = [
        str(part.get("text") or "")
        for part in (passages if isinstance(passages, list) else [])
        if isinstance(part, dict)
    ]
    return "\n".join([f"{block.get('title') or 'Search result'} ({block.get('source')})", *texts])


def data_url(source: JsonObject) -> str:
    """Bytes in the request itself."""
    return f"data:{source.get('media_type')};base64,{source.get('data')}"
