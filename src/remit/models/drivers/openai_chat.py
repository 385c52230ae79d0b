"""OpenAI Chat Completions over HTTP, streamed: OpenAI itself, and every server that speaks its protocol (Ollama,
LM Studio, llama.cpp, vLLM)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec

from remit.errors import ModelCallFailed
from remit.models.drivers.insistences import Insistence, insistence_in
from remit.models.drivers.json_actions import action_blocks, action_format, action_request
from remit.models.drivers.openai import (
    FOR_THE_VENDOR,
    is_vendor,
    listed_models,
    openai_endpoint,
    streams_all,
    without_effort,
)
from remit.models.drivers.openai_chat_answer import ChatAnswer
from remit.models.drivers.openai_chat_request import TAKEN_FIELDS, chat_body
from remit.models.drivers.output_room import smaller_max_tokens
from remit.models.drivers.reasoning import Told, retold
from remit.models.http.endpoint import ModelTimeouts, take_all
from remit.values import ModelDelta, ModelInfo, ModelRequest, ModelResponse

ASKED_MAX = 8
"""Requests for one answer: a server may refuse the ids, the order of messages, the reasoning in them, how hard to think, how
much may be answered, a field. A refusal costs nothing."""


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
        self._told: dict[str, Told] = {}
        """How each model's reasoning goes back to it, where that is not as it came."""
        self._insisted: dict[str, frozenset[Insistence]] = {}
        """What else each model's server wants."""
        self._effortless: set[str] = set()
        """Models that are not to be told how hard to think."""
        self._base_url = base_url
        self._endpoint = openai_endpoint(name, api_key=api_key, base_url=base_url, timeouts=timeouts)

    def streams_all(self, request: ModelRequest) -> bool:
        """See StreamsAll."""
        return streams_all(request.model, self._base_url)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """Make one call to /chat/completions."""
        is_action = self._uses_json_actions and bool(request.tools)
        asked = action_request(request) if is_action else request
        if asked.model in self._effortless:
            asked = msgspec.structs.replace(asked, effort=None)
        for left in reversed(range(ASKED_MAX)):
            told = self._told.get(asked.model, "as it came")
            body = chat_body(
                asked,
                is_vendor=self._is_vendor,
                provider=self._endpoint.name,
                told=told,
                insisted=self._insisted.get(asked.model, frozenset()),
            )
            if is_action:
                body["response_format"] = action_format(request.tools, request.tool_choice)
            answer = ChatAnswer(self._endpoint, asked)
            events = self._endpoint.events(
                "/chat/completions",
                body,
                outlook=answer.outlook,
                first_byte_seconds=request.first_byte_seconds,
            )
            try:
                async with aclosing(events):
                    async for batch in events:
                        texts, failure = take_all(batch, answer.take)
                        is_thinking = answer.begins_to_think()
                        if is_action:  # half an action is nothing to look at
                            texts = ()
                        if texts or is_thinking:
                            yield ModelDelta(texts=texts, is_thinking=is_thinking)
                        if failure is not None:
                            raise failure
            except ModelCallFailed as refusal:
                if not left:
                    raise
                asked = self._asked_anew(asked, refusal)
                continue
            response = answer.response(recovers_calls=not self._is_vendor)
            yield _as_action(response, request) if is_action else response
            return

    def _asked_anew(self, asked: ModelRequest, refusal: ModelCallFailed) -> ModelRequest:
        """The request as the server says that it should have been. Raises the refusal where it does not say."""
        insistence = insistence_in(refusal.message)
        insisted = self._insisted.get(asked.model, frozenset[Insistence]())
        if insistence is not None and insistence not in insisted and refusal.billed == "no":
            self._insisted[asked.model] = insisted.union((insistence,))
            return asked
        if refusal.reason not in ("invalid", "too_long") or refusal.billed != "no":
            raise refusal
        told = self._told.get(asked.model, "as it came")
        if (other := retold(refusal.message, told)) is not None:
            self._told[asked.model] = other
            return asked
        if (plain := without_effort(asked, refusal.message)) is not None:
            self._effortless.add(asked.model)
            return plain
        smaller = smaller_max_tokens(refusal.message, asked.max_tokens)
        if smaller is None:
            raise refusal
        return msgspec.structs.replace(asked, max_tokens=smaller)

    async def models(self) -> Sequence[ModelInfo]:
        """List the models of the endpoint."""
        return await listed_models(self._endpoint, is_vendor=self._is_vendor)

    def takes(self, field: str) -> bool:
        """Return whether a field is taken: `chat_body` has words for it, and the server knows it."""
        return field in TAKEN_FIELDS and (self._is_vendor or field not in FOR_THE_VENDOR)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Return None: the protocol cannot tell."""
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
