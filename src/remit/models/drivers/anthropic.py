"""Anthropic Messages over HTTP, streamed. The canonical form is this protocol's, so little is translated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from urllib.parse import urlsplit

import msgspec

from remit.errors import ModelCallFailed
from remit.models.drivers.anthropic_answer import MessagesAnswer
from remit.models.drivers.anthropic_request import (
    refuses_thinking,
    request_body,
    request_headers,
    thinks_not,
    without_thinking,
)
from remit.models.drivers.limits import listed_entries, model_info
from remit.models.drivers.output_room import smaller_max_tokens
from remit.models.drivers.usage import count_of
from remit.models.http.endpoint import (
    FIRST_BYTE_SECONDS_OWN,
    Endpoint,
    ModelEndpoint,
    ModelTimeouts,
    is_served_here,
    take_all,
)
from remit.schema.claude import claude_model, documented_capabilities
from remit.values import JsonObject, ModelDelta, ModelInfo, ModelRequest, ModelResponse

ANTHROPIC_BASE_URL = "https://api.anthropic.com"
API_VERSION = "2023-06-01"

CONTEXT_TOKENS_DEFAULT = 200_000
OUTPUT_TOKENS_DEFAULT = 32_000
MODELS_PER_PAGE = 1000
_DESCRIBED = ("created_at", "lifecycle", "deprecated_at", "retires_at", "line", "capabilities")
"""What the Models API says of a model beside its limits."""

_COUNTED = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "context_management",
    "cache_control",
)
"""What /v1/messages/count_tokens takes of a request."""


class AnthropicProvider:
    """Anthropic, or a server that speaks its protocol; implements `interfaces.ModelProvider`."""

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeouts: ModelTimeouts | None = None,
        name: str = "anthropic",
        endpoint: Endpoint | None = None,
    ) -> None:
        """With an `endpoint`, everything else is for it to know (see `vendor_sdk`)."""
        self._base_url = base_url or ANTHROPIC_BASE_URL
        headers = {"anthropic-version": API_VERSION}
        if api_key is not None:
            headers["x-api-key"] = api_key
        self._endpoint: Endpoint = endpoint or ModelEndpoint(
            name=name,
            base_url=(base_url or ANTHROPIC_BASE_URL).rstrip("/").removesuffix("/v1"),
            headers=headers,
            timeouts=timeouts or ModelTimeouts(first_byte_seconds=_first_byte_seconds(base_url)),
        )

    def streams_all(self, request: ModelRequest) -> bool:
        """See StreamsAll."""
        return thinks_not(request) or is_served_here(request.model, self._base_url)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """Make one call to /v1/messages; once more without the thinking of before, or for less output, where
        that is what was refused."""
        asked = request
        is_smaller = False
        while True:
            answer = MessagesAnswer(self._endpoint, asked)
            events = self._endpoint.events(
                "/v1/messages",
                request_body(asked),
                outlook=answer.outlook,
                headers=request_headers(request),
                first_byte_seconds=request.first_byte_seconds,
            )
            try:
                async with aclosing(events):
                    async for batch in events:
                        texts, failure = take_all(batch, answer.take)
                        passed_on, is_thinking = answer.passed_on(), answer.begins_to_think()
                        if passed_on or texts or is_thinking:
                            yield ModelDelta(texts=texts, events=passed_on, is_thinking=is_thinking)
                        if failure is not None:
                            raise failure
            except ModelCallFailed as refusal:
                smaller = smaller_max_tokens(refusal.message, asked.max_tokens)
                if asked.messages is request.messages and refuses_thinking(request, refusal):
                    asked = without_thinking(request).limited_to(asked.max_tokens)
                elif (
                    smaller is None
                    or is_smaller
                    or refusal.reason not in ("invalid", "too_long")
                    or refusal.billed != "no"
                ):
                    raise
                else:
                    asked, is_smaller = asked.limited_to(smaller), True
                continue
            yield answer.response()
            return

    def takes(self, field: str) -> bool:
        """Return whether a field is taken: all are but those that only OpenAI's protocols have."""
        return not field.startswith("openai.")

    async def models(self) -> Sequence[ModelInfo]:
        """List the models of the endpoint."""
        listed = await self._endpoint.ask("GET", f"/v1/models?limit={MODELS_PER_PAGE}")
        defaults = {"context_tokens": CONTEXT_TOKENS_DEFAULT, "max_output_tokens": OUTPUT_TOKENS_DEFAULT}
        return [
            msgspec.structs.replace(
                model_info(model_id, entry, provider=self._endpoint.name, **defaults),
                described=_described(model_id, entry),
            )
            for model_id, entry in listed_entries(listed)
        ]

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The endpoint's own count, which costs nothing."""
        body = request_body(request)
        counted = await self._endpoint.ask(
            "POST", "/v1/messages/count_tokens", {key: body[key] for key in _COUNTED if key in body}
        )
        tokens = counted.get("input_tokens") if isinstance(counted, dict) else None
        return count_of(tokens)

    async def close(self) -> None:
        """Close connections."""
        await self._endpoint.close()


def _first_byte_seconds(base_url: str | None) -> float | None:
    host = urlsplit(base_url or ANTHROPIC_BASE_URL).hostname
    return None if host == urlsplit(ANTHROPIC_BASE_URL).hostname else FIRST_BYTE_SECONDS_OWN


def _described(model_id: str, entry: JsonObject) -> JsonObject:
    """What the endpoint says, and where it says nothing, what is documented."""
    known = claude_model(model_id)
    documented: JsonObject = {}
    if known is not None:
        documented = {"line": known.line, "capabilities": documented_capabilities(model_id)}
    return documented | _given({name: entry.get(name) for name in _DESCRIBED})


def _given(fields: JsonObject) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}
