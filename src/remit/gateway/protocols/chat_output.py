"""An answer in the words of Chat Completions: whole, or chunk by chunk from the canonical events. Pure."""

from __future__ import annotations

from typing import cast

import msgspec

from remit.gateway.protocols.chat_input import encoded_arguments
from remit.values import JsonObject, JsonValue, MessageEvent, ModelResponse, StopReason, Usage

_FINISH_REASONS: dict[StopReason, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}


class ChatReply:
    """One answer. A model's thinking has no place in this protocol; its tokens are counted."""

    media_type = "text/event-stream; charset=utf-8"
    heartbeat = b": waiting\n\n"

    def __init__(self, answer_id: str, model: str, *, created: int, includes_usage: bool) -> None:
        self._id = answer_id
        self._model = model
        self._created = created
        self._includes_usage = includes_usage
        self._calls = -1
        self._has_arguments = False
        self._is_call = False

    def take(self, event: MessageEvent) -> bytes:
        """The chunks that a canonical event stands for."""
        fields = event.fields
        match fields["type"]:
            case "message_start":
                self._model = str(cast("JsonObject", fields["message"]).get("model") or self._model)
                return self._chunk({"role": "assistant", "content": ""})
            case "content_block_start":
                return self._start(cast("JsonObject", fields["content_block"]))
            case "content_block_delta":
                return self._delta(cast("JsonObject", fields["delta"]))
            case "content_block_stop" if self._is_call:
                self._is_call = False
                return b"" if self._has_arguments else self._arguments("{}")
            case _:
                return b""

    def finish(self, response: ModelResponse) -> bytes:
        """The last chunks."""
        frames = self._chunk({}, _FINISH_REASONS[response.stop_reason])
        if self._includes_usage:
            frames += _frame({**self._head(), "choices": [], "usage": chat_usage(response.usage)})
        return frames + b"data: [DONE]\n\n"

    def whole(self, response: ModelResponse) -> JsonObject:
        """The answer of a request without a stream."""
        texts = [str(block["text"]) for block in response.content if block.get("type") == "text"]
        text: JsonValue = "".join(texts) if texts else None
        is_refused = response.stop_reason == "refusal"
        message: JsonObject = {
            "role": "assistant",
            "content": None if is_refused else text,
            "refusal": (text or "The model refused to answer.") if is_refused else None,
        }
        calls: list[JsonValue] = [
            {
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": encoded_arguments(block)},
            }
            for block in response.content
            if block.get("type") == "tool_use"
        ]
        if calls:
            message["tool_calls"] = calls
        choice: JsonObject = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _FINISH_REASONS[response.stop_reason],
        }
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": response.model or self._model,
            "choices": [choice],
            "usage": chat_usage(response.usage),
            "service_tier": "default",
        }

    def error(self, body: bytes) -> bytes:
        """The failure of a stream that has begun."""
        return b"data: " + body + b"\n\n"

    def _start(self, block: JsonObject) -> bytes:
        if block.get("type") != "tool_use":
            text = block.get("text")
            return self._chunk({"content": text}) if isinstance(text, str) and text else b""
        self._calls += 1
        self._is_call, self._has_arguments = True, False
        function: JsonObject = {"name": block["name"], "arguments": ""}
        call: JsonObject = {
            "index": self._calls,
            "id": block["id"],
            "type": "function",
            "function": function,
        }
        return self._chunk({"tool_calls": [call]})

    def _delta(self, delta: JsonObject) -> bytes:
        match delta.get("type"):
            case "text_delta":
                return self._chunk({"content": delta.get("text")})
            case "input_json_delta" if delta.get("partial_json"):
                self._has_arguments = True
                return self._arguments(str(delta["partial_json"]))
            case _:
                return b""

    def _arguments(self, piece: str) -> bytes:
        return self._chunk({"tool_calls": [{"index": self._calls, "function": {"arguments": piece}}]})

    def _chunk(self, delta: JsonObject, finish_reason: str | None = None) -> bytes:
        choice: JsonObject = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        chunk: JsonObject = {**self._head(), "choices": [choice]}
        if self._includes_usage:
            chunk["usage"] = None
        return _frame(chunk)

    def _head(self) -> JsonObject:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
        }


def chat_usage(usage: Usage) -> JsonObject:
    """Usage in the protocol's words: the prompt's tokens are all of them, cached ones too."""
    prompt = usage.total_tokens - usage.output_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_input_tokens, "audio_tokens": 0},
    }


def _frame(chunk: JsonObject) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
