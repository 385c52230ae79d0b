"""One answer of the Messages protocol, as its events come in."""

from __future__ import annotations

from typing import Literal

import structlog

from remit.models.drivers.pieces import Pieces
from remit.models.drivers.tool_calls import CallIds, input_of, tool_name
from remit.models.drivers.usage import MessagesUsage
from remit.models.http.endpoint import Endpoint, Outlook
from remit.models.http.failures import error_failure, error_in
from remit.models.http.reading import document_of, garbage
from remit.models.http.sse import SseEvent
from remit.values import (
    UNPARSED_INPUT,
    JsonObject,
    JsonValue,
    MessageEvent,
    ModelRequest,
    ModelResponse,
    StopReason,
)

log = structlog.get_logger(__name__)

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
    # Words of other protocols, by servers that translate.
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
}
_THINKING = ("thinking", "redacted_thinking")


class MessagesAnswer:
    """One answer."""

    def __init__(self, endpoint: Endpoint, request: ModelRequest) -> None:
        self._endpoint = endpoint
        self._request = request
        self._ids = CallIds(request)
        self._names = frozenset(str(tool.get("name")) for tool in request.tools)
        self._events: list[MessageEvent] = []
        self._message: JsonObject = {}
        self._blocks: dict[int, JsonObject] = {}
        self._places: dict[int, int] = {}
        """Where the block of an index stands that is not there: servers exist that count all blocks as one."""
        self._pieces: dict[tuple[int, str], Pieces] = {}
        """Of each block and each field that comes in pieces."""
        self._usage = MessagesUsage()
        self._is_complete = False
        self._has_unknown = False
        self._stop_reason: str | None = None
        self._stop_details: JsonObject | None = None
        self._thinking: Literal["no", "begun", "told"] = "no"

    def outlook(self) -> Outlook:
        """Return how far the answer is."""
        if self._is_complete:
            return "whole"
        if self._stop_reason is not None:
            return "counted" if self._usage.counted(is_empty=not self._blocks).is_known else "finished"
        return "begun" if self._blocks else "waiting"

    def take(self, event: SseEvent) -> str | None:
        """Take one event in; the text it brought. Raises ModelCallFailed."""
        if self._is_complete:
            return None
        data = document_of(self._endpoint, event)
        if data is None:
            return None
        kind = data.get("type")
        if not isinstance(kind, str):
            kind = event.event
            data = {**data, "type": kind}
            event = SseEvent(kind, b"")  # what it was encoded as lacks the type
        if kind == "content_block_delta":  # as nearly all are
            delta = data.get("delta")
            text = self._take_delta(self._index(data), delta if isinstance(delta, dict) else {})
        else:
            text = self._take(kind, data)
        if self._request.wants_events and kind in _PASSED_ON:
            if self._places and isinstance(data.get("index"), int):
                data = {**data, "index": self._index(data)}
                event = SseEvent(kind, b"")
            is_renamed = kind == "content_block_start" and self._is_renamed(data)
            is_its_own = event.data[:1] == b"{" and not is_renamed
            is_line = is_its_own and b"\n" not in event.data and b"\r" not in event.data
            self._events.append(MessageEvent(fields=data, encoded=event.data if is_line else None))
        return text

    def passed_on(self) -> tuple[MessageEvent, ...]:
        """The events that were taken in since the last time, if they are wanted."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def begins_to_think(self) -> bool:
        """Return whether the model has begun to think since the last time; once an answer."""
        if self._thinking != "begun":
            return False
        self._thinking = "told"
        return True

    def response(self) -> ModelResponse:
        """The whole answer. Raises ModelCallFailed when it was cut."""
        if self._stop_reason is None and not (self._is_complete and self._blocks):
            raise self._endpoint.failure("broke off the answer", reason="cut", billed="unknown")
        stop_reason = self._told_reason()
        blocks = [
            self._finished_block(index, is_cut=stop_reason == "max_tokens") for index in sorted(self._blocks)
        ]
        content = tuple(block for block in blocks if block is not None)
        if stop_reason == "end_turn" and content and all(map(_is_unsigned, content)):
            # A server that takes the whole answer for reasoning: it is all that was said.
            said = "".join(str(block.get("thinking") or "") for block in content)
            whole: JsonObject = {"type": "text", "text": said}
            content = (whole,) if said.strip() else ()
        if stop_reason == "end_turn" and any(block["type"] == "tool_use" for block in content):
            stop_reason = "tool_use"
        counted = self._usage.counted(is_empty=not content)
        return ModelResponse(
            content=content,
            stop_reason=stop_reason,
            usage=counted.usage,
            model=str(self._message.get("model") or ""),
            is_usage_known=counted.is_known,
            provider_id=str(self._message["id"]) if self._message.get("id") else None,
            stop_details=self._stop_details,
            raw={
                **{name: value for name, value in self._message.items() if name != "content"},
                "usage": self._usage.reported,
            },
        )

    def _take(self, kind: str, data: JsonObject) -> str | None:
        """The text an event brought."""
        match kind:
            case "message_start":
                message = data.get("message")
                if not isinstance(message, dict):
                    raise garbage(self._endpoint, "a message that is no object")
                self._message = message
                self._usage.begins(message.get("usage"))
            case "content_block_start":
                return self._begin_block(data)
            case "message_delta":
                self._take_end(_object(data.get("delta")), data.get("usage"))
                # Beside `delta`, it says more about the message (`context_management`).
                self._message |= {
                    name: value for name, value in data.items() if name not in ("type", "delta", "usage")
                }
            case "message_stop":
                self._is_complete = True
            case "message" if isinstance(data.get("content"), list):
                return self._take_whole(data)
            case _:
                # ping, content_block_stop, kinds of a later version, which the protocol says to pass over; or an error
                error = error_in(data)
                if error is not None:
                    error = data.get("error") or error
                    raise error_failure(self._endpoint, error, is_begun=bool(self._message))
        return None

    def _take_whole(self, message: JsonObject) -> str | None:
        """Take in a message that came in one piece, where a stream was asked for."""
        content = message.get("content")
        self._message = message
        self._usage.begins(message.get("usage"))
        texts = [
            self._begin_block({"index": index, "content_block": block})
            for index, block in enumerate(content if isinstance(content, list) else [])
        ]
        self._take_end(
            {
                name: message[name]
                for name in ("stop_reason", "stop_sequence", "stop_details")
                if name in message
            },
            message.get("usage"),
        )
        self._is_complete = True
        return "".join(text for text in texts if text) or None

    def _begin_block(self, data: JsonObject) -> str | None:
        """Take in the beginning of a block; the text that stands there already."""
        given = data.get("content_block")
        if not isinstance(given, dict) or not isinstance(given.get("type"), str):
            raise garbage(self._endpoint, "a block of no type")
        block = self._blocks[self._new_place(data.get("index"), given)] = dict(given)
        if block["type"] == "tool_use":
            if not isinstance(block.get("name"), str):
                raise garbage(self._endpoint, "a tool use without a name")
            block["name"] = tool_name(block["name"], self._names)
            otherwise = f"toolu_{self._message.get('id') or ''}_{len(self._blocks)}"
            block["id"] = self._ids.new(block.get("id"), otherwise=otherwise)
            if not isinstance(block.get("input"), dict):
                block["input"] = input_of(block.get("input"))
        if self._thinking == "no" and block["type"] in _THINKING:
            self._thinking = "begun"
        text = block.get("text")
        return text if isinstance(text, str) and text else None

    def _is_renamed(self, data: JsonObject) -> bool:
        """Whether a tool use got another id; then the event says so too."""
        index, given = data.get("index"), data.get("content_block")
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None or not isinstance(given, dict) or block["type"] != "tool_use":
            return False
        if all(given.get(name) == block.get(name) for name in ("id", "name")):
            return False
        data["content_block"] = {**given, "id": block.get("id"), "name": block.get("name")}
        return True

    def _take_delta(self, index: int, delta: JsonObject) -> str | None:
        kind = delta.get("type")
        if not isinstance(kind, str):
            kind = next((kind for kind, name in _IN_PIECES.items() if name in delta), kind)
        if index not in self._blocks:
            begun: JsonObject = {"text_delta": "text", "thinking_delta": "thinking"}
            if not isinstance(kind, str) or kind not in begun:
                raise garbage(self._endpoint, f"a piece of block {index}, which was never begun")
            self._begin_block({"index": index, "content_block": {"type": begun[kind]}})
        if kind == "citations_delta":
            block = self._blocks[index]
            citations = block.get("citations")
            block["citations"] = [*(citations if isinstance(citations, list) else []), delta.get("citation")]
            return None
        name = _IN_PIECES.get(kind) if isinstance(kind, str) else None
        if name is None:
            if not self._has_unknown:
                log.info("model_delta_unknown", provider=self._endpoint.name, kind=str(kind))
            self._has_unknown = True
            return None
        piece = delta.get(name) or ""
        if isinstance(piece, dict):  # an input that came whole
            self._blocks[index]["input"] = piece
            return None
        piece = str(piece)
        pieces = self._pieces.get((index, name))
        if pieces is None:
            pieces = self._pieces[index, name] = Pieces()
        pieces.add(piece)
        return piece if name == "text" else None

    def _take_end(self, delta: JsonObject, usage: JsonValue) -> None:
        stop_reason = delta.get("stop_reason")
        self._stop_reason = stop_reason if isinstance(stop_reason, str) and stop_reason else self._stop_reason
        self._message |= delta
        details = delta.get("stop_details")
        self._stop_details = details if isinstance(details, dict) else self._stop_details
        self._usage.ends(usage)

    def _told_reason(self) -> StopReason:
        """Why it stopped; a word that nobody knows says only that the answer is there."""
        word = self._stop_reason or "end_turn"
        if word not in _STOP_REASONS:
            log.info("model_stop_reason_unknown", provider=self._endpoint.name, stop_reason=word)
        return _STOP_REASONS.get(word, "end_turn")

    def _finished_block(self, index: int, *, is_cut: bool) -> JsonObject | None:
        """The block with its pieces joined and its input parsed; None for a tool use that the token limit cut in the
        middle."""
        block = self._blocks[index]
        for name in ("text", "thinking", "signature"):
            pieces = self._pieces.get((index, name))
            if pieces is not None or name in block or name == block["type"]:
                block[name] = str(block.get(name) or "") + ("" if pieces is None else pieces.text())
        written = self._pieces.get((index, "partial_json"))
        encoded = written.text() if written is not None else ""
        if not encoded.strip():  # an input that came whole needs no pieces
            return block
        parsed = input_of(encoded)
        if is_cut and UNPARSED_INPUT in parsed:
            return None
        return {**block, "input": parsed}

    def _index(self, data: JsonObject) -> int:
        index = data.get("index")
        if not isinstance(index, int):
            return max(self._blocks, default=0)
        return self._places.get(index, index)

    def _new_place(self, index: JsonValue, given: JsonObject) -> int:
        """Where a block goes. At an index that has one already it is another, unless it says again what is there."""
        free = max(self._blocks, default=-1) + 1
        if not isinstance(index, int):
            return free
        there = self._blocks.get(self._places.get(index, index))
        if there is not None and (there.get("id") is None or there.get("id") != given.get("id")):
            self._places[index] = free
        return self._places.get(index, index)


def _is_unsigned(block: JsonObject) -> bool:
    """Thinking that its model does not sign, so that it is of no use to it later."""
    return block["type"] == "thinking" and not block.get("signature")


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
