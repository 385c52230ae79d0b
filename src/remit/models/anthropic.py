"""Anthropic Messages over HTTP, streamed. The canonical form is this protocol's, so little is translated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Literal

import msgspec

from remit.errors import ModelCallFailed
from remit.models.anthropic_request import (
    refuses_thinking,
    request_body,
    request_headers,
    thinks_not,
    without_thinking,
)
from remit.models.http import (
    Endpoint,
    ModelEndpoint,
    ModelTimeouts,
    error_failure,
    is_served_here,
    take_all,
)
from remit.models.json_text import read_json
from remit.models.pieces import Pieces
from remit.models.sse import SseEvent
from remit.schema.claude import claude_model, documented_capabilities
from remit.values import (
    JsonObject,
    JsonValue,
    MessageEvent,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    StopReason,
    Usage,
)

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
_PASSED_ON = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
)

_IN_PIECES = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
}
"""The field of each kind of delta that is a piece of a longer text."""
_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
}


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
            timeouts=timeouts or ModelTimeouts(),
        )

    def streams_all(self, request: ModelRequest) -> bool:
        """See StreamsAll."""
        return thinks_not(request) or is_served_here(request.model, self._base_url)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """One call to /v1/messages; once more without the thinking of before where that is what was refused."""
        answer = _Answer(self._endpoint, keeps_events=request.wants_events)
        asked = request
        while True:
            events = self._endpoint.events(
                "/v1/messages",
                request_body(asked),
                is_last=lambda event: event.event == "message_stop",
                headers=request_headers(request),
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
                if asked is not request or not refuses_thinking(request, refusal):
                    raise
                asked = without_thinking(request)
                continue
            yield answer.response()
            return

    def takes(self, field: str) -> bool:
        """All but what only OpenAI's protocols have."""
        return not field.startswith("openai.")

    async def models(self) -> Sequence[ModelInfo]:
        """What the endpoint lists."""
        listed = await self._endpoint.ask("GET", f"/v1/models?limit={MODELS_PER_PAGE}")
        data = listed.get("data") if isinstance(listed, dict) else None
        return [
            ModelInfo(
                id=model_id,
                display_name=str(entry.get("display_name") or model_id),
                context_tokens=_integer(entry.get("max_input_tokens")) or CONTEXT_TOKENS_DEFAULT,
                max_output_tokens=_integer(entry.get("max_tokens")) or OUTPUT_TOKENS_DEFAULT,
                provider=self._endpoint.name,
                described=_described(model_id, entry),
            )
            for entry in (data if isinstance(data, list) else [])
            if isinstance(entry, dict) and isinstance(model_id := entry.get("id"), str)
        ]

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The endpoint's own count, which costs nothing."""
        body = request_body(request)
        counted = await self._endpoint.ask(
            "POST", "/v1/messages/count_tokens", {key: body[key] for key in _COUNTED if key in body}
        )
        tokens = counted.get("input_tokens") if isinstance(counted, dict) else None
        return tokens if isinstance(tokens, int) else None

    async def close(self) -> None:
        """Close connections."""
        await self._endpoint.close()


def _described(model_id: str, entry: JsonObject) -> JsonObject:
    """What the endpoint says, and where it says nothing, what is documented."""
    known = claude_model(model_id)
    documented: JsonObject = {}
    if known is not None:
        documented = {"line": known.line, "capabilities": documented_capabilities(model_id)}
    return documented | _given({name: entry.get(name) for name in _DESCRIBED})


# ------------------------------------------------------------------------------------------ the answer


class _Answer:
    """One answer, as its events come in."""

    def __init__(self, endpoint: Endpoint, *, keeps_events: bool) -> None:
        self._endpoint = endpoint
        self._keeps_events = keeps_events
        self._events: list[MessageEvent] = []
        self._message: JsonObject = {}
        self._blocks: dict[int, JsonObject] = {}
        self._pieces: dict[tuple[int, str], Pieces] = {}
        """Of each block and each field that comes in pieces."""
        self._usage: JsonObject = {}
        self._has_final_usage = False
        self._stop_reason: str | None = None
        self._stop_details: JsonObject | None = None
        self._is_complete = False
        self._thinking: Literal["no", "begun", "told"] = "no"

    def take(self, event: SseEvent) -> str | None:
        """Take one event in; the text it brought. Raises ModelCallFailed."""
        try:
            data: JsonValue = read_json(event.data)
        except msgspec.DecodeError as error:
            raise self._garbage("an event that is no JSON") from error
        if not isinstance(data, dict):
            raise self._garbage("an event that is no object")
        text = self._take(data)
        if self._keeps_events and data.get("type") in _PASSED_ON:
            is_line = b"\n" not in event.data and b"\r" not in event.data
            self._events.append(MessageEvent(fields=data, encoded=event.data if is_line else None))
        return text

    def passed_on(self) -> tuple[MessageEvent, ...]:
        """The events that were taken in since the last time, if they are wanted."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def begins_to_think(self) -> bool:
        """Whether the model has begun to think since the last time; once an answer."""
        if self._thinking != "begun":
            return False
        self._thinking = "told"
        return True

    def _take(self, data: JsonObject) -> str | None:
        """The text an event brought."""
        match data.get("type"):
            case "content_block_delta":
                return self._take_delta(self._index(data), _object(data.get("delta")))
            case "message_start":
                self._message = self._begun_message(data)
                self._usage |= _given(_object(self._message.get("usage")))
            case "content_block_start":
                block = self._blocks[self._index(data)] = self._begun_block(data)
                if self._thinking == "no" and block.get("type") in ("thinking", "redacted_thinking"):
                    self._thinking = "begun"
            case "message_delta":
                self._take_end(_object(data.get("delta")), data.get("usage"))
                # Beside `delta`, it says more about the message (`context_management`).
                self._message |= {
                    name: value for name, value in data.items() if name not in ("type", "delta", "usage")
                }
            case "message_stop":
                self._is_complete = True
            case "error":
                raise error_failure(self._endpoint, data.get("error"), is_begun=bool(self._message))
            case _:
                pass  # ping, content_block_stop, and kinds of a later version, which the protocol says to pass over
        return None

    def response(self) -> ModelResponse:
        """The whole answer. Raises ModelCallFailed when it was cut."""
        if not self._is_complete or self._stop_reason is None:
            raise self._endpoint.failure("broke off the answer", reason="cut", billed="unknown")
        stop_reason = _STOP_REASONS.get(self._stop_reason)
        if stop_reason is None:
            raise self._garbage(f"the unknown stop reason {self._stop_reason!r}")
        is_cut = stop_reason == "max_tokens"
        blocks = [self._finished_block(index, is_cut=is_cut) for index in sorted(self._blocks)]
        return ModelResponse(
            content=tuple(block for block in blocks if block is not None),
            stop_reason=stop_reason,
            usage=_usage(self._usage),
            model=str(self._message.get("model") or ""),
            is_usage_known=self._has_final_usage and _integer(self._usage.get("input_tokens")) is not None,
            provider_id=str(self._message["id"]) if self._message.get("id") else None,
            stop_details=self._stop_details,
            raw={
                **{name: value for name, value in self._message.items() if name != "content"},
                "usage": self._usage,
            },
        )

    def _take_delta(self, index: int, delta: JsonObject) -> str | None:
        if index not in self._blocks:
            raise self._garbage(f"a piece of block {index}, which was never begun")
        kind = delta.get("type")
        if kind == "citations_delta":
            block = self._blocks[index]
            citations = block.get("citations")
            block["citations"] = [*(citations if isinstance(citations, list) else []), delta.get("citation")]
            return None
        name = _IN_PIECES.get(kind) if isinstance(kind, str) else None
        if name is None:
            raise self._garbage(f"a piece of the unknown kind {kind!r}")
        piece = str(delta.get(name) or "")
        pieces = self._pieces.get((index, name))
        if pieces is None:
            pieces = self._pieces[index, name] = Pieces()
        pieces.add(piece)
        return piece if name == "text" else None

    def _take_end(self, delta: JsonObject, usage: JsonValue) -> None:
        stop_reason = delta.get("stop_reason")
        self._stop_reason = stop_reason if isinstance(stop_reason, str) else None
        self._message |= delta
        details = delta.get("stop_details")
        self._stop_details = details if isinstance(details, dict) else None
        if isinstance(usage, dict):
            self._usage |= _given(usage)
            self._has_final_usage = _integer(usage.get("output_tokens")) is not None

    def _finished_block(self, index: int, *, is_cut: bool) -> JsonObject | None:
        """The block with its pieces joined and its input parsed; None for a tool use that the token limit cut in the
        middle."""
        block = self._blocks[index]
        for name in ("text", "thinking", "signature"):
            if pieces := self._pieces.get((index, name)):
                block[name] = str(block.get(name) or "") + pieces.text()
        written = self._pieces.get((index, "partial_json"))
        if written is None:
            return block
        encoded = written.text()
        try:
            parsed: JsonValue = read_json(encoded) if encoded else {}
        except msgspec.DecodeError as error:
            if is_cut:
                return None
            raise self._garbage("a tool input that is no JSON") from error
        if not isinstance(parsed, dict):
            raise self._garbage("a tool input that is no object")
        return {**block, "input": parsed}

    def _begun_message(self, data: JsonObject) -> JsonObject:
        message = data.get("message")
        if not isinstance(message, dict):
            raise self._garbage("a message that is no object")
        return message

    def _begun_block(self, data: JsonObject) -> JsonObject:
        block = data.get("content_block")
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise self._garbage("a block of no type")
        if block["type"] == "tool_use" and not (
            isinstance(block.get("id"), str) and isinstance(block.get("name"), str)
        ):
            raise self._garbage("a tool use without an id and a name")
        return dict(block)

    def _index(self, data: JsonObject) -> int:
        index = data.get("index")
        if not isinstance(index, int):
            raise self._garbage("a block without an index")
        return index

    def _garbage(self, what: str) -> ModelCallFailed:
        return self._endpoint.failure(f"sent {what}", reason="garbage", billed="unknown")


def _usage(reported: JsonObject) -> Usage:
    """What was used. The top level leaves some iterations out (compaction), so their sum counts where it is more."""
    top = _plain_usage(reported)
    iterations = reported.get("iterations")
    total = Usage()
    for iteration in iterations if isinstance(iterations, list) else []:
        part = _plain_usage(_object(iteration))
        total = Usage(
            **{name: getattr(total, name) + getattr(part, name) for name in Usage.__struct_fields__}
        )
    return total if total.total_tokens > top.total_tokens else top


def _plain_usage(reported: JsonObject) -> Usage:
    by_ttl = _object(reported.get("cache_creation"))
    written_1h = _integer(by_ttl.get("ephemeral_1h_input_tokens")) or 0
    written = _integer(reported.get("cache_creation_input_tokens")) or 0
    written_5m = _integer(by_ttl.get("ephemeral_5m_input_tokens")) or 0
    return Usage(
        input_tokens=_integer(reported.get("input_tokens")) or 0,
        output_tokens=_integer(reported.get("output_tokens")) or 0,
        cache_read_input_tokens=_integer(reported.get("cache_read_input_tokens")) or 0,
        cache_creation_5m_input_tokens=max(written_5m, written - written_1h),
        cache_creation_1h_input_tokens=written_1h,
    )


def _given(fields: JsonObject) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _integer(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
