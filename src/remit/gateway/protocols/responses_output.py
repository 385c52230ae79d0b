"""An answer in the words of the Responses protocol: whole, or event by event from the canonical ones. Pure."""

from __future__ import annotations

from typing import cast

import msgspec

from remit.gateway.protocols.chat_input import encoded_arguments
from remit.gateway.protocols.openai_input import arguments_of
from remit.gateway.protocols.responses_input import seal_thinking
from remit.gateway.protocols.responses_tools import ResponsesTools, custom_input, shell_action
from remit.schema.openai import ResponsesParams
from remit.values import JsonObject, JsonValue, MessageEvent, ModelResponse, Usage


class ResponsesReply:
    """One answer. Its output items are the canonical blocks: a message for text, a call for a tool use, reasoning for
    thinking (sealed, if the caller asked for that, so that it can come back)."""

    media_type = "text/event-stream; charset=utf-8"
    heartbeat = b": waiting\n\n"

    def __init__(self, answer_id: str, params: ResponsesParams, *, created: int) -> None:
        self._id = answer_id
        self._params = params
        self._tools = ResponsesTools(params)
        self._created = created
        self._model = params.model
        self._seals = "reasoning.encrypted_content" in (params.include or ())
        self._sequence = -1
        self._output: list[JsonObject] = []
        self._block: JsonObject = {}
        """The block that is coming in."""
        self._pieces: list[str] = []

    def take(self, event: MessageEvent) -> bytes:
        """The events that a canonical one stands for."""
        fields = event.fields
        match fields["type"]:
            case "message_start":
                self._model = str(cast("JsonObject", fields["message"]).get("model") or self._model)
                begun = self._response("in_progress", [], None)
                return self._event("response.created", response=begun) + self._event(
                    "response.in_progress", response=begun
                )
            case "content_block_start":
                return self._start(dict(cast("JsonObject", fields["content_block"])))
            case "content_block_delta":
                return self._delta(cast("JsonObject", fields["delta"]))
            case "content_block_stop":
                return self._stop()
            case _:
                return b""

    def finish(self, response: ModelResponse) -> bytes:
        """The last event, with everything."""
        is_cut = response.stop_reason == "max_tokens"
        # What a cut left out of the answer was streamed as an item, and stays one.
        whole = self._response(_status(response), list(self._output), response)
        return self._event("response.incomplete" if is_cut else "response.completed", response=whole)

    def whole(self, response: ModelResponse) -> JsonObject:
        """The answer of a request without a stream."""
        self._model = response.model or self._model
        items = [self._item(index, block, "completed") for index, block in enumerate(response.content)]
        return self._response(_status(response), items, response)

    def error(self, body: bytes) -> bytes:
        """The failure of a stream that has begun."""
        error = msgspec.json.decode(body)["error"]
        return self._event(
            "error", code=error.get("code"), message=error["message"], param=error.get("param")
        )

    # ------------------------------------------------------------------------------------------ blocks

    def _start(self, block: JsonObject) -> bytes:
        self._block, self._pieces = block, []
        index = len(self._output)
        item = self._item(index, {**block, "text": "", "thinking": "", "input": {}}, "in_progress")
        match item["type"]:
            case "message":
                item["content"] = []
                frames = self._event("response.output_item.added", output_index=index, item=item)
                return frames + self._part("response.content_part.added", _text_part(""))
            case "reasoning":
                item["summary"] = []
                frames = self._event("response.output_item.added", output_index=index, item=item)
                return frames + self._summary("response.reasoning_summary_part.added", part=_summary_part(""))
            case _:
                for name in ("arguments", "input"):
                    if isinstance(item.get(name), str):
                        item[name] = ""
                return self._event("response.output_item.added", output_index=index, item=item)

    def _delta(self, delta: JsonObject) -> bytes:
        match delta.get("type"):
            case "text_delta":
                text = str(delta.get("text"))
                self._pieces.append(text)
                return self._text("response.output_text.delta", delta=text)
            case "thinking_delta":
                text = str(delta.get("thinking"))
                self._pieces.append(text)
                return self._summary("response.reasoning_summary_text.delta", delta=text)
            case "signature_delta":
                self._block["signature"] = delta.get("signature")
                return b""
            case "input_json_delta" if delta.get("partial_json"):
                piece = str(delta["partial_json"])
                self._pieces.append(piece)
                if self._tools.called(str(self._block.get("name"))).kind != "function":
                    return b""  # what goes out is not what comes in: it is told when it is whole
                return self._arguments("response.function_call_arguments.delta", delta=piece)
            case _:
                return b""

    def _stop(self) -> bytes:
        index, written = len(self._output), "".join(self._pieces)
        match self._block.get("type"):
            case "text":
                item = self._item(index, {**self._block, "text": written}, "completed")
                frames = self._text("response.output_text.done", text=written)
                frames += self._part("response.content_part.done", _text_part(written))
            case "tool_use":
                item, frames = self._called(index, written or "{}")
            case _:
                item = self._item(index, {**self._block, "thinking": written}, "completed")
                frames = self._summary("response.reasoning_summary_text.done", text=written)
                frames += self._summary("response.reasoning_summary_part.done", part=_summary_part(written))
        self._output.append(item)
        return frames + self._event("response.output_item.done", output_index=index, item=item)

    def _called(self, index: int, written: str) -> tuple[JsonObject, bytes]:
        """The item of a call that is whole, and what is told of its end."""
        kind = self._tools.called(str(self._block["name"])).kind
        if kind == "function":
            item = self._item(index, self._block, "completed")
            item["arguments"] = written
            done = "response.function_call_arguments.done"
            return item, self._arguments(done, arguments=written, name=item["name"])
        item = self._item(index, {**self._block, "input": arguments_of(written, "arguments")}, "completed")
        if kind != "custom":
            return item, b""
        frames = self._of_item("response.custom_tool_call_input.delta", "ctc", delta=item["input"])
        return item, frames + self._of_item(
            "response.custom_tool_call_input.done", "ctc", input=item["input"]
        )

    def _item(self, index: int, block: JsonObject, status: str) -> JsonObject:
        match block.get("type"):
            case "text":
                return {
                    "id": self._item_id("msg", index),
                    "type": "message",
                    "role": "assistant",
                    "status": status,
                    "content": [_text_part(str(block.get("text") or ""))],
                }
            case "tool_use":
                return self._call_item(index, block, status)
            case _:
                item: JsonObject = {
                    "id": self._item_id("rs", index),
                    "type": "reasoning",
                    "summary": [_summary_part(str(block.get("thinking") or ""))],
                }
                if self._seals:
                    item["encrypted_content"] = seal_thinking(block)
                return item

    def _call_item(self, index: int, block: JsonObject, status: str) -> JsonObject:
        called = self._tools.called(str(block["name"]))
        input = cast("JsonObject", block.get("input") or {})
        said: JsonObject = {"status": status, "call_id": block["id"]}
        if called.kind == "local_shell":
            return {
                "id": self._item_id("lsh", index),
                "type": "local_shell_call",
                **said,
                "action": shell_action(input),
            }
        if called.kind == "tool_search":
            prefix, further = "tsc", JsonObject(execution="client", arguments=input)
            return {"id": self._item_id(prefix, index), "type": "tool_search_call", **said, **further}
        named: JsonObject = {"name": called.name}
        if called.namespace is not None:
            named["namespace"] = called.namespace
        if called.kind == "custom":
            kind, prefix, written = "custom_tool_call", "ctc", {"input": custom_input(input)}
        else:
            kind, prefix, written = "function_call", "fc", {"arguments": encoded_arguments(block)}
        return {"id": self._item_id(prefix, index), "type": kind, **said, **named, **written}

    def _item_id(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self._id.removeprefix('resp_')}_{index}"

    # ------------------------------------------------------------------------------------------ events

    def _text(self, type: str, **fields: JsonValue) -> bytes:
        return self._of_item(type, "msg", content_index=0, logprobs=[], **fields)

    def _part(self, type: str, part: JsonObject) -> bytes:
        return self._of_item(type, "msg", content_index=0, part=part)

    def _summary(self, type: str, **fields: JsonValue) -> bytes:
        return self._of_item(type, "rs", summary_index=0, **fields)

    def _arguments(self, type: str, **fields: JsonValue) -> bytes:
        return self._of_item(type, "fc", **fields)

    def _of_item(self, type: str, prefix: str, **fields: JsonValue) -> bytes:
        index = len(self._output)
        return self._event(type, item_id=self._item_id(prefix, index), output_index=index, **fields)

    def _event(self, type: str, **fields: JsonValue) -> bytes:
        self._sequence += 1
        event: JsonObject = {"type": type, "sequence_number": self._sequence, **fields}
        return b"event: %b\ndata: %b\n\n" % (type.encode(), msgspec.json.encode(event))

    def _response(self, status: str, output: list[JsonObject], response: ModelResponse | None) -> JsonObject:
        params = self._params
        reasoning, text = params.reasoning, params.text
        is_cut = status == "incomplete"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": self._model,
            "output": list[JsonValue](output),
            "usage": responses_usage(response.usage) if response is not None else None,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "instructions": params.instructions,
            "max_output_tokens": params.max_output_tokens,
            "metadata": cast("JsonValue", params.metadata or {}),
            "parallel_tool_calls": params.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {
                "effort": reasoning.effort if reasoning is not None else None,
                "summary": reasoning.summary if reasoning is not None else None,
            },
            "service_tier": "default",
            "store": False,
            "temperature": params.temperature,
            "text": {
                "format": (text.format if text is not None else None) or {"type": "text"},
                **({"verbosity": text.verbosity} if text is not None and text.verbosity else {}),
            },
            "tool_choice": params.tool_choice or "auto",
            "tools": list[JsonValue](params.tools),
            "top_p": params.top_p,
            "truncation": "disabled",
        }


def responses_usage(usage: Usage) -> JsonObject:
    """Usage in the protocol's words: the input's tokens are all of them, cached ones too."""
    return {
        "input_tokens": usage.total_tokens - usage.output_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_input_tokens,
            "cache_write_tokens": usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }


def _status(response: ModelResponse) -> str:
    return "incomplete" if response.stop_reason == "max_tokens" else "completed"


def _text_part(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary_part(text: str) -> JsonObject:
    return {"type": "summary_text", "text": text}
