"""OpenAI Responses over HTTP, streamed. Nothing is kept at the vendor: a model's reasoning comes back sealed, stands in
the canonical form as thinking, and goes out again with the next request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec
import structlog

from remit.errors import ModelCallFailed
from remit.models.drivers.openai import (
    FOR_THE_VENDOR,
    is_vendor,
    listed_models,
    openai_endpoint,
    streams_all,
    without_effort,
)
from remit.models.drivers.openai_responses_request import (
    REASONING,
    SIGNATURE,
    TAKEN_FIELDS,
    refused_part,
    responses_body,
)
from remit.models.drivers.output_room import smaller_max_tokens
from remit.models.drivers.pieces import Pieces
from remit.models.drivers.tool_calls import CallIds, input_of, tool_name
from remit.models.drivers.usage import UsageReports
from remit.models.http.endpoint import ModelEndpoint, ModelTimeouts, Outlook, take_all
from remit.models.http.failures import error_failure, error_in
from remit.models.http.reading import document_of, is_done
from remit.models.http.sse import SseEvent
from remit.values import (
    UNPARSED_INPUT,
    JsonObject,
    JsonValue,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    StopReason,
)

log = structlog.get_logger(__name__)


ASKED_MAX = 5
"""Requests for one answer: a server may refuse what was thought before, a field, how hard to think, and then how much may be
answered."""


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
        self._left_out: dict[str, frozenset[str]] = {}
        """Fields that each model is known not to take."""
        self._endpoint = openai_endpoint(name, api_key=api_key, base_url=base_url, timeouts=timeouts)

    def streams_all(self, request: ModelRequest) -> bool:
        """See StreamsAll."""
        return streams_all(request.model, self._base_url)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """Make one call to /responses."""
        without: frozenset[str] = frozenset()
        for left in reversed(range(ASKED_MAX)):
            answer = ResponsesAnswer(self._endpoint, request)
            left_out = self._left_out.get(request.model, frozenset[str]()) | without
            events = self._endpoint.events(
                "/responses",
                responses_body(request, left_out=left_out),
                outlook=answer.outlook,
                first_byte_seconds=request.first_byte_seconds,
            )
            try:
                async with aclosing(events):
                    async for batch in events:
                        texts, failure = take_all(batch, answer.take)
                        if texts:
                            yield ModelDelta(texts=texts)
                        if failure is not None:
                            raise failure
            except ModelCallFailed as refusal:
                # A refusal costs nothing: once more for as much as the server can answer, if that is what it was about.
                if not left or refusal.reason not in ("invalid", "too_long") or refusal.billed != "no":
                    raise
                part = refused_part(refusal.message)
                if part == "service_tier" and self._is_vendor:
                    raise  # without it the call may cost more than is held
                if part is not None and part not in left_out:
                    if part == REASONING:
                        without |= {part}
                    else:
                        self._left_out[request.model] = left_out - {REASONING} | {part}
                    continue
                smaller = smaller_max_tokens(refusal.message, request.max_tokens)
                plain = without_effort(request, refusal.message)
                if plain is None and smaller is None:
                    raise
                request = plain or msgspec.structs.replace(request, max_tokens=smaller)
                continue
            yield answer.response()
            return

    def takes(self, field: str) -> bool:
        """Return whether a field is taken: `responses_body` has words for it, and the server knows it."""
        return field in TAKEN_FIELDS and (self._is_vendor or field not in FOR_THE_VENDOR)

    async def models(self) -> Sequence[ModelInfo]:
        """List the models of the endpoint."""
        return await listed_models(self._endpoint, is_vendor=self._is_vendor)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Return None: the protocol's own count is not said to be free, so it is not asked."""
        return None

    async def close(self) -> None:
        """Close connections."""
        await self._endpoint.close()


class ResponsesAnswer:
    """One answer, as its events come in. The last one should hold all of it; what it leaves out was said before."""

    def __init__(self, endpoint: ModelEndpoint, request: ModelRequest) -> None:
        self._endpoint = endpoint
        self._request = request
        self._names = frozenset(str(tool.get("name")) for tool in request.tools)
        self._has_begun = False
        self._items: dict[str, JsonObject] = {}
        """By their place in the answer: the number that they got, or their own id."""
        self._places: dict[str, str] = {}
        """Of each item by its id, and of the newest one by its number: servers exist that leave one of them out of some
        events, or count all items as one."""
        self._newest_place = "0"
        self._pieces: dict[tuple[str, str], Pieces] = {}
        self._usage = UsageReports()
        self._response: JsonObject | None = None

    def outlook(self) -> Outlook:
        """Return how far the answer is."""
        if self._response is not None:
            return "whole"
        return "begun" if self._has_begun else "waiting"

    def take(self, event: SseEvent) -> str | None:
        """Take one event in; the text it brought. Raises ModelCallFailed."""
        if self._response is not None:
            return None
        if (
            is_done(event) and self._has_begun
        ):  # of another protocol, by servers that leave the last event out
            self._response = {}
        data = document_of(self._endpoint, event)
        if data is None:
            return None
        match data.get("type") or event.event:
            case "response.output_text.delta" | "response.refusal.delta":
                return self._piece(data, "text")
            case "response.function_call_arguments.delta":
                self._piece(data, "arguments")
            case "response.function_call_arguments.done":
                self._take_arguments(data)
            case "response.output_text.done" | "response.refusal.done":
                self._take_text(data, data.get("text") or data.get("refusal"))
            case "response.content_part.done":
                self._take_text(data, _text_in([data.get("part")]))
            case "response.output_item.added" | "response.output_item.done":
                self._has_begun = True
                if isinstance(item := data.get("item"), dict):
                    place = self._place(data, item)
                    self._items[place] = self._items.get(place, {}) | item
            case "response.completed" | "response.incomplete" | "response.done" | "response.failed":
                response = data.get("response")
                self._take_last(response if isinstance(response, dict) else {}, data)
            case _ if data.get("status") in ("in_progress", "queued"):
                return None
            case _ if data.get("object") == "response" or "output" in data:
                self._take_last(data, data)
            case "error":
                error = data.get("error") or data
                raise error_failure(self._endpoint, error, is_begun=self._has_begun)
            case _:
                if (error := error_in(data)) is not None and "response" not in data:
                    raise error_failure(self._endpoint, error, is_begun=self._has_begun)
        return None

    def response(self) -> ModelResponse:
        """The whole answer. Raises ModelCallFailed when it was cut."""
        whole = self._response
        if whole is None:
            raise self._endpoint.failure("broke off the answer", reason="cut", billed="unknown")
        is_cut = whole.get("status") == "incomplete"
        ids = CallIds(self._request)
        output = whole.get("output")
        listed = _distinct(
            [item for item in (output if isinstance(output, list) else []) if isinstance(item, dict)]
        )
        seen = self._items_seen()
        blocks = [
            block
            for number, item in enumerate(listed if len(listed) >= len(seen) else seen)
            if (block := self._block(item, number, ids, is_cut=is_cut)) is not None
        ]
        if not any(block["type"] != "thinking" for block in blocks) and not is_cut:
            # Nothing was said but what another field says, or what a server takes for reasoning.
            said = whole.get("output_text") or "".join(str(block.get("thinking") or "") for block in blocks)
            if isinstance(said, str) and said.strip():
                blocks.append({"type": "text", "text": said})
        counted = self._usage.counted()
        return ModelResponse(
            content=tuple(blocks),
            stop_reason=_stop_reason(whole, blocks),
            usage=counted.usage,
            model=str(whole.get("model") or self._request.model),
            is_usage_known=counted.is_known,
            provider_id=str(whole["id"]) if whole.get("id") else None,
        )

    def _take_last(self, response: JsonObject, data: JsonObject) -> None:
        if response.get("status") == "failed" or data.get("type") == "response.failed":
            raise error_failure(self._endpoint, response.get("error"), is_begun=self._has_begun)
        self._usage.take(response.get("usage") or data.get("usage"))
        self._response = response

    def _piece(self, data: JsonObject, kind: str) -> str:
        self._has_begun = True
        piece = str(data.get("delta") or "")
        self._pieces.setdefault((self._place(data), kind), Pieces()).add(piece)
        return piece

    def _take_text(self, data: JsonObject, text: JsonValue) -> None:
        """Take a text that came whole, where no piece of it came before."""
        key = (self._place(data), "text")
        if isinstance(text, str) and text and key not in self._pieces:
            self._has_begun = True
            self._pieces.setdefault(key, Pieces()).add(text)

    def _take_arguments(self, data: JsonObject) -> None:
        item = self._items.setdefault(self._place(data), {})
        item["arguments"] = data.get("arguments")
        if isinstance(name := data.get("name"), str):
            item.setdefault("type", "function_call")
            item.setdefault("name", name)

    def _place(self, data: JsonObject, item: JsonObject | None = None) -> str:
        """Where in the answer an event belongs."""
        number, id = data.get("output_index"), data.get("item_id")
        if item is not None:
            id = item.get("id") or id
        if not isinstance(id, str) or not id:
            return self._newest_place if number is None else self._places.get(f"#{number}", str(number))
        if id not in self._places:
            place = id if number is None else str(number)
            is_taken = place in self._places.values()
            self._places[id] = f"{place}.{len(self._places)}" if is_taken else place
            self._places[f"#{number}"] = self._newest_place = self._places[id]
        return self._places[id]

    def _items_seen(self) -> list[JsonObject]:
        """The items as their own events told them, the pieces where they are all that came."""
        seen: list[JsonObject] = []
        places = dict.fromkeys([*self._items, *(place for place, _ in self._pieces)])
        for place in sorted(places, key=_order):
            item: JsonObject = self._items.get(place, {"type": "message"})
            text, arguments = self._pieces.get((place, "text")), self._pieces.get((place, "arguments"))
            if item.get("type") == "message" and not item.get("content") and text is not None:
                item = {**item, "content": text.text()}
            if not item.get("arguments") and arguments is not None:
                item = {**item, "arguments": arguments.text()}
            seen.append(item)
        return seen

    def _block(self, item: JsonObject, number: int, ids: CallIds, *, is_cut: bool) -> JsonObject | None:
        match item.get("type"):
            case "message":
                text = _text_in(item.get("content"))
                return {"type": "text", "text": text} if text.strip() else None
            case "function_call":
                input = input_of(item.get("arguments"))
                if is_cut and UNPARSED_INPUT in input:  # the token limit cut it in the middle
                    return None
                id = ids.new(item.get("call_id") or item.get("id"), otherwise=f"call_{number}")
                name = tool_name(item.get("name"), self._names)
                return {"type": "tool_use", "id": id, "name": name, "input": input}
            case "reasoning":
                return _thinking(item)
            case kind:
                log.info("model_item_unknown", provider=self._endpoint.name, kind=str(kind))
                return None


def _order(place: str) -> float:
    """Of places; those that are no numbers come last, as they came."""
    try:
        return float(place)
    except ValueError:
        return float("inf")


def _distinct(items: list[JsonObject]) -> list[JsonObject]:
    """The items without those that are there already, word for word and by their own id."""
    return [item for number, item in enumerate(items) if not item.get("id") or item not in items[:number]]


def _text_in(parts: JsonValue) -> str:
    """The text of a list of parts, or what stands in place of one."""
    if isinstance(parts, str):
        return parts
    return "".join(
        str(part.get("text") or part.get("refusal") or "")
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(part, dict)
    )


def _thinking(item: JsonObject) -> JsonObject:
    """Its signature is the item's id and sealed content, which only this protocol can read."""
    parts = item.get("summary") or item.get("content")
    texts = [_text_in([part]) for part in (parts if isinstance(parts, list) else [])]
    sealed = item.get("encrypted_content")
    signature = f"{SIGNATURE}{item.get('id')}:{sealed}" if isinstance(sealed, str) else ""
    return {"type": "thinking", "thinking": "\n\n".join(texts), "signature": signature}


def _stop_reason(whole: JsonObject, blocks: Sequence[JsonObject]) -> StopReason:
    if whole.get("status") == "incomplete":
        details = whole.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return "refusal" if reason == "content_filter" else "max_tokens"
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
