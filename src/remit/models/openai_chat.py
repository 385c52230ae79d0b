"""OpenAI Chat Completions over HTTP, streamed: OpenAI itself, and every server that speaks its protocol (Ollama,
LM Studio, llama.cpp, vLLM)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec

from remit.errors import ModelCallFailed
from remit.models.http import ModelEndpoint, ModelTimeouts, error_failure, take_all
from remit.models.json_actions import action_blocks, action_format, action_request
from remit.models.json_text import read_json
from remit.models.openai import (
    UNPARSED_INPUT,
    is_vendor,
    listed_models,
    openai_endpoint,
    streams_all,
    usage_of,
)
from remit.models.openai_chat_request import TAKEN_FIELDS, chat_body
from remit.models.pieces import Pieces
from remit.models.sse import SseEvent
from remit.models.tool_call_recovery import recover_tool_calls
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

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class OpenAIChatProvider:
    """Chat Completions; implements `interfaces.ModelProvider`."""

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeouts: ModelTimeouts | None = None,
        name: str = "openai",
        uses_json_actions: bool = False,
    ) -> None:
        """With `uses_json_actions`, tools are put to the model as one JSON action (see `json_actions`)."""
        self._uses_json_actions = uses_json_actions
        self._is_vendor = is_vendor(base_url)
        self._base_url = base_url
        self._endpoint = openai_endpoint(name, api_key=api_key, base_url=base_url, timeouts=timeouts)

    def streams_all(self, request: ModelRequest) -> bool:
        """See StreamsAll."""
        return streams_all(request.model, self._base_url)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """One call to /chat/completions."""
        answer = _Answer(self._endpoint)
        is_action = self._uses_json_actions and bool(request.tools)
        sent = action_request(request) if is_action else request
        body = chat_body(sent, is_vendor=self._is_vendor)
        if is_action:
            body["response_format"] = action_format(request.tools, request.tool_choice)
        events = self._endpoint.events("/chat/completions", body, is_last=_is_done)
        async with aclosing(events):
            async for batch in events:
                texts, failure = take_all(batch, answer.take)
                if texts and not is_action:  # half an action is nothing to look at
                    yield ModelDelta(texts=texts)
                if failure is not None:
                    raise failure
        response = answer.response(sent, recovers_calls=not self._is_vendor)
        yield _as_action(response, request) if is_action else response

    async def models(self) -> Sequence[ModelInfo]:
        """What the endpoint lists."""
        return await listed_models(self._endpoint, is_vendor=self._is_vendor)

    def takes(self, field: str) -> bool:
        """What `chat_body` has words for."""
        return field in TAKEN_FIELDS

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The protocol cannot tell."""
        return None

    async def close(self) -> None:
        """Close connections."""
        await self._endpoint.close()


def _as_action(response: ModelResponse, request: ModelRequest) -> ModelResponse:
    """The answer with the action that its text is, where it was not cut."""
    if response.stop_reason != "end_turn":
        return response
    text = "".join(str(block.get("text") or "") for block in response.content)
    content = action_blocks(text, request.tools, call_id=f"call_{response.provider_id}_0")
    is_use = any(block["type"] == "tool_use" for block in content)
    return msgspec.structs.replace(
        response, content=content, stop_reason="tool_use" if is_use else response.stop_reason
    )


class _Call:
    """A tool call, as its pieces come in."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class _Answer:
    """One answer, as its chunks come in."""

    def __init__(self, endpoint: ModelEndpoint) -> None:
        self._endpoint = endpoint
        self._id = ""
        self._model = ""
        self._text = Pieces()
        self._is_refused = False
        self._calls: dict[int, _Call] = {}
        self._finish_reason: str | None = None
        self._usage: JsonObject | None = None

    def take(self, event: SseEvent) -> str | None:
        """Take one chunk in; the text it brought. Raises ModelCallFailed."""
        if _is_done(event):
            return None
        try:
            chunk: JsonValue = read_json(event.data)
        except msgspec.DecodeError as error:
            raise self._garbage("a chunk that is no JSON") from error
        if not isinstance(chunk, dict):
            raise self._garbage("a chunk that is no object")
        if chunk.get("error") is not None:
            is_begun = bool(self._id or self._text.text() or self._calls)
            raise error_failure(self._endpoint, chunk["error"], is_begun=is_begun)
        self._id = self._id or str(chunk.get("id") or "")
        self._model = self._model or str(chunk.get("model") or "")
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return None
        if isinstance(finish_reason := choice.get("finish_reason"), str):
            self._finish_reason = finish_reason
        delta = choice.get("delta")
        return self._take_delta(delta) if isinstance(delta, dict) else None

    def response(self, request: ModelRequest, *, recovers_calls: bool) -> ModelResponse:
        """The whole answer. Raises ModelCallFailed when it was cut."""
        if self._finish_reason is None:
            raise self._endpoint.failure("broke off the answer", reason="cut", billed="unknown")
        stop_reason = _STOP_REASONS.get(self._finish_reason)
        if stop_reason is None:
            raise self._garbage(f"the unknown finish_reason {self._finish_reason!r}")
        text = self._text.text()
        uses = self._tool_uses(is_cut=stop_reason == "max_tokens")
        if recovers_calls and not uses and request.tools and stop_reason == "end_turn":
            recovered = recover_tool_calls(text, frozenset(str(tool.get("name")) for tool in request.tools))
            text = recovered.text
            uses = [self._use(index, "", call.name, call.input) for index, call in enumerate(recovered.calls)]
        if self._is_refused:
            stop_reason = "refusal"
        elif uses and stop_reason == "end_turn":
            stop_reason = "tool_use"  # several servers say "stop" after a call
        texts: list[JsonObject] = [{"type": "text", "text": text}] if text else []
        return ModelResponse(
            content=(*texts, *uses),
            stop_reason=stop_reason,
            usage=Usage()
            if self._usage is None
            else usage_of(self._usage, input="prompt_tokens", output="completion_tokens"),
            model=self._model or request.model,
            is_usage_known=self._usage is not None,
            provider_id=self._id or None,
        )

    def _take_delta(self, delta: JsonObject) -> str | None:
        calls = delta.get("tool_calls")
        for piece in calls if isinstance(calls, list) else []:
            if isinstance(piece, dict):
                self._take_call(piece)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._is_refused = True
            self._text.add(refusal)
            return refusal
        # Reasoning (`reasoning_content`) is not kept: nothing can be done with it later, see openai_chat_request.
        if isinstance(text := delta.get("content"), str) and text:
            self._text.add(text)
            return text
        return None

    def _take_call(self, piece: JsonObject) -> None:
        index = piece.get("index")
        call = self._calls.setdefault(index if isinstance(index, int) else len(self._calls), _Call())
        function = piece.get("function")
        call.id = call.id or str(piece.get("id") or "")
        if isinstance(function, dict):
            call.name = call.name or str(function.get("name") or "")
            call.arguments.append(str(function.get("arguments") or ""))

    def _tool_uses(self, *, is_cut: bool) -> list[JsonObject]:
        """The calls as blocks; one that the token limit cut in the middle is not there."""
        uses: list[JsonObject] = []
        for index, call in sorted(self._calls.items()):
            written = "".join(call.arguments)
            try:
                arguments: JsonValue = read_json(written) if written.strip() else {}
            except msgspec.DecodeError:
                if is_cut:
                    continue
                arguments = written
            known: JsonObject = arguments if isinstance(arguments, dict) else {UNPARSED_INPUT: arguments}
            uses.append(self._use(index, call.id, call.name, known))
        return uses

    def _use(self, index: int, call_id: str, name: str, input: JsonObject) -> JsonObject:
        # Some servers give no ids; ours must be unique in the conversation.
        return {"type": "tool_use", "id": call_id or f"call_{self._id}_{index}", "name": name, "input": input}

    def _garbage(self, what: str) -> ModelCallFailed:
        return self._endpoint.failure(f"sent {what}", reason="garbage", billed="unknown")


def _is_done(event: SseEvent) -> bool:
    return event.data == b"[DONE]"
