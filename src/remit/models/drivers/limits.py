"""Limits of what a model reads and writes, by all the names that lists of models have for them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from remit.models.drivers.usage import count_of
from remit.values import JsonObject, JsonValue, ModelInfo

_CONTEXT = (
    # What is served first, then what the model could do.
    "max_model_len",  # vLLM, SGLang
    "loaded_context_length",  # LM Studio
    "meta.n_ctx",  # llama.cpp
    "n_ctx",
    "top_provider.context_length",  # OpenRouter
    "context_length",
    "context_window",  # Groq
    "context_size",
    "max_context_length",  # Mistral, LM Studio
    "max_context_tokens",
    "max_input_tokens",  # LiteLLM, Anthropic
    "max_prompt_tokens",
    "model_info.max_input_tokens",
    "capabilities.limits.max_context_window_tokens",  # GitHub
    "limits.max_context_window_tokens",
    "limits.max_input_tokens",
    "limits.context",
    "input_token_limit",  # Gemini
    "inputTokenLimit",
    "context_window_tokens",
    "contextLength",
    "contextWindow",
    "max_seq_len",
    "max_sequence_length",
    "max_position_embeddings",
    "meta.context_length",
    "metadata.context_length",
    "context_window.context_length",  # Poe
    "context_window.max_context_tokens",
    "max_context_window",
    "max_context_len",
    "context_len",
    "ctx_len",
    "settings.ctx_len",  # Jan
    "parameters.max_seq_len",  # TabbyAPI
    "config.context_size",  # Docker
    "details.context_length",
    "info.contextLength",  # AIML
    "info.context_length",
    "metadata.context_window",
    "model_spec.availableContextTokens",  # Venice
    "capabilities.context_length",
    "capabilities.context_window",
    "limits.context_window",
    "limits.max_context_length",
    "providers.context_length",  # Hugging Face: the least of those that may serve it
    "meta.n_ctx_train",
    "n_ctx_train",
)
_OUTPUT = (
    "top_provider.max_completion_tokens",  # OpenRouter
    "max_completion_tokens",  # Groq
    "max_output_tokens",
    "max_output_length",
    "model_info.max_output_tokens",
    "capabilities.limits.max_output_tokens",  # GitHub
    "limits.max_output_tokens",
    "limits.output",
    "output_token_limit",  # Gemini
    "outputTokenLimit",
    "maxOutputTokens",
    "metadata.max_output_tokens",
    "metadata.max_tokens",  # DeepInfra
    "max_completion_length",
    "context_window.max_output_tokens",
    "model_spec.maxCompletionTokens",
    "info.maxTokens",
    "info.max_output_tokens",
    "capabilities.max_output_tokens",
    "providers.max_output_tokens",
    "max_tokens",  # Anthropic, LiteLLM
)


TOKENS_MAX = 1 << 40
"""What says more says nothing."""
_WRITTEN = re.compile(r"(?P<number>\d{1,12}|\d{1,3}(?:,\d{3}){1,3})\s?(?P<unit>[kKmM]?)")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


class ListedLimits(NamedTuple):
    """Tokens; None: it is not said."""

    context_tokens: int | None
    max_output_tokens: int | None


def limits_of(entry: JsonObject) -> ListedLimits:
    """Read the limits in an entry of a list. An output as large as the window is no limit of its own."""
    context = next((tokens for name in _CONTEXT if (tokens := _tokens(entry, name))), None)
    output = next((tokens for name in _OUTPUT if (tokens := _tokens(entry, name))), None)
    return ListedLimits(context, output if output is None or context is None else min(output, context))


def model_info(
    model_id: str, entry: JsonObject, *, provider: str, context_tokens: int, max_output_tokens: int
) -> ModelInfo:
    """Read what an entry of a list says of a model; the numbers are for where it does not say."""
    limits = limits_of(entry)
    output = min(max_output_tokens, limits.context_tokens or max_output_tokens)
    return ModelInfo(
        id=model_id,
        display_name=str(entry.get("display_name") or model_id),
        context_tokens=limits.context_tokens or context_tokens,
        max_output_tokens=limits.max_output_tokens or output,
        provider=provider,
        is_context_guessed=limits.context_tokens is None,
        is_output_guessed=limits.max_output_tokens is None,
    )


def listed_entries(listed: JsonValue) -> Iterator[tuple[str, JsonObject]]:
    """The models of a list and what it says of each, whichever way it is written."""
    entries = listed
    if isinstance(listed, dict):
        entries = next(
            (listed[name] for name in ("data", "models") if isinstance(listed.get(name), list)), None
        )
    for entry in entries if isinstance(entries, list) else []:
        fields: JsonObject = entry if isinstance(entry, dict) else {"id": entry}
        id = next((fields[name] for name in ("id", "model", "name") if fields.get(name)), None)
        if isinstance(id, str):
            yield id, fields


def _tokens(entry: JsonObject, path: str) -> int | None:
    values: list[JsonValue] = [entry]
    for name in path.split("."):
        inner = (value.get(name) for value in values if isinstance(value, dict))
        values = [each for value in inner for each in (value if isinstance(value, list) else [value])]
    counts = [count for value in values if (count := _count(value)) is not None]
    return min(counts, default=None)


def _count(value: JsonValue) -> int | None:
    """A number of tokens, in quotes, with commas, or as people write it (`128k`, `1M`)."""
    if isinstance(value, str):
        written = _WRITTEN.fullmatch(value.strip())
        if written is None:
            return None
        value = int(written["number"].replace(",", "")) * _UNITS[written["unit"].lower()]
    count = count_of(value)
    return count if count is not None and 0 < count <= TOKENS_MAX else None
