"""What drivers do when a server wants the request otherwise, takes its time, or has a key that is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import anyio
import msgspec
import pytest

from remit.errors import ModelCallFailed
from remit.interfaces import ModelProvider
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.models.http.endpoint import ModelTimeouts
from remit.values import ModelRequest, ModelResponse
from support.raw_server import Exchange, raw_server

pytestmark = pytest.mark.anyio

Make = Callable[..., ModelProvider]
PATIENT = ModelTimeouts(silence_seconds=5, total_seconds=10, listing_seconds=2)
HASTY = ModelTimeouts(silence_seconds=0.1, total_seconds=10, listing_seconds=2)
TOO_MUCH = (
    "This model's maximum context length is 8192 tokens. However, you requested 16702 tokens (318 in the messages, "
    "16384 in the completion)."
)
WHOLE = {
    OpenAIChatProvider: {
        "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    },
    OpenAIResponsesProvider: {
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
        "usage": {"input_tokens": 10, "output_tokens": 5},
    },
    AnthropicProvider: {
        "type": "message",
        "id": "msg_1",
        "model": "m",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    },
}
ALL = pytest.mark.parametrize("speaks", list(WHOLE))


def answer_of(status: int, body: Any) -> bytes:
    encoded = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(encoded)}\r\n\r\n"
    return head.encode() + encoded


def refusing(messages: Sequence[str], whole: Any) -> Callable[[Exchange], Any]:
    """Refuses once with each, then answers."""
    left = list(messages)

    async def answer(exchange: Exchange) -> bool:
        if left:
            await exchange.send(
                answer_of(400, {"error": {"message": left.pop(0), "type": "invalid_request_error"}})
            )
        else:
            await exchange.send(answer_of(200, whole))
        return True

    return answer


def history(*, signed_by: str | None = None) -> tuple[dict[str, Any], ...]:
    kept = {"provider": signed_by, "model": "m", "fields": {"reasoning_content": None}, "calls": {}}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": f"chat:{json.dumps(kept)}"}
    return (
        {"role": "user", "content": "go on"},
        {
            "role": "assistant",
            "content": [
                *([thought] if signed_by else []),
                {"type": "tool_use", "id": "call_1", "name": "bash", "input": {"command": "ls"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "a"}]},
    )


def ask(
    messages: tuple[dict[str, Any], ...] = ({"role": "user", "content": "hi"},), **fields: Any
) -> ModelRequest:
    return ModelRequest(**{"model": "m", "messages": messages, "max_tokens": 16_384, **fields})


async def collect(driver: ModelProvider, request: ModelRequest) -> ModelResponse:
    items = [item async for item in driver.stream(request)]
    assert isinstance(items[-1], ModelResponse)
    return items[-1]


@ALL
async def test_less_is_asked_for_where_the_server_says_how_much_it_can(speaks: Make) -> None:
    with anyio.fail_after(10):
        async with raw_server(refusing([TOO_MUCH], WHOLE[speaks])) as server:
            driver = speaks(api_key="k", base_url=server.url, timeouts=PATIENT)
            response = await collect(driver, ask())
            await driver.close()
    assert response.content[0]["text"] == "Hello"
    bodies = [json.loads(exchange.body) for exchange in server.requests]
    asked = [next(body[name] for name in body if name.startswith("max_")) for body in bodies]
    assert asked == [16_384, 7_858]


@ALL
async def test_a_refusal_that_goes_on_is_told(speaks: Make) -> None:
    with anyio.fail_after(10):
        async with raw_server(refusing([TOO_MUCH] * 9, WHOLE[speaks])) as server:
            driver = speaks(api_key="k", base_url=server.url, timeouts=PATIENT)
            with pytest.raises(ModelCallFailed, match="maximum context length") as failed:
                await collect(driver, ask())
            await driver.close()
    assert (failed.value.reason, failed.value.billed) == ("too_long", "no")
    assert len(server.requests) <= 3


@pytest.mark.parametrize(
    ("refusal", "signed_by", "then"),
    [
        (  # earendil-works/pi#3635: after another model's turn, or thinking that was left out
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
            None,
            {"reasoning_content": ""},
        ),
        (
            "Missing `reasoning_content` field in the assistant message at message index 2.",
            None,
            {"reasoning_content": ""},
        ),
        (  # tashfeenahmed/freellmapi#1070
            "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property "
            "'reasoning_content' is unsupported)]",
            "local",
            {"reasoning_content": None},
        ),
        (  # charmbracelet/crush#1590
            '[{"type":"extra_forbidden","loc":["body","messages",2,"assistant","reasoning_content"],"msg":"Extra inputs '
            'are not permitted"}]',
            "local",
            {"reasoning_content": None},
        ),
        (  # docker/docker-agent#2155
            "Function call is missing a thought_signature in functionCall parts.",
            None,
            {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}},
        ),
    ],
)
async def test_reasoning_goes_back_as_the_server_wants_it(
    refusal: str, signed_by: str | None, then: dict[str, Any]
) -> None:
    with anyio.fail_after(10):
        async with raw_server(refusing([refusal], WHOLE[OpenAIChatProvider])) as server:
            driver = OpenAIChatProvider(api_key="k", base_url=server.url, timeouts=PATIENT, name="local")
            await collect(driver, ask(history(signed_by=signed_by)))
            await collect(driver, ask(history(signed_by=signed_by)))
            await driver.close()
    said = [json.loads(exchange.body)["messages"][1] for exchange in server.requests]
    assert len(said) == 3, "what a server wants is remembered"
    if signed_by:
        assert said[0]["reasoning_content"] == "Hm."
    for message in said[1:]:
        sent = {**message, **message["tool_calls"][0]}
        assert {name: sent.get(name) for name in then} == then


@pytest.mark.parametrize(
    ("refusal", "lacks", "is_remembered"),
    [
        # OpenHands/software-agent-sdk#1208: every model of the vendor's that does not think
        ("Encrypted content is not supported with this model.", '"include"', True),
        ("Unsupported parameter: 'include'", '"include"', True),
        ("service_tier: Extra inputs are not permitted", '"service_tier"', True),
        ("Unknown parameter: 'store'.", '"store"', True),
        ("The encrypted content for item rs_1 could not be verified.", "sealed", False),
        (
            "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
            "sealed",
            False,
        ),
    ],
)
async def test_what_a_server_of_responses_does_not_know_is_left_out(
    refusal: str, lacks: str, is_remembered: bool
) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "openai:rs_1:sealed"}
    told = (
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "Yes."}]},
        {"role": "user", "content": "go on"},
    )
    with anyio.fail_after(10):
        async with raw_server(refusing([refusal], WHOLE[OpenAIResponsesProvider])) as server:
            driver = OpenAIResponsesProvider(api_key="k", base_url=server.url, timeouts=PATIENT)
            for _ in range(2):
                await collect(driver, ask(told))
            await driver.close()
    first, second, third = [exchange.body.decode() for exchange in server.requests]
    assert lacks in first
    assert lacks not in second
    assert (lacks not in third) == is_remembered


def mistral(messages: list[dict[str, Any]]) -> str | None:
    """What Mistral's own validation says first (mistralai/mistral-common: request validators)."""
    ids = [call["id"] for message in messages for call in message.get("tool_calls", [])]
    ids += [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    if wrong := [id for id in ids if not (len(id) == 9 and id.isalnum())]:
        return f"Tool call id was {wrong[0]} but must be a-z, A-Z, 0-9, with a length of 9."
    for before, after in pairwise(message["role"] for message in messages):
        if (before, after) == ("tool", "user"):
            return "Unexpected role 'user' after role 'tool'"
    return None


def gemma(messages: list[dict[str, Any]]) -> str | None:
    """What templates with one order of roles say (charmbracelet/crush#279)."""
    if any(message["role"] == "system" for message in messages):
        return "System role not supported"
    told = [m["role"] for m in messages if m["role"] != "tool" and "tool_calls" not in m]
    if any(before == after for before, after in pairwise(told)):
        return "After the optional system message, conversation roles must alternate user and assistant roles"
    return None


def plain(messages: list[dict[str, Any]]) -> str | None:
    """What servers say that know a content as one text alone (HKUDS/nanobot#1303; DeepSeek's door)."""
    for number, message in enumerate(messages):
        content = message["content"]
        if content is None:
            return "invalid message content type: <nil>"
        if isinstance(content, list) and all(part["type"] == "text" for part in content):
            return f"messages[{number}].content: invalid type: sequence, expected a string"
    return None


@pytest.mark.parametrize(
    ("refusal", "field", "then"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "max_tokens",
            {"max_completion_tokens": 16_384},
        ),
        ("stream_options: Extra inputs are not permitted", "stream_options", {}),
        ("Unrecognized request argument supplied: stream_options", "stream_options", {}),
    ],
)
async def test_a_field_that_a_server_does_not_know_is_left_out_or_called_otherwise(
    refusal: str, field: str, then: dict[str, Any]
) -> None:
    with anyio.fail_after(10):
        async with raw_server(refusing([refusal], WHOLE[OpenAIChatProvider])) as server:
            driver = OpenAIChatProvider(api_key="k", base_url=server.url, timeouts=PATIENT)
            for _ in range(2):
                await collect(driver, ask())
            await driver.close()
    first, *others = [json.loads(exchange.body) for exchange in server.requests]
    assert field in first
    assert len(others) == 2, "what a server wants is remembered"
    for body in others:
        assert field not in body
        assert then.items() <= body.items()


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("server_of", [mistral, gemma, plain])
async def test_messages_go_out_in_the_order_that_the_server_knows(
    server_of: Callable[[list[dict[str, Any]]], str | None], status: int
) -> None:
    use = {"type": "tool_use", "id": "call_0fypS1hVX", "name": "bash", "input": {}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    result = {
        "type": "tool_result",
        "tool_use_id": use["id"],
        "content": [{"type": "text", "text": "x"}, image],
    }
    told = (
        {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, use]},
        {"role": "user", "content": [result, {"type": "text", "text": "stop that"}]},
        {"role": "assistant", "content": [{**use, "id": "call_2"}]},
        {"role": "user", "content": [{**result, "tool_use_id": "call_2", "content": "y"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Done."}]},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "text", "text": "now?"}]},
    )

    async def answer(exchange: Exchange) -> bool:
        refusal = server_of(json.loads(exchange.body)["messages"])
        whole = WHOLE[OpenAIChatProvider]
        await exchange.send(
            answer_of(200, whole) if refusal is None else answer_of(status, {"error": {"message": refusal}})
        )
        return True

    request = msgspec.structs.replace(ask(told), system="Be brief.")
    with anyio.fail_after(10):
        async with raw_server(answer) as server:
            driver = OpenAIChatProvider(api_key="k", base_url=server.url, timeouts=PATIENT, name="local")
            for _ in range(2):
                response = await collect(driver, request)
                assert response.content[0]["text"] == "Hello"
            await driver.close()
    bodies = [json.loads(exchange.body) for exchange in server.requests]
    assert len(bodies) <= 4, "what a server wants is remembered"
    sent = json.dumps(bodies[-1])
    assert all(words in sent for words in ("Be brief.", "I look.", "stop that", "iVBORw0KGgo="))
    calls = [call["id"] for message in bodies[-1]["messages"] for call in message.get("tool_calls", [])]
    assert len(set(calls)) == 2
    assert [m["tool_call_id"] for m in bodies[-1]["messages"] if m["role"] == "tool"] == calls


@ALL
async def test_the_first_byte_may_take_longer_than_the_others(speaks: Make) -> None:
    async def answer(exchange: Exchange) -> bool:
        await anyio.sleep(0.3)
        await exchange.send(answer_of(200, WHOLE[speaks]))
        return True

    with anyio.fail_after(10):
        async with raw_server(answer) as server:
            driver = speaks(api_key="k", base_url=server.url, timeouts=HASTY)
            with pytest.raises(ModelCallFailed, match=r"silent for 0\.1 s .*first_byte_seconds"):
                await collect(driver, ask())
            await collect(driver, ask(first_byte_seconds=3.0))
            await driver.close()
            patient = speaks(
                api_key="k",
                base_url=server.url,
                timeouts=msgspec.structs.replace(HASTY, first_byte_seconds=3.0),
            )
            await collect(patient, ask())
            await patient.close()


async def test_after_the_first_byte_silence_is_silence() -> None:
    async def answer(exchange: Exchange) -> bool:
        chunk = b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'
        await exchange.send(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n" + chunk)
        await exchange.until_gone()
        return False

    with anyio.fail_after(4):
        async with raw_server(answer) as server:
            driver = OpenAIChatProvider(api_key="k", base_url=server.url, timeouts=HASTY)
            with pytest.raises(ModelCallFailed, match=r"silent for 0\.1 s"):
                await collect(driver, ask(first_byte_seconds=60.0))
            await driver.close()


@pytest.mark.parametrize(
    ("speaks", "url", "seconds"),
    [
        (OpenAIChatProvider, None, None),
        (OpenAIChatProvider, "http://127.0.0.1:8000/v1", 1_800),
        (OpenAIResponsesProvider, "http://10.0.0.1/v1", 1_800),
        (AnthropicProvider, None, None),
        (AnthropicProvider, "https://api.anthropic.com", None),
        (AnthropicProvider, "http://127.0.0.1:8000", 1_800),
    ],
)
def test_a_server_of_ones_own_is_given_longer(speaks: Make, url: str | None, seconds: float | None) -> None:
    driver = speaks(api_key="k", base_url=url)
    assert driver._endpoint._timeouts.first_byte_seconds == seconds  # pyright: ignore


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("a", "a bad answer for a"),
        ("EMPTY", "EMPTY"),
        ("sk-secret-key", "[key]"),
    ],
)
async def test_a_key_that_is_none_stars_nothing(key: str, told: str) -> None:
    async with raw_server(refusing([f"a bad answer for {key}"], {})) as server:
        driver = OpenAIChatProvider(api_key=key, base_url=server.url, timeouts=PATIENT)
        with pytest.raises(ModelCallFailed) as failed:
            await collect(driver, ask())
        await driver.close()
    assert told in failed.value.message
    assert ("[key]" in failed.value.message) == (told == "[key]")


@ALL
async def test_an_answer_with_another_status_of_success_is_one_and_a_redirect_is_told(speaks: Make) -> None:
    async def answer(exchange: Exchange) -> bool:
        moved = b"HTTP/1.1 308 X\r\nlocation: https://other.example/v1\r\ncontent-length: 0\r\n\r\n"
        await exchange.send(moved if len(server.requests) > 1 else answer_of(201, WHOLE[speaks]))
        return True

    with anyio.fail_after(10):
        async with raw_server(answer) as server:
            driver = speaks(api_key="k", base_url=server.url, timeouts=PATIENT)
            assert (await collect(driver, ask())).content[0]["text"] == "Hello"
            with pytest.raises(
                ModelCallFailed, match=r"308: it moved to https://other\.example/v1"
            ) as failed:
                await collect(driver, ask())
            await driver.close()
    assert (failed.value.reason, failed.value.billed, failed.value.is_retryable) == ("invalid", "no", False)
