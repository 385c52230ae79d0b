"""The events of OpenAI Responses, as the model server for tests sends them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remit.values import JsonObject, JsonValue, StopReason, Usage


class ServedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A function call to answer with."""

    id: str
    name: str
    arguments: str


def responses_events(
    model: JsonValue,
    *,
    chunks: Sequence[str],
    thinking: str | None,
    calls: Sequence[ServedCall],
    stop_reason: StopReason,
    usage: Usage | None,
    is_broken: bool,
) -> list[bytes]:
    """A whole answer; with `is_broken` only what comes before the break."""
    frames: list[bytes] = []

    def say(type: str, **fields: JsonValue) -> None:
        event: JsonObject = {"type": type, "sequence_number": len(frames), **fields}
        frames.append(b"event: %b\ndata: %b\n\n" % (type.encode(), msgspec.json.encode(event)))

    response: JsonObject = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "status": "in_progress",
        "output": [],
        "usage": None,
    }
    output: list[JsonValue] = []
    say("response.created", response=response)
    if thinking is not None:
        summary: list[JsonValue] = [{"type": "summary_text", "text": thinking}]
        item: JsonObject = {
            "type": "reasoning",
            "id": "rs_1",
            "summary": summary,
            "encrypted_content": "c2VhbGVk",
        }
        say("response.output_item.added", output_index=0, item={**item, "summary": []})
        say(
            "response.reasoning_summary_text.delta",
            item_id="rs_1",
            output_index=0,
            summary_index=0,
            delta=thinking,
        )
        say("response.output_item.done", output_index=0, item=item)
        output.append(item)
    if chunks:
        index = len(output)
        part: JsonObject = {"type": "output_text", "text": "".join(chunks), "annotations": []}
        message: JsonObject = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
        say("response.output_item.added", output_index=index, item={**message, "content": []})
        for chunk in chunks:
            say(
                "response.output_text.delta",
                item_id="msg_1",
                output_index=index,
                content_index=0,
                delta=chunk,
            )
        if is_broken:
            return frames
        say("response.output_item.done", output_index=index, item=message)
        output.append(message)
    if is_broken:
        return frames
    for call in calls:
        index = len(output)
        item = {
            "type": "function_call",
            "id": f"fc_{index}",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
        say("response.output_item.added", output_index=index, item={**item, "arguments": ""})
        say(
            "response.function_call_arguments.delta",
            item_id=f"fc_{index}",
            output_index=index,
            delta=call.arguments,
        )
        say("response.output_item.done", output_index=index, item=item)
        output.append(item)
    cut = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}.get(stop_reason)
    whole: JsonObject = {
        **response,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "output": output,
        "usage": None if usage is None else _usage(usage),
    }
    say(f"response.{whole['status']}", response=whole)
    return frames


def _usage(usage: Usage) -> JsonObject:
    return {
        "input_tokens": usage.total_tokens - usage.output_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_input_tokens,
            "cache_write_tokens": usage.cache_creation_5m_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
