"""OpenAI Responses over HTTP, streamed. Nothing is kept at the vendor: a model's reasoning comes back sealed, stands in
the canonical form as thinking, and goes out again with the next request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec

from remit.errors import ModelCallFailed
from remit.models.http import FOREIGN_SIGNATURE, ModelEndpoint, ModelTimeouts, error_failure, take_all
from remit.models.json_text import read_json
from remit.models.openai import (
    UNPARSED_INPUT,
    is_vendor,
    listed_models,
    openai_endpoint,
    streams_all,
    usage_of,
)
from remit.models.openai_responses_request import TAKEN_FIELDS, responses_body
from remit.models.sse import SseEvent
from remit.values import (
    JsonObject,
    JsonValue,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    StopReason,
    Usage,
)

_LAST = ("response.completed", "response.incomplete", "response.failed", "error")


class OpenAIResponsesProvider:
    """Responses; implements `interfaces.ModelProvider`."""

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeouts: ModelTimeouts | None = None,
        name: str = "openai",
    ) -> None:
        self._is_vendor = is_vendor(base_url)
        self._base_url = base_url
        self._endpoint = openai_endpoint(name, api_key=api_key, base_url=base_url, timeouts=timeouts)

    def streams_all(self, request: ModelRequest) -> bool:
        """See StreamsAll."""
        return streams_all(request.model, self._base_url)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """One call to /responses."""
        answer = _Answer(self._endpoint)
        events = self._endpoint.events(
            "/responses", responses_body(request), is_last=lambda event: event.event in _LAST
        )
        async with aclosing(events):
            async for batch in events:
                texts, failure = take_all(batch, answer.take)
                if texts:
                    yield ModelDelta(texts=texts)
                if failure is not None:
                    raise failure
        yield answer.response(request)

    def takes(self, field: str) -> bool:
        """What `responses_body` has words for."""
        return field in TAKEN_FIELDS

    async def models(self) -> Sequence[ModelInfo]:
        """What the endpoint lists."""
        return await listed_models(self._endpoint, is_vendor=self._is_vendor)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Not asked: the protocol's own count is not said to be free."""
        return None

    async def close(self) -> None:
        """Close connections."""
        await self._endpoint.close()


class _Answer:
    """One answer, as its events come in. The last one holds all of it."""

    def __init__(self, endpoint: ModelEndpoint) -> None:
        self._endpoint = endpoint
        self._has_begun = False
        self._response: JsonObject | None = None

    def take(self, event: SseEvent) -> str | None:
        """Take one event in; the text it brought. Raises ModelCallFailed."""
        try:
            data: JsonValue = read_json(event.data)
        except msgspec.DecodeError as error:
            raise self._garbage("an event that is no JSON") from error
        if not isinstance(data, dict):
            raise self._garbage("an event that is no object")
        match data.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                self._has_begun = True
                return str(data.get("delta") or "")
            case "response.output_item.added":
                self._has_begun = True
            case "response.completed" | "response.incomplete":
                response = data.get("response")
                self._response = response if isinstance(response, dict) else {}
            case "response.failed":
                response = data.get("response")
                error = response.get("error") if isinstance(response, dict) else None
                raise error_failure(self._endpoint, error, is_begun=self._has_begun)
            case "error":
                raise error_failure(self._endpoint, data.get("error") or data, is_begun=self._has_begun)
            case _:
                pass  # what the last event repeats, and kinds of a later version
        return None

    def response(self, request: ModelRequest) -> ModelResponse:
        """The whole answer. Raises ModelCallFailed when it was cut."""
        whole = self._response
        if whole is None:
            raise self._endpoint.failure("broke off the answer", reason="cut", billed="unknown")
        output = whole.get("output")
        is_cut = whole.get("status") == "incomplete"
        blocks = [
            block
            for item in (output if isinstance(output, list) else [])
            if isinstance(item, dict)
            for block in self._blocks(item, is_cut=is_cut)
        ]
        usage = whole.get("usage")
        return ModelResponse(
            content=tuple(blocks),
            stop_reason=_stop_reason(whole, blocks),
            usage=usage_of(usage, input="input_tokens", output="output_tokens")
            if isinstance(usage, dict)
            else Usage(),
            model=str(whole.get("model") or request.model),
            is_usage_known=isinstance(usage, dict),
            provider_id=str(whole["id"]) if whole.get("id") else None,
        )

    def _blocks(self, item: JsonObject, *, is_cut: bool) -> list[JsonObject]:
        match item.get("type"):
            case "message":
                parts = item.get("content")
                texts = [
                    str(part.get("text") or part.get("refusal") or "")
                    for part in (parts if isinstance(parts, list) else [])
                    if isinstance(part, dict)
                ]
                return [{"type": "text", "text": "".join(texts)}] if any(texts) else []
            case "function_call":
                return self._call(item, is_cut=is_cut)
            case "reasoning":
                return [_thinking(item)]
            case kind:
                raise self._garbage(f"an item of the kind {kind!r}, which was not asked for")

    def _call(self, item: JsonObject, *, is_cut: bool) -> list[JsonObject]:
        """The call as a block; none for one that the token limit cut in the middle."""
        written = str(item.get("arguments") or "")
        try:
            arguments: JsonValue = read_json(written) if written.strip() else {}
        except msgspec.DecodeError:
            if is_cut:
                return []
            arguments = written
        known: JsonObject = arguments if isinstance(arguments, dict) else {UNPARSED_INPUT: arguments}
        return [
            {"type": "tool_use", "id": item.get("call_id"), "name": item.get("name"), "input": known},
        ]

    def _garbage(self, what: str) -> ModelCallFailed:
        return self._endpoint.failure(f"sent {what}", reason="garbage", billed="unknown")


def _thinking(item: JsonObject) -> JsonObject:
    """Its signature is the item's id and sealed content, which only this protocol can read."""
    summary = item.get("summary")
    texts = [
        str(part.get("text") or "")
        for part in (summary if isinstance(summary, list) else [])
        if isinstance(part, dict)
    ]
    sealed = item.get("encrypted_content")
    signature = f"{FOREIGN_SIGNATURE}{item.get('id')}:{sealed}" if isinstance(sealed, str) else ""
    return {"type": "thinking", "thinking": "\n\n".join(texts), "signature": signature}


def _stop_reason(whole: JsonObject, blocks: Sequence[JsonObject]) -> StopReason:
    if whole.get("status") == "incomplete":
        details = whole.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return "refusal" if reason == "content_filter" else "max_tokens"
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
