"""/v1/responses with the official client: any model behind it, in that protocol's words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import openai
import pytest

from api.gateway_world import gateway_world
from remit.gateway.protocols.responses_tools import flat_name
from remit.testing.model_server import ServedAnswer, ServedToolUse
from remit.values import JsonObject, Usage

pytestmark = pytest.mark.anyio

PROVIDERS = ["anthropic", "chat", "responses"]
TOOLS = [{"type": "function", "name": "bash", "parameters": {"type": "object"}, "strict": False}]
USE = ServedToolUse(id="call_1", name="bash", input={"command": "ls"})
RICH = ServedAnswer(
    chunks=("Good ", "day"),
    thinking="hm",
    tool_uses=(USE,),
    stop_reason="tool_use",
    usage=Usage(input_tokens=7, output_tokens=3, cache_read_input_tokens=100),
)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_has_its_text_calls_and_usage(tmp_path: Path, provider: str) -> None:
    async with gateway_world(tmp_path, {provider: [RICH]}) as world, world.openai() as client:
        answer = await client.responses.create(model=f"{provider}/m", input="hello", tools=TOOLS)
        assert len(await world.holds()) == 2
    assert answer.output_text == "Good day"
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert (call.call_id, call.name, call.arguments) == ("call_1", "bash", '{"command":"ls"}')
    assert answer.status == "completed"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (107, 3)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_is_what_the_official_client_accumulates(tmp_path: Path, provider: str) -> None:
    types: list[str] = []
    async with (
        gateway_world(tmp_path, {provider: [RICH]}) as world,
        world.openai() as client,
        client.responses.stream(model=f"{provider}/m", input="hello", tools=TOOLS) as stream,
    ):
        async for event in stream:
            types.append(event.type)  # noqa: PERF401 the accumulator below needs them read
        answer = await stream.get_final_response()
    assert answer.output_text == "Good day"
    assert types[:2] == ["response.created", "response.in_progress"]
    assert types[-1] == "response.completed"
    for kind in ("output_item", "content_part"):
        assert types.count(f"response.{kind}.added") == types.count(f"response.{kind}.done")
    assert [item.type for item in answer.output if item.type != "reasoning"] == ["message", "function_call"]


async def test_an_answer_that_was_cut_is_incomplete(tmp_path: Path) -> None:
    cut = ServedAnswer(chunks=("Good ",), stop_reason="max_tokens")
    async with gateway_world(tmp_path, anthropic=[cut]) as world, world.openai() as client:
        answer = await client.responses.create(model="anthropic/m", input="hello")
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("provider", ["anthropic", "responses"])
async def test_reasoning_goes_out_sealed_and_comes_back_to_its_model(tmp_path: Path, provider: str) -> None:
    async with gateway_world(tmp_path, {provider: [RICH, RICH]}) as world, world.openai() as client:
        answer = await client.responses.create(
            model=f"{provider}/m", input="hello", tools=TOOLS, include=["reasoning.encrypted_content"]
        )
        items = [item.model_dump(exclude_none=True) for item in answer.output]
        output = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
        await client.responses.create(
            model=f"{provider}/m", input=[{"role": "user", "content": "hello"}, *items, output], tools=TOOLS
        )
    sent = world.sent(provider)
    if provider == "anthropic":
        thinking = sent["messages"][1]["content"][0]
        assert (thinking["type"], thinking["signature"]) == ("thinking", "c2lnbmF0dXJl")
    else:
        reasoning = next(item for item in sent["input"] if item["type"] == "reasoning")
        assert (reasoning["id"], reasoning["encrypted_content"]) == ("rs_1", "c2VhbGVk")
        assert (sent["store"], sent["service_tier"]) == (False, "default")


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"tools": [{"type": "file_search"}]}, "tools[0].type"),
        ({"input": [{"type": "computer_call_output"}]}, "input[0].type"),
    ],
)
async def test_what_cannot_be_said_is_refused_by_name(
    tmp_path: Path, extra: dict[str, object], named: str
) -> None:
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.openai() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="anthropic/m", input="hello", extra_body=extra)
    assert refused.value.param == named


OFFERED = [
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: PATCH"},
    },
    {
        "type": "namespace",
        "name": "mcp__forge",
        "description": "A forge.",
        "tools": [{"type": "function", "name": "list_issues", "parameters": {"type": "object"}}],
    },
    {"type": "local_shell"},
]
CALLED = ServedAnswer(
    tool_uses=(
        ServedToolUse(id="call_1", name="apply_patch", input={"input": "*** Begin Patch"}),
        ServedToolUse(id="call_2", name="mcp__forge__list_issues", input={"state": "open"}),
        ServedToolUse(id="call_3", name="local_shell", input={"command": ["ls", "-l"]}),
    ),
    stop_reason="tool_use",
)


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_tools_of_every_kind_are_called_as_they_were_offered(
    tmp_path: Path, provider: str, is_streamed: bool
) -> None:
    asked = {"model": f"{provider}/m", "input": "hello", "tools": OFFERED}
    types: list[str] = []
    async with gateway_world(tmp_path, {provider: [CALLED, CALLED]}) as world, world.openai() as client:
        if is_streamed:
            async with client.responses.stream(**asked) as stream:
                types = [event.type async for event in stream]
                answer = await stream.get_final_response()
        else:
            answer = await client.responses.create(**asked)
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
        listed = [{"type": "input_text", "text": "none"}]
        outputs = [
            {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done."},
            {"type": "function_call_output", "call_id": "call_2", "output": listed},
            {"type": "local_shell_call_output", "call_id": "call_3", "output": "a.txt"},
        ]
        history = [{"role": "user", "content": "hello"}, *items, *outputs]
        await client.responses.create(**{**asked, "input": history})
        sent = world.sent(provider)
    patch, issues, shell = answer.output
    assert (patch.type, patch.name, patch.input) == ("custom_tool_call", "apply_patch", "*** Begin Patch")
    assert (issues.type, issues.namespace, issues.name) == ("function_call", "mcp__forge", "list_issues")
    assert json.loads(issues.arguments) == {"state": "open"}
    assert (shell.type, shell.action.type, shell.action.command) == ("local_shell_call", "exec", ["ls", "-l"])
    assert not is_streamed or "response.custom_tool_call_input.done" in types
    text = json.dumps(sent)
    assert "must follow this lark grammar" in text
    assert "*** Begin Patch" in text
    for name in ("apply_patch", "mcp__forge__list_issues", "local_shell"):
        assert text.count(f'"name": "{name}"') == 2, "offered, and called in the history"


@pytest.mark.parametrize(
    ("given", "input"),
    [
        ({"input": "ls"}, "ls"),
        ({"patch": "ls"}, "ls"),
        ({}, ""),
        ({"a": 1, "b": "x"}, '{"a":1,"b":"x"}'),
        ({"unparsed_arguments": "*** Begin"}, "*** Begin"),
    ],
)
async def test_what_a_model_writes_to_a_custom_tool_reaches_it(
    tmp_path: Path, given: JsonObject, input: str
) -> None:
    wrote = ServedAnswer(tool_uses=(ServedToolUse(id="call_1", name="apply_patch", input=given),))
    async with gateway_world(tmp_path, anthropic=[wrote]) as world, world.openai() as client:
        answer = await client.responses.create(model="anthropic/m", input="hello", tools=OFFERED[:1])
    assert answer.output[0].input == input


@pytest.mark.parametrize(("length", "is_kept"), [(20, True), (70, False)])
def test_a_name_in_a_namespace_is_one_that_providers_take(length: int, is_kept: bool) -> None:
    name = flat_name("a" * length, "n s")
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert flat_name("a" * length, "ns").endswith("a" * length) == is_kept
    assert name != flat_name("a" * length, "n_s"), "two tools stay two"


async def test_what_a_developer_says_in_between_stands_where_it_was_said(tmp_path: Path) -> None:
    history = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"type": "function_call", "call_id": "call_1", "name": "bash", "arguments": "{}"},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be briefer."}]},
        {"type": "function_call_output", "call_id": "call_1", "output": "done"},
    ]
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.openai() as client:
        await client.responses.create(
            model="anthropic/m", input=history, instructions="Be good.", tools=TOOLS
        )
        sent = world.sent("anthropic")
    assert [block["text"] for block in sent["system"]] == ["Be good.\n\nBe brief."]
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in sent["messages"][2]["content"]] == ["tool_result", "text"]
