"""Tools as one JSON action: the pure translation, and the driver that uses it."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from remit.errors import ModelCallFailed
from remit.models.drivers.json_actions import (
    INPUT_OF_THAT_NAME,
    RESULT_CHARACTERS_MAX,
    action_blocks,
    action_format,
    action_request,
)
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.session.view import SHORT_FACTS_CHARACTERS_MAX, SHORT_WORKING_RULES, WORKING_RULES
from remit.testing.model_server import ModelServer, ServedAnswer
from remit.toolsets.inputs import definitions
from remit.values import JsonObject, ModelDelta, ModelRequest, ModelResponse

TOOLS = tuple(tool.definition for tool in definitions())
HELLO = ModelRequest(
    model="some-model",
    system="The long rules.",
    system_short="The short rules.",
    messages=({"role": "user", "content": "hello"},),
    max_tokens=100,
    tools=TOOLS,
)


def actions_of(format: JsonObject) -> dict[str, list[str]]:
    """What the schema allows: action to its inputs."""
    schema = format["json_schema"]["schema"]  # type: ignore[index,call-overload]
    return {
        one["properties"]["action"]["const"]: [name for name in one["required"] if name != "action"]  # type: ignore[index,call-overload,union-attr]
        for one in schema["anyOf"]  # type: ignore[index,call-overload,union-attr]
    }


def test_the_schema_allows_each_tool_with_what_it_needs_and_a_final_word() -> None:
    assert actions_of(action_format(TOOLS)) == {
        "bash": ["command"],
        "read": ["file_path"],
        "write": ["file_path", "content"],
        "edit": ["file_path", "old_string", "new_string"],
        "glob": ["pattern"],
        "grep": ["pattern"],
        "answer": ["text"],
    }


@pytest.mark.parametrize(
    ("choice", "allowed"),
    [
        ({"type": "none"}, {"answer"}),
        ({"type": "tool", "name": "read"}, {"read"}),
        ({"type": "any"}, {"bash", "read", "write", "edit", "glob", "grep"}),
    ],
)
def test_a_tool_choice_narrows_the_schema(choice: JsonObject, allowed: set[str]) -> None:
    assert set(actions_of(action_format(TOOLS, choice))) == allowed


@pytest.mark.parametrize("choice", [{"type": "tool", "name": "nothing"}, {"type": "some"}])
def test_a_tool_choice_that_means_nothing_is_refused(choice: JsonObject) -> None:
    with pytest.raises(ModelCallFailed, match="tool_choice"):
        action_format(TOOLS, choice)


def test_an_input_of_the_same_name_has_another_one_in_the_action() -> None:
    tool: JsonObject = {
        "name": "t",
        "input_schema": {"type": "object", "properties": {"action": {"type": "string"}}},
    }
    format: Any = action_format([tool])  # Any: JSON, looked into
    schema = format["json_schema"]["schema"]["anyOf"][0]
    assert schema["properties"] == {"action": {"const": "t"}, INPUT_OF_THAT_NAME: {"type": "string"}}
    (call,) = action_blocks(f'{{"action": "t", "{INPUT_OF_THAT_NAME}": "keep"}}', [tool], call_id="c")
    assert call == {"type": "tool_use", "id": "c", "name": "t", "input": {"action": "keep"}}
    told = action_request(
        msgspec.structs.replace(HELLO, messages=({"role": "assistant", "content": [call]},))
    )
    assert told.messages[0]["content"] == f'{{"action":"t","{INPUT_OF_THAT_NAME}":"keep"}}'


def test_the_history_is_told_in_the_words_of_the_actions() -> None:
    use: JsonObject = {"type": "tool_use", "id": "call_1", "name": "bash", "input": {"command": "ls"}}
    result: JsonObject = {
        "type": "tool_result",
        "tool_use_id": "call_1",
        "content": [{"type": "text", "text": "a.txt"}],
    }
    failed: JsonObject = {**result, "content": "no such file", "is_error": True}
    request = msgspec.structs.replace(
        HELLO,
        messages=(
            {"role": "user", "content": "list"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, use]},
            {"role": "user", "content": [result, failed]},
        ),
    )
    told = action_request(request)

    assert told.tools == ()
    assert told.system is not None
    assert told.system.startswith("The short rules.")
    assert [message["content"] for message in told.messages] == [
        "list",
        '{"action":"bash","command":"ls"}',
        "It worked. Result:\na.txt\nIf nothing is left to do, answer now.\n\nThe tool failed:\nno such file",
    ]


def test_a_long_result_is_cut_in_the_middle_and_says_so() -> None:
    result: JsonObject = {"type": "tool_result", "tool_use_id": "x", "content": "a" * 9_000 + "end"}
    request = msgspec.structs.replace(HELLO, messages=({"role": "user", "content": [result]},))
    text = str(action_request(request).messages[0]["content"])

    assert len(text) < RESULT_CHARACTERS_MAX + 100
    assert "characters left out" in text
    assert "aend\n" in text


def test_an_image_is_refused_by_name() -> None:
    image: JsonObject = {"type": "image", "source": {"type": "url", "url": "http://x"}}
    with pytest.raises(ModelCallFailed, match="'image'"):
        action_request(msgspec.structs.replace(HELLO, messages=({"role": "user", "content": [image]},)))


def test_an_image_that_a_tool_shows_is_told_of() -> None:
    image: JsonObject = {"type": "image", "source": {"type": "url", "url": "http://x"}}
    result: JsonObject = {"type": "tool_result", "tool_use_id": "c", "content": [image]}
    told = action_request(msgspec.structs.replace(HELLO, messages=({"role": "user", "content": [result]},)))
    assert "which you cannot see" in str(told.messages[0]["content"])


@pytest.mark.parametrize("text", ["{", "[1]", '{"action": "unknown", "x": 1}', "plain words"])
def test_what_is_no_action_stays_text(text: str) -> None:
    assert action_blocks(text, TOOLS, call_id="c") == ({"type": "text", "text": text},)


def test_the_prompt_of_a_small_model_stays_under_a_thousand_tokens() -> None:
    facts = "x" * SHORT_FACTS_CHARACTERS_MAX
    request = msgspec.structs.replace(HELLO, system_short=f"{SHORT_WORKING_RULES}\n\n{facts}")
    system = action_request(request).system
    assert system is not None
    # About four characters a token, measured; three to be safe.
    assert len(system) / 3 < 1_000
    assert len(SHORT_WORKING_RULES) < len(WORKING_RULES)


async def drive(answer: ServedAnswer) -> tuple[list[JsonObject], list[ModelDelta | ModelResponse]]:
    server = ModelServer([answer])
    with anyio.fail_after(10):
        async with server.serving():
            driver = OpenAIChatProvider(
                api_key=None, base_url=f"{server.url}/v1", name="local", uses_json_actions=True
            )
            items = [item async for item in driver.stream(HELLO)]
            await driver.close()
    return [request.body for request in server.requests], items


@pytest.mark.anyio
async def test_the_driver_asks_for_an_action_and_gives_back_a_tool_use() -> None:
    bodies, items = await drive(ServedAnswer(chunks=('{"action": "bash", ', '"command": "ls"}')))

    assert bodies[0]["response_format"] == action_format(TOOLS)
    assert "tools" not in bodies[0]
    (response,) = items  # half an action is not shown
    assert isinstance(response, ModelResponse)
    (use,) = response.content
    assert (use["type"], use["name"], use["input"]) == ("tool_use", "bash", {"command": "ls"})
    assert use["id"]
    assert response.stop_reason == "tool_use"


@pytest.mark.anyio
async def test_the_final_word_ends_the_turn() -> None:
    _, (response,) = await drive(ServedAnswer(chunks=('{"action": "answer", "text": "All done."}',)))

    assert isinstance(response, ModelResponse)
    assert response.content == ({"type": "text", "text": "All done."},)
    assert response.stop_reason == "end_turn"


@pytest.mark.anyio
async def test_an_action_that_the_limit_cut_is_not_carried_out() -> None:
    _, (response,) = await drive(
        ServedAnswer(chunks=('{"action": "bash", "command": "rm -r',), stop_reason="max_tokens")
    )

    assert isinstance(response, ModelResponse)
    assert response.stop_reason == "max_tokens"
    assert [block["type"] for block in response.content] == ["text"]
