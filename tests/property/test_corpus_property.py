"""Over every recording of the corpus, cut and changed at random: however the bytes come, the answer is the same; whatever
stands in them, there is an answer that can be sent back, or a failure with a reason, and never anything else."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import ModelCallFailed
from remit.models.drivers.anthropic_answer import MessagesAnswer
from remit.models.drivers.anthropic_request import request_body
from remit.models.drivers.openai_chat_answer import ChatAnswer
from remit.models.drivers.openai_chat_request import chat_body
from remit.models.drivers.openai_responses import ResponsesAnswer
from remit.models.drivers.openai_responses_request import responses_body
from remit.models.http.endpoint import ModelEndpoint, ModelTimeouts, encode_body
from remit.models.http.sse import SseEvent, SseParser
from remit.values import ModelRequest, ModelResponse

CORPUS = Path(__file__).parents[1] / "corpus"
PROTOCOLS = ("chat", "responses", "messages")
WIRES = {
    protocol: [
        each["wire"].encode()
        for each in tomllib.loads((CORPUS / f"{protocol}.toml").read_text())["recording"]
    ]
    for protocol in PROTOCOLS
}
ENDPOINT = ModelEndpoint(name="local", base_url="http://x", headers={}, timeouts=ModelTimeouts())
REQUEST = ModelRequest(
    model="m",
    messages=({"role": "user", "content": "hi"},),
    max_tokens=100,
    tools=({"name": "bash", "input_schema": {"type": "object"}},),
    wants_events=True,
)
REASONS = {
    "overloaded",
    "rate_limited",
    "invalid",
    "authentication",
    "billing",
    "unavailable",
    "cut",
    "garbage",
    "too_long",
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "stop", "tool_calls", "bash", "{}", '{"a":1}', "tool_use", "text", "error"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["id", "type", "text", "name", "index", "arguments", "content", "usage", "error"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=4,
)


def answer_of(protocol: str, events: list[SseEvent]) -> ModelResponse | ModelCallFailed:
    makes = {"chat": ChatAnswer, "responses": ResponsesAnswer, "messages": MessagesAnswer}
    answer: Any = makes[protocol](ENDPOINT, REQUEST)
    try:
        for event in events:
            text = answer.take(event)
            assert text is None or isinstance(text, str)
            if answer.outlook() == "whole":
                break
        return answer.response(recovers_calls=True) if protocol == "chat" else answer.response()
    except ModelCallFailed as failure:
        return failure


def plain(result: ModelResponse | ModelCallFailed) -> Any:
    return result.message if isinstance(result, ModelCallFailed) else msgspec.to_builtins(result)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
def test_any_cut_of_any_recording_gives_the_same_answer(protocol: str, data: st.DataObject) -> None:
    wire = data.draw(st.sampled_from(WIRES[protocol]))
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=8))
    whole, pieces = SseParser(), SseParser()
    expected = [*whole.feed(wire), *whole.end()]
    events: list[SseEvent] = []
    for start, end in pairwise([0, *sorted(cuts), len(wire)]):
        events += pieces.feed(wire[start:end])
    events += pieces.end()
    assert events == expected
    assert plain(answer_of(protocol, events)) == plain(answer_of(protocol, expected))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=100)
@given(data=st.data())
def test_whatever_stands_in_an_answer_there_is_one_or_a_reason(protocol: str, data: st.DataObject) -> None:
    parser = SseParser()
    wire = data.draw(st.sampled_from(WIRES[protocol]))
    events = [
        event
        for event in [*parser.feed(wire), *parser.end()]
        if event.data[:1] == b"{" and b"\n" not in event.data
    ]
    if not events:
        return
    changed = data.draw(st.integers(0, len(events) - 1))
    document = json.loads(events[changed].data)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(list(places({"document": document}))[1:] or [({}, "")]))
        holder[key] = data.draw(JSON)
    events[changed] = SseEvent(events[changed].event, json.dumps(document).encode())
    if protocol == "chat":
        events.append(SseEvent("message", b"[DONE]"))
    result = answer_of(protocol, events)
    if isinstance(result, ModelCallFailed):
        assert result.reason in REASONS
        return
    check_it_can_be_sent(result)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document where something stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


def check_it_can_be_sent(response: ModelResponse) -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(response.content))
    results = []
    for block in encoded:
        assert block["type"] != "tool_use" or re.fullmatch("[A-Za-z0-9_-]{1,40}", block["id"])
        assert block["type"] != "tool_use" or isinstance(block["input"], dict)
        if block["type"] == "tool_use":
            results.append({"type": "tool_result", "tool_use_id": block["id"], "content": "x"})
    assert len({result["tool_use_id"] for result in results}) == len(results)
    if any(block["type"] not in ("text", "thinking", "tool_use") for block in encoded):
        return  # a block of the Messages protocol's alone, which stays there
    again = msgspec.structs.replace(
        REQUEST,
        messages=(
            *REQUEST.messages,
            {"role": "assistant", "content": encoded},
            {"role": "user", "content": results or "and?"},
        ),
    )
    for body in (
        chat_body(again, is_vendor=False, provider="local"),
        responses_body(again),
        request_body(again),
    ):
        encode_body(body)
