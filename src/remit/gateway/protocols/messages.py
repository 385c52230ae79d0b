"""The Messages protocol, which is also the canonical form: requests in, answers and their events out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import msgspec

from remit.schema.messages import GivenMessages
from remit.values import JsonObject, JsonValue, MessageEvent, ModelDelta, ModelRequest, ModelResponse, Usage

BILLING_NOTE = "x-anthropic-billing-header:"
"""How a block of Claude Code's system prompt begins that is for Anthropic alone. It differs from call to call, so with it
no other server could keep a prompt in its cache."""
COUNTED_MAX_TOKENS = 1
"""What a request has that is only counted: it asks for no answer."""


def request_from_messages(given: GivenMessages, *, betas: Sequence[str] = ()) -> ModelRequest:
    """The canonical request; nothing is left out and nothing is added."""
    known = given.known
    fields: JsonObject = dict(given.further)
    system = known.system if isinstance(known.system, str) else None
    if known.system is not None and not isinstance(known.system, str):
        fields["system"] = list[JsonValue](known.system)
        texts = [str(block.get("text") or "") for block in known.system]
        system = "\n\n".join(text for text in texts if not text.startswith(BILLING_NOTE)) or None
    output = dict(known.output_config or {})
    effort = output.pop("effort", None)
    for name, value in output.items():
        if name == "format":
            fields["output_config"] = {name: value}
        else:
            fields[f"output_config.{name}"] = value
    return ModelRequest(
        model=known.model,
        messages=known.messages,
        max_tokens=known.max_tokens or COUNTED_MAX_TOKENS,
        system=system,
        tools=known.tools,
        tool_choice=known.tool_choice,
        temperature=known.temperature,
        effort=effort if isinstance(effort, str) else None,
        stop_sequences=known.stop_sequences,
        is_cached=False,  # what is cached is the caller's choice
        fields=fields,
        betas=tuple(betas),
    )


def message_of(response: ModelResponse, message_id: str) -> JsonObject:
    """The finished answer, as POST /v1/messages gives it."""
    message: JsonObject = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": response.model,
        "content": list(response.content),
        **_ending(response),
        "container": None,
        "usage": usage_of(response.usage),
    }
    return {**message, **response.raw}


def usage_of(usage: Usage) -> JsonObject:
    """Usage in the protocol's words."""
    written_5m, written_1h = usage.cache_creation_5m_input_tokens, usage.cache_creation_1h_input_tokens
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written_5m,
            "ephemeral_1h_input_tokens": written_1h,
        },
        "server_tool_use": None,
        "service_tier": "standard",
    }


_ONLY_IN_A_MESSAGE = ("cache_creation", "service_tier")
"""Parts of the usage that stand in a message and not in a `message_delta`."""


class AnswerEvents:
    """The events of one answer: those of a provider of this protocol as they are, made from the text of any other."""

    def __init__(self, message_id: str, model: str) -> None:
        self._message_id = message_id
        self._model = model
        self._has_begun = False
        self._is_native = False
        self._index = -1
        self._is_text_open = False
        self._has_text = False

    def take(self, delta: ModelDelta) -> Iterable[MessageEvent]:
        """Turn pieces of the answer into events."""
        if delta.events:
            self._has_begun = self._is_native = True
        if self._is_native:
            return delta.events
        return self._told(delta.texts)

    def _told(self, texts: Sequence[str]) -> Iterator[MessageEvent]:
        yield from self._begin()
        if not self._is_text_open:
            self._is_text_open = self._has_text = True
            yield self._start_block({"type": "text", "text": ""})
        for text in texts:
            yield self._delta({"type": "text_delta", "text": text})

    def finish(self, response: ModelResponse) -> Iterator[MessageEvent]:
        """Return the events that are left when the whole answer is there (and paid)."""
        if not self._is_native:
            yield from self._begin()
            if self._is_text_open:
                yield self._stop_block()
            for block in response.content:
                if block.get("type") != "text" or not self._has_text:
                    yield from self._whole_block(block)
            usage = {
                name: value
                for name, value in usage_of(response.usage).items()
                if name not in _ONLY_IN_A_MESSAGE
            }
            yield _event({"type": "message_delta", "delta": _ending(response), "usage": usage})
        yield _event({"type": "message_stop"})

    def _begin(self) -> Iterator[MessageEvent]:
        if self._has_begun:
            return
        self._has_begun = True
        message: JsonObject = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "usage": usage_of(Usage()),
        }
        yield _event({"type": "message_start", "message": message})

    def _whole_block(self, block: JsonObject) -> Iterator[MessageEvent]:
        match block.get("type"):
            case "text":
                yield self._start_block({**block, "text": ""})
                yield self._delta({"type": "text_delta", "text": block.get("text")})
            case "thinking":
                yield self._start_block({"type": "thinking", "thinking": "", "signature": ""})
                yield self._delta({"type": "thinking_delta", "thinking": block.get("thinking")})
                if block.get("signature"):
                    yield self._delta({"type": "signature_delta", "signature": block["signature"]})
            case "tool_use":
                yield self._start_block({**block, "input": {}})
                encoded = msgspec.json.encode(block.get("input")).decode()
                yield self._delta({"type": "input_json_delta", "partial_json": encoded})
            case _:
                yield self._start_block(block)
        yield self._stop_block()

    def _start_block(self, block: JsonObject) -> MessageEvent:
        self._index += 1
        return _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: JsonObject) -> MessageEvent:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _stop_block(self) -> MessageEvent:
        self._is_text_open = False
        return _event({"type": "content_block_stop", "index": self._index})


def _ending(response: ModelResponse) -> JsonObject:
    return {
        "stop_reason": response.stop_reason,
        "stop_sequence": None,
        "stop_details": cast("JsonValue", response.stop_details),
    }


def frame(event: MessageEvent) -> bytes:
    """An event as it goes over the line: as it came, if it came so."""
    body = event.encoded if event.encoded is not None else msgspec.json.encode(event.fields)
    return b"event: %b\ndata: %b\n\n" % (str(event.fields["type"]).encode(), body)


def _event(fields: JsonObject) -> MessageEvent:
    return MessageEvent(fields=fields)
