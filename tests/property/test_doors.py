"""Whatever stands in a request, a door answers with a refusal that names it, and a driver too: nothing breaks."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from remit.errors import InvalidRequest, ModelCallFailed
from remit.gateway.protocols.chat_input import request_from_chat
from remit.gateway.protocols.messages import request_from_messages
from remit.gateway.protocols.responses_input import request_from_responses
from remit.gateway.protocols.responses_output import ResponsesReply
from remit.models.drivers import anthropic_request, openai_chat_request, openai_responses_request
from remit.models.drivers.json_actions import action_request
from remit.models.drivers.vendor_request import without_first_party
from remit.schema.messages import read_messages
from remit.schema.openai import ChatParams, ResponsesParams
from remit.schema.wire import decode
from remit.values import JsonObject, ModelRequest, ModelResponse, Usage
from support.recordings import recordings
from unit.test_published_fields import CHAT, MESSAGES, RESPONSES

NAMES = st.sampled_from(["type", "text", "content", "name", "id", "source", "data"])
WORDS = st.text(max_size=8) | st.sampled_from(["text", "tool_use", "auto"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
WHOLE: list[tuple[str, dict[str, Any]]] = [
    ("messages", MESSAGES),
    ("chat", CHAT),
    ("responses", RESPONSES),
    *(("messages" if each.is_messages else "responses", each.body) for each in recordings()),
]


def places(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where something stands in a request."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place] if place else []
    for key, each in pairs:
        found += places(each, (*place, key))
    return found


PLACES = [places(body) for _, body in WHOLE]


def read(door: str, body: bytes) -> ModelRequest:
    match door:
        case "messages":
            return request_from_messages(read_messages(body))
        case "chat":
            return request_from_chat(decode(body, ChatParams))
        case _:
            return request_from_responses(decode(body, ResponsesParams))


def read_or_refuse(door: str, body: bytes) -> tuple[str, ModelRequest | None]:
    try:
        return "", read(door, body)
    except InvalidRequest as refused:
        return refused.message, None


@given(data=st.data(), number=st.integers(0, len(WHOLE) - 1), value=JSON)
def test_whatever_stands_in_a_request_is_served_or_refused_by_name(
    data: st.DataObject, number: int, value: Any
) -> None:
    door, whole = WHOLE[number]
    *above, last = data.draw(st.sampled_from(PLACES[number]))
    body = copy.deepcopy(whole)
    at: Any = body
    for key in above:
        at = at[key]
    at[last] = value
    refusal, request = read_or_refuse(door, json.dumps(body).encode())
    if request is None:
        assert refusal.startswith(("`", "The request body"))
        return
    for translated in (
        anthropic_request.request_body,
        lambda asked: anthropic_request.request_body(without_first_party(asked)),
        lambda asked: openai_chat_request.chat_body(asked, is_vendor=True),
        lambda asked: openai_chat_request.chat_body(asked, is_vendor=False),
        openai_responses_request.responses_body,
        action_request,
    ):
        with suppress(ModelCallFailed):  # a refusal by name; anything else breaks the test
            translated(request)


INPUTS = st.dictionaries(
    st.sampled_from(["input", "command", "env", "x", "unparsed_arguments"]), JSON, max_size=3
)


@given(name=st.sampled_from(["patch", "local_shell", "n__f", "f", "unknown"]), given=INPUTS)
def test_whatever_a_model_calls_comes_back_as_an_item(name: str, given: JsonObject) -> None:
    answer = ResponsesReply("resp_1", decode(json.dumps(RESPONSES).encode(), ResponsesParams), created=1)
    block: JsonObject = {"type": "tool_use", "id": "c", "name": name, "input": given}
    response = ModelResponse(model="m", content=(block,), stop_reason="tool_use", usage=Usage())
    (item,) = cast("Any", answer.whole(response)["output"])
    assert item["call_id"] == "c"
    assert isinstance(item.get("input", ""), str)
    assert isinstance(item.get("action", {"command": []})["command"], list)
