"""The conversation as the model will see it, when parts of it are forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remit.models.drivers.anthropic_request import request_body
from remit.models.http.endpoint import encode_body
from remit.session.history import History
from remit.session.sendable import text_block
from remit.values import EncodedObjects, JsonObject, ModelRequest, translated

THINKING: JsonObject = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


TOOLS = EncodedObjects.all_of([{"name": "look", "input_schema": {"type": "object"}}])
WORDS = (b'"thinking"', b'"tool_result"', b'"toolu_2"', b'"Seen."', b'"look"', b'"image"', b'"a, b"')
"""Some come and go again with what is cleared, the last stands in a text alone."""


def use(id: str) -> JsonObject:
    return {"type": "tool_use", "id": id, "name": "bash", "input": {}}


def types(history: History) -> list[list[str]]:
    messages: Any = history.encode()
    return [[block["type"] for block in message["content"]] for message in messages]


def history() -> History:
    made = History()
    made.add_user([text_block("Look.")])
    made.add_assistant([THINKING, use("toolu_1")])
    made.add_tool_result("toolu_1", [text_block("long")], seq=5, is_error=False)
    made.add_assistant([THINKING, text_block("Seen."), use("toolu_2")])
    made.add_tool_result("toolu_2", [text_block("short")], seq=9, is_error=False)
    return made


def test_thinking_goes_with_the_results_it_was_thought_about() -> None:
    made = history()
    assert types(made)[1] == ["thinking", "tool_use"]
    made.clear_results(before_seq=9)
    assert types(made) == [["text"], ["tool_use"], ["tool_result"], ["text", "tool_use"], ["tool_result"]]
    assert "cleared to save room" in str(made.encode()[2])
    assert "short" in str(made.encode()[4])


def test_an_answer_that_was_only_thought_is_gone_with_its_thinking() -> None:
    made = history()
    made.add_assistant([THINKING])
    made.add_user([text_block("Your answer was cut.")])
    assert types(made)[-1] == ["tool_result", "text"]


def test_what_was_encoded_for_earlier_calls_is_what_would_be_encoded_now() -> None:
    made = History()
    steps: list[Callable[[], None]] = [
        lambda: made.add_user([text_block('Look, Zoë: "a, b".')]),
        lambda: made.add_user([text_block("And quickly.")]),
        lambda: made.add_assistant([THINKING, use("toolu_1"), use("toolu_2")]),
        lambda: made.add_tool_result("toolu_1", [text_block("long")], seq=5, is_error=False),
        lambda: made.add_tool_result("toolu_2", [], seq=6, is_error=True),
        lambda: made.add_assistant([text_block("Seen.")]),
        lambda: made.clear_results(before_seq=6),
        lambda: made.add_user([text_block("Go on.")]),
        lambda: made.add_assistant([text_block("Done.")]),
        lambda: made.replace_by([text_block("What was said, in short.")]),
        lambda: made.add_assistant([text_block("Yes.")]),
    ]
    assert _content(made.encode()) == _content(())
    for step in steps:
        step()
        assert _content(made.encode()) == _content(tuple(made.encode()))
        assert _body(made.encode()) == _body(tuple(made.encode()))
        for word in WORDS:
            assert _request(made.encode(), TOOLS).mentions(word) is (word in _content(made.encode(), TOOLS))


def test_a_message_that_no_longer_grows_is_translated_once() -> None:
    asked: list[JsonObject] = []

    def noted(message: JsonObject) -> JsonObject | None:
        asked.append(message)
        return None if message["role"] == "assistant" else message

    made = history()
    before = made.encode()
    assert [each.object["role"] for each in translated(before, noted)] == ["user"] * 3
    made.add_assistant([text_block("Done.")])
    made.add_user([text_block("Thanks.")])
    asked.clear()
    assert [each.object["role"] for each in translated(made.encode(), noted)] == ["user"] * 4
    assert len(asked) == 3  # the last of before may have grown, the two after it are new
    asked.clear()
    assert (
        len(translated(before, noted)) == 3
    )  # a shorter one of the same conversation sees no more than it holds
    made.clear_results(before_seq=9)
    translated(made.encode(), noted)
    assert len(asked) == 1 + len(made.messages)


def test_tools_are_encoded_once_for_every_call_and_none_are_no_tools() -> None:
    assert _content((), EncodedObjects.all_of([])) == _content(())
    assert _content((), EncodedObjects.all_of([use("a"), use("b")])) == _content((), (use("a"), use("b")))


def _body(messages: tuple[JsonObject, ...]) -> bytes:
    return encode_body(request_body(ModelRequest(model="claude-opus-5-5", messages=messages, max_tokens=1)))


def _content(messages: tuple[JsonObject, ...], tools: tuple[JsonObject, ...] = ()) -> bytes:
    return _request(messages, tools).content_json


def _request(messages: tuple[JsonObject, ...], tools: tuple[JsonObject, ...]) -> ModelRequest:
    return ModelRequest(model="scripted/any", messages=messages, tools=tools, max_tokens=1)
