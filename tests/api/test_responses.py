"""/v1/responses with the official client: any model behind it, in that protocol's words."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from api.gateway_world import gateway_world
from remit.testing.model_server import Answer, ServedToolUse
from remit.values import Usage

pytestmark = pytest.mark.anyio

PROVIDERS = ["anthropic", "chat", "responses"]
TOOLS = [{"type": "function", "name": "bash", "parameters": {"type": "object"}, "strict": False}]
USE = ServedToolUse(id="call_1", name="bash", input={"command": "ls"})
RICH = Answer(
    chunks=("Good ", "day"),
    thinking="hm",
    tool_uses=(USE,),
    stop_reason="tool_use",
    usage=Usage(input_tokens=7, output_tokens=3, cache_read_input_tokens=100),
)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_has_its_text_calls_and_usage(tmp_path: Path, provider: str) -> None:
    async with gateway_world(tmp_path, **{provider: [RICH]}) as world, world.openai() as client:
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
        gateway_world(tmp_path, **{provider: [RICH]}) as world,
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
    cut = Answer(chunks=("Good ",), stop_reason="max_tokens")
    async with gateway_world(tmp_path, anthropic=[cut]) as world, world.openai() as client:
        answer = await client.responses.create(model="anthropic/m", input="hello")
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("provider", ["anthropic", "responses"])
async def test_reasoning_goes_out_sealed_and_comes_back_to_its_model(tmp_path: Path, provider: str) -> None:
    async with gateway_world(tmp_path, **{provider: [RICH, RICH]}) as world, world.openai() as client:
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
