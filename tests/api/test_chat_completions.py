"""/v1/chat/completions with the official client: any model behind it, in that protocol's words."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from api.gateway_world import gateway_world
from remit.gateway.retry_plan import RetrySettings
from remit.testing.model_server import ServedAnswer, ServedToolUse
from remit.values import Usage

pytestmark = pytest.mark.anyio

PROVIDERS = ["anthropic", "chat", "responses"]
HELLO = [{"role": "user", "content": "hello"}]
FUNCTION = {"name": "bash", "description": "Run", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FUNCTION}]
USE = ServedToolUse(id="call_1", name="bash", input={"command": "ls"})
RICH = ServedAnswer(
    chunks=("Good ", "day"),
    tool_uses=(USE,),
    stop_reason="tool_use",
    usage=Usage(input_tokens=7, output_tokens=3, cache_read_input_tokens=100),
)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_has_its_text_calls_and_usage(tmp_path: Path, provider: str) -> None:
    async with gateway_world(tmp_path, {provider: [RICH]}) as world, world.openai() as client:
        answer = await client.chat.completions.create(model=f"{provider}/m", messages=HELLO, tools=TOOLS)
        assert len(await world.holds()) == 2
    (choice,) = answer.choices
    assert choice.message.content == "Good day"
    assert choice.message.tool_calls[0].function.arguments == '{"command":"ls"}'
    assert choice.finish_reason == "tool_calls"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (107, 3)
    assert answer.usage.prompt_tokens_details.cached_tokens == 100


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_is_what_the_official_client_accumulates(tmp_path: Path, provider: str) -> None:
    async with (
        gateway_world(tmp_path, {provider: [RICH]}) as world,
        world.openai() as client,
        client.chat.completions.stream(
            model=f"{provider}/m", messages=HELLO, tools=TOOLS, stream_options={"include_usage": True}
        ) as stream,
    ):
        answer = await stream.get_final_completion()
    (choice,) = answer.choices
    assert choice.message.content == "Good day"
    assert choice.message.tool_calls[0].function.name == "bash"
    assert choice.message.tool_calls[0].function.arguments.replace(" ", "") == '{"command":"ls"}'
    assert choice.finish_reason == "tool_calls"
    assert answer.usage.total_tokens == 110


async def test_a_conversation_reaches_a_messages_provider_in_its_own_words(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "look"}, _image()]},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "bash", "arguments": '{"a": 1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        {"role": "user", "content": "and now?"},
    ]
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.openai() as client:
        await client.chat.completions.create(
            model="anthropic/m",
            messages=messages,
            tools=TOOLS,
            tool_choice="required",
            parallel_tool_calls=False,
            stop=["END"],
            top_p=0.5,
            max_completion_tokens=99,
            reasoning_effort="low",
        )
    sent = world.sent("anthropic")
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][0]["content"][1]["source"]["media_type"] == "image/png"
    assert sent["messages"][1]["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "bash", "input": {"a": 1}}
    ]
    assert [block["type"] for block in sent["messages"][2]["content"]] == ["tool_result", "text"]
    assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert (sent["stop_sequences"], sent["top_p"], sent["max_tokens"]) == (["END"], 0.5, 99)
    assert sent["output_config"] == {"effort": "low"}
    assert "Be brief." in str(sent["system"])


async def test_a_schema_for_the_answer_is_passed_on(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    async with (
        gateway_world(tmp_path, anthropic=[RICH], chat=[RICH]) as world,
        world.openai() as client,
    ):
        for provider in ("anthropic", "chat"):
            await client.chat.completions.create(
                model=f"{provider}/m", messages=HELLO, response_format=format
            )
    assert world.sent("anthropic")["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert world.sent("chat")["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"n": 2}, "n"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"store": True}, "store"),
        ({"seed": 7}, "seed"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
        ),
    ],
)
async def test_what_cannot_be_said_is_refused_in_the_protocols_own_envelope(
    tmp_path: Path, extra: dict[str, object], named: str
) -> None:
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.openai() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                **{"model": "anthropic/m", "messages": HELLO, "extra_body": extra}
            )
        assert world.servers["anthropic"].requests == []
    assert (refused.value.type, refused.value.param) == ("invalid_request_error", named)


async def test_fields_of_the_protocol_alone_reach_a_provider_of_it(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, chat=[RICH]) as world, world.openai() as client:
        await client.chat.completions.create(model="chat/m", messages=HELLO, seed=7, frequency_penalty=0.5)
    assert (world.sent("chat")["seed"], world.sent("chat")["frequency_penalty"]) == (7, 0.5)


async def test_an_unknown_key_is_refused_in_the_protocols_own_envelope(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, chat=[RICH]) as world, world.openai(key="rk_none") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.chat.completions.create(model="chat/m", messages=HELLO)
    assert refused.value.type == "authentication_error"


async def test_the_official_clients_own_retry_is_paid_for_once(tmp_path: Path) -> None:
    """It repeats a request under one idempotency key: a provider that was overloaded is asked again, no more."""
    answers = [ServedAnswer(status=529), RICH]
    async with (
        gateway_world(tmp_path, retries=RetrySettings(attempts_max=1), anthropic=answers) as world,
        world.openai(max_retries=1) as client,
    ):
        answer = await client.chat.completions.create(model="anthropic/m", messages=HELLO)
        assert [hold.settled for hold in await world.holds() if hold.unit == "tokens"] == [0, 110]
    assert answer.choices[0].message.content == "Good day"


async def test_a_stream_that_breaks_says_so_in_the_stream(tmp_path: Path) -> None:
    broken = ServedAnswer(chunks=("Good ",), fault="cut")
    async with gateway_world(tmp_path, chat=[broken]) as world, world.openai() as client:
        stream = await client.chat.completions.create(model="chat/m", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            _ = [chunk async for chunk in stream]


def _image() -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
