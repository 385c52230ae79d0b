"""All drivers against a real HTTP server on loopback, by the same checks; and the vendor's SDK against that server, to
show that it speaks the protocol."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import anthropic
import anyio
import anyio.abc
import pytest

from remit.errors import ModelCallFailed
from remit.interfaces import ModelProvider
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.models.http.endpoint import ModelTimeouts
from remit.testing.model_server import Fault, ModelServer, ServedAnswer, ServedToolUse
from remit.values import JsonObject, ModelDelta, ModelRequest, ModelResponse, Usage

pytestmark = pytest.mark.anyio

SHORT = ModelTimeouts(silence_seconds=0.2, total_seconds=5, listing_seconds=2)
TOOL = {"name": "bash", "description": "Run a command", "input_schema": {"type": "object"}}
HELLO = ModelRequest(
    model="some-model", system="Be brief.", messages=({"role": "user", "content": "hello"},), max_tokens=100
)

MakeDriver = Callable[..., ModelProvider]


def anthropic_driver(server: ModelServer, timeouts: ModelTimeouts = SHORT) -> ModelProvider:
    return AnthropicProvider(api_key="sk-secret", base_url=server.url, timeouts=timeouts)


def openai_driver(server: ModelServer, timeouts: ModelTimeouts = SHORT) -> ModelProvider:
    return OpenAIChatProvider(
        api_key="sk-secret", base_url=f"{server.url}/v1", timeouts=timeouts, name="local"
    )


def responses_driver(server: ModelServer, timeouts: ModelTimeouts = SHORT) -> ModelProvider:
    return OpenAIResponsesProvider(
        api_key="sk-secret", base_url=f"{server.url}/v1", timeouts=timeouts, name="openai"
    )


@pytest.fixture(
    params=[anthropic_driver, openai_driver, responses_driver],
    ids=["anthropic", "openai_chat", "openai_responses"],
)
def make_driver(request: pytest.FixtureRequest) -> MakeDriver:
    return request.param


@asynccontextmanager
async def served(
    make_driver: MakeDriver, *answers: ServedAnswer, **options
) -> AsyncIterator[tuple[ModelServer, ModelProvider]]:
    server = ModelServer(answers, **options)
    with anyio.fail_after(10):
        async with server.serving():
            driver = make_driver(server)
            try:
                yield server, driver
            finally:
                await driver.close()


async def collect(driver: ModelProvider, request: ModelRequest = HELLO) -> tuple[list[str], ModelResponse]:
    """The deltas and the one answer, which must come last."""
    items = [item async for item in driver.stream(request)]
    deltas = [item for item in items if isinstance(item, ModelDelta)]
    assert deltas == items[:-1]
    assert isinstance(items[-1], ModelResponse)
    return [text for delta in deltas for text in delta.texts], items[-1]


async def failure(driver: ModelProvider, request: ModelRequest = HELLO) -> ModelCallFailed:
    with pytest.raises(ModelCallFailed) as failed:
        await collect(driver, request)
    return failed.value


async def test_text_is_streamed_and_its_usage_reported(make_driver: MakeDriver) -> None:
    usage = Usage(
        input_tokens=7, output_tokens=3, cache_read_input_tokens=100, cache_creation_5m_input_tokens=20
    )
    async with served(make_driver, ServedAnswer(chunks=("Good ", "day ", "für alle"), usage=usage)) as (
        _,
        driver,
    ):
        deltas, response = await collect(driver)

    assert deltas == ["Good ", "day ", "für alle"]
    assert response.content == ({"type": "text", "text": "Good day für alle"},)
    assert response.stop_reason == "end_turn"
    assert response.usage == usage
    assert response.is_usage_known
    assert response.model == "some-model"


async def test_tool_uses_come_whole(make_driver: MakeDriver) -> None:
    uses = tuple(
        ServedToolUse(id=f"call_{n}", name="bash", input={"command": f"echo {n}", "deep": {"a": [1]}})
        for n in (1, 2)
    )
    answer = ServedAnswer(chunks=("Let me look.",), tool_uses=uses, stop_reason="tool_use")
    async with served(make_driver, answer) as (_, driver):
        _, response = await collect(driver, ModelRequest(**{**_fields(HELLO), "tools": (TOOL,)}))

    assert response.stop_reason == "tool_use"
    assert [block["type"] for block in response.content] == ["text", "tool_use", "tool_use"]
    assert response.content[2] == {"type": "tool_use", "id": "call_2", "name": "bash", "input": uses[1].input}


@pytest.mark.parametrize(
    ("status", "reason", "billed", "is_retryable"),
    [
        (400, "invalid", "no", False),
        (401, "authentication", "no", False),
        (402, "billing", "no", False),
        (404, "invalid", "no", False),
        (429, "rate_limited", "no", True),
        (500, "unavailable", "no", True),
        (502, "unavailable", "unknown", True),
        (529, "overloaded", "no", True),
    ],
)
async def test_a_status_says_whether_to_try_again_and_whether_it_was_billed(
    make_driver: MakeDriver, status: int, reason: str, billed: str, is_retryable: bool
) -> None:
    answer = ServedAnswer(status=status, headers={"retry-after": "7"})
    async with served(make_driver, answer) as (_, driver):
        failed = await failure(driver)

    assert (failed.reason, failed.billed, failed.is_retryable) == (reason, billed, is_retryable)
    assert failed.retry_after_seconds == 7
    assert "refused on purpose" in failed.message
    assert "sk-secret" not in failed.message


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("cut", "cut"), ("silence", "timeout"), ("garbage", "garbage")],
)
async def test_an_answer_that_breaks_off_has_an_unknown_cost(
    make_driver: MakeDriver, fault: Fault, reason: str
) -> None:
    async with served(make_driver, ServedAnswer(chunks=("half",), fault=fault)) as (_, driver):
        failed = await failure(driver)

    assert (failed.reason, failed.billed, failed.is_retryable) == (reason, "unknown", True)


DEEP = b"[" * 5_000 + b"]" * 5_000
BLOCK = b'{"type":"content_block_start","index":0,"content_block":%b}'


@pytest.mark.parametrize(
    "event",
    [
        DEEP,
        b'{"type":"message_start"}',
        b'{"type":"message_start","message":"x"}',
        BLOCK % b"null",
        BLOCK % b'{"text":"of no type"}',
        BLOCK % b'{"type":"tool_use","input":{}}',
    ],
)
async def test_events_of_another_form_than_the_protocols_are_garbage(event: bytes) -> None:
    async with saying(event) as url:
        driver = AnthropicProvider(api_key="sk-secret", base_url=url, timeouts=SHORT)
        failed = await failure(driver)
        await driver.close()

    assert (failed.reason, failed.billed) == ("garbage", "unknown")


@pytest.mark.parametrize("speaks", [OpenAIChatProvider, OpenAIResponsesProvider])
async def test_an_event_nested_too_deeply_is_garbage(
    speaks: type[OpenAIChatProvider | OpenAIResponsesProvider],
) -> None:
    async with saying(DEEP) as url:
        driver = speaks(api_key="sk-secret", base_url=url, timeouts=SHORT, name="openai")
        failed = await failure(driver)
        await driver.close()

    assert failed.reason == "garbage"


@asynccontextmanager
async def saying(event: bytes) -> AsyncIterator[str]:
    """A server that answers one request with one event; its address."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(head + b"data: " + event + b"\n\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, answer)
                yield f"http://127.0.0.1:{port}"
                tasks.cancel_scope.cancel()


async def test_an_answer_that_never_ends_is_given_up_though_it_is_never_silent(
    make_driver: MakeDriver,
) -> None:
    impatient = ModelTimeouts(silence_seconds=5, total_seconds=0.1)
    server = ModelServer([ServedAnswer(chunks=("x",) * 10_000, chunk_seconds=0.005)])
    with anyio.fail_after(5):
        async with server.serving():
            driver = make_driver(server, impatient)
            failed = await failure(driver)
            await driver.close()

    assert (failed.reason, failed.billed) == ("timeout", "unknown")
    assert "longer than 0.1 s" in failed.message


async def test_an_error_inside_the_stream_has_an_unknown_cost(make_driver: MakeDriver) -> None:
    async with served(make_driver, ServedAnswer(chunks=("half",), fault="error_event")) as (_, driver):
        failed = await failure(driver)

    assert failed.billed == "unknown"
    assert "on purpose" in failed.message


async def test_a_server_that_is_not_there_costs_nothing(make_driver: MakeDriver) -> None:
    server = ModelServer([])
    async with server.serving():
        driver = make_driver(server)
    failed = await failure(driver)
    await driver.close()

    assert (failed.reason, failed.billed, failed.is_retryable) == ("unavailable", "no", True)


async def test_closing_the_iterator_aborts_the_call(make_driver: MakeDriver) -> None:
    answers = (ServedAnswer(chunks=("begun",), fault="silence"), ServedAnswer(chunks=("next",)))
    async with served(make_driver, *answers) as (server, driver):
        stream = cast("AsyncGenerator[ModelDelta | ModelResponse]", driver.stream(HELLO))
        async with aclosing(stream):
            assert await anext(stream) == ModelDelta(texts=("begun",))
            await server.is_silent.wait()
        _, response = await collect(driver)

    assert response.content[0]["text"] == "next"


async def test_calls_share_a_connection(make_driver: MakeDriver) -> None:
    async with served(make_driver, *[ServedAnswer(chunks=("x",))] * 3) as (server, driver):
        for _ in range(3):
            await collect(driver)

        assert len(server.requests) == 3
        assert server.connections_opened == 1


async def test_models_are_listed_and_a_dead_server_lists_none(make_driver: MakeDriver) -> None:
    async with served(make_driver, models=("one", "two")) as (_, driver):
        assert [info.id for info in await driver.models()] == ["one", "two"]

    assert list(await driver.models()) == []


async def test_an_answer_cut_by_the_token_limit_is_an_answer(make_driver: MakeDriver) -> None:
    async with served(make_driver, ServedAnswer(chunks=("half a sen",), stop_reason="max_tokens")) as (
        _,
        driver,
    ):
        _, response = await collect(driver)

    assert response.stop_reason == "max_tokens"


# ------------------------------------------------------------------------------------------ Anthropic Messages


async def test_thinking_is_kept_with_its_signature_and_sent_back_verbatim() -> None:
    answers = (
        ServedAnswer(thinking="Hm.", signature="c2ln", chunks=("Yes.",)),
        ServedAnswer(chunks=("Again.",)),
    )
    async with served(anthropic_driver, *answers) as (server, driver):
        _, response = await collect(driver)
        history = (
            *HELLO.messages,
            {"role": "assistant", "content": list(response.content)},
            {"role": "user", "content": "sure?"},
        )
        await collect(driver, ModelRequest(**{**_fields(HELLO), "messages": history}))

    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    assert response.content[0] == thinking
    assert server.requests[1].body["messages"][1]["content"][0] == thinking


async def test_what_the_server_says_of_a_model_is_kept_and_the_documentation_fills_the_gaps() -> None:
    told = {
        "created_at": "2026-09-28T00:00:00Z",
        "capabilities": {"batch": {"supported": True}},
        "line": None,
    }
    models = ("claude-sonnet-5-5", "claude-opus-4-6", "my-own")
    server = ModelServer([], models=models, described={"claude-sonnet-5-5": told})
    async with server.serving():
        sonnet, opus, own = await anthropic_driver(server).models()
    assert sonnet.described == {**told, "line": "sonnet"}
    assert opus.described["line"] == "opus"
    capabilities = cast("Any", opus.described["capabilities"])
    assert capabilities["thinking"]["types"]["adaptive"] == {"supported": True}
    assert own.described == {}


async def test_the_prefix_is_marked_for_the_cache_unless_the_caller_has_marked_it() -> None:
    marked = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    async with served(anthropic_driver, *[ServedAnswer(chunks=("x",))] * 3) as (server, driver):
        await collect(driver)
        await collect(driver, ModelRequest(**{**_fields(HELLO), "is_cached": False}))
        own = ModelRequest(**{**_fields(HELLO), "messages": ({"role": "user", "content": [marked]},)})
        await collect(driver, own)

    ours, none, theirs = (request.body for request in server.requests)
    assert ours["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert ours["messages"][0]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in str(none)
    assert str(theirs).count("cache_control") == 1


async def test_options_reach_anthropic_under_its_names() -> None:
    request = ModelRequest(
        **{
            **_fields(HELLO),
            "effort": "high",
            "tools": (TOOL,),
            "tool_choice": {"type": "any"},
            "temperature": 0.5,
            "stop_sequences": ("END",),
        }
    )
    async with served(anthropic_driver, ServedAnswer(chunks=("x",))) as (server, driver):
        await collect(driver, request)

    (served_request,) = server.requests
    body = served_request.body
    assert served_request.headers["x-api-key"] == "sk-secret"
    assert body["output_config"] == {"effort": "high"}
    assert (body["tools"], body["tool_choice"]) == ([TOOL], {"type": "any"})
    assert (body["temperature"], body["stop_sequences"], body["max_tokens"]) == (0.5, ["END"], 100)


async def test_iterations_that_the_top_level_leaves_out_are_counted() -> None:
    iterations = (
        {"type": "compaction", "input_tokens": 1000, "output_tokens": 50},
        {"type": "message", "input_tokens": 10, "output_tokens": 5},
    )
    async with served(anthropic_driver, ServedAnswer(chunks=("x",), iterations=iterations)) as (_, driver):
        _, response = await collect(driver)

    assert response.usage == Usage(input_tokens=1010, output_tokens=55)


async def test_cache_writes_are_told_apart_by_how_long_they_last() -> None:
    usage = Usage(
        input_tokens=1, output_tokens=4, cache_creation_5m_input_tokens=2, cache_creation_1h_input_tokens=3
    )
    async with served(anthropic_driver, ServedAnswer(chunks=("x",), usage=usage)) as (_, driver):
        _, response = await collect(driver)

    assert response.usage == usage


async def test_a_refusal_keeps_its_details() -> None:
    details: JsonObject = {"type": "refusal", "category": "cyber", "explanation": "No."}
    answer = ServedAnswer(stop_reason="refusal", stop_details=details)
    async with served(anthropic_driver, answer) as (_, driver):
        _, response = await collect(driver)

    assert (response.stop_reason, response.stop_details) == ("refusal", details)


async def test_tokens_are_counted_by_the_endpoint() -> None:
    async with served(anthropic_driver, counted_tokens=1234) as (server, driver):
        assert await driver.count_tokens(HELLO) == 1234

    assert "max_tokens" not in server.requests[0].body


async def test_the_vendors_own_sdk_understands_the_test_server() -> None:
    use = ServedToolUse(id="toolu_1", name="bash", input={"command": "ls"})
    answer = ServedAnswer(thinking="Hm.", chunks=("Look", "ing."), tool_uses=(use,), stop_reason="tool_use")
    server = ModelServer([answer, ServedAnswer(status=529)])
    with anyio.fail_after(30):
        async with (
            server.serving(),
            anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0) as client,
        ):
            ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            async with client.messages.stream(**ask) as stream:
                message = await stream.get_final_message()
            with pytest.raises(anthropic.APIStatusError):
                await client.messages.create(**ask)

    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert cast("Any", message.content[2]).input == {"command": "ls"}
    assert (message.stop_reason, message.usage.output_tokens) == ("tool_use", 5)


# ------------------------------------------------------------------------------------------ Chat Completions


async def test_a_conversation_is_put_into_chat_messages() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    messages = (
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_1", "name": "bash", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "is_error": True, "content": "no such file"},
                {"type": "text", "text": "go on"},
            ],
        },
    )
    request = ModelRequest(
        **{
            **_fields(HELLO),
            "messages": messages,
            "tools": (TOOL,),
            "tool_choice": {"type": "tool", "name": "bash"},
        }
    )
    async with served(openai_driver, ServedAnswer(chunks=("x",))) as (server, driver):
        await collect(driver, request)

    (served_request,) = server.requests
    body = served_request.body
    assert served_request.headers["authorization"] == "Bearer sk-secret"
    system, user, assistant, tool, last = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert assistant["content"] == "I look."
    assert assistant["tool_calls"][0]["function"] == {"name": "bash", "arguments": '{"command":"ls"}'}
    assert tool == {"role": "tool", "tool_call_id": "call_1", "content": "The tool failed:\nno such file"}
    assert last == {"role": "user", "content": "go on"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "bash"}}
    assert body["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert (body["max_tokens"], body["stream_options"]) == (100, {"include_usage": True})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": ({"role": "user", "content": [{"type": "container_upload"}]},)}, "container_upload"),
        ({"messages": ({"role": "assistant", "content": [{"type": "server_tool_use"}]},)}, "server_tool_use"),
        ({"tools": ({"type": "web_search_20250305", "name": "web_search"},)}, "web_search"),
        ({"effort": "most"}, "most"),
    ],
)
async def test_what_chat_completions_cannot_say_is_refused_by_name(
    fields: dict[str, object], named: str
) -> None:
    async with served(openai_driver, ServedAnswer(chunks=("x",))) as (server, driver):
        failed = await failure(driver, ModelRequest(**{**_fields(HELLO), **fields}))

    assert (failed.reason, failed.billed, failed.is_retryable) == ("invalid", "no", False)
    assert named in failed.message
    assert server.requests == []


async def test_an_answer_without_usage_says_so() -> None:
    async with served(openai_driver, ServedAnswer(chunks=("x",), usage=None)) as (_, driver):
        _, response = await collect(driver)

    assert not response.is_usage_known


@pytest.mark.parametrize(
    "written",
    [
        'Sure:\n```json\n{"name": "bash", "arguments": {"command": "ls"}}\n```',
        '<tool_call>\n{"name": "bash", "parameters": {"command": "ls"}}\n</tool_call>',
        '{"name": "bash", "input": {"command": "ls"}}',
    ],
)
async def test_a_tool_call_that_a_small_model_wrote_as_text_is_recovered(written: str) -> None:
    request = ModelRequest(**{**_fields(HELLO), "tools": (TOOL,)})
    async with served(openai_driver, ServedAnswer(chunks=(written,))) as (_, driver):
        _, response = await collect(driver, request)

    assert response.stop_reason == "tool_use"
    assert response.content[-1]["name"] == "bash"
    assert response.content[-1]["input"] == {"command": "ls"}


async def test_json_that_is_no_call_of_a_known_tool_stays_text() -> None:
    written = '```json\n{"name": "rm_rf", "arguments": {"path": "/"}}\n```'
    request = ModelRequest(**{**_fields(HELLO), "tools": (TOOL,)})
    async with served(openai_driver, ServedAnswer(chunks=(written,))) as (_, driver):
        _, response = await collect(driver, request)

    assert response.content == ({"type": "text", "text": written},)
    assert response.stop_reason == "end_turn"


def _fields(request: ModelRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__struct_fields__}


# ------------------------------------------------------------------------------------------ Responses


async def test_a_conversation_is_put_into_items() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    result = [{"type": "text", "text": "a.txt"}, image]
    messages = (
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_1", "name": "bash", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": result, "is_error": True},
                {"type": "text", "text": "go on"},
            ],
        },
    )
    async with served(responses_driver, ServedAnswer(chunks=("x",))) as (server, driver):
        await collect(driver, ModelRequest(**{**_fields(HELLO), "messages": messages, "tools": (TOOL,)}))

    body = server.requests[0].body
    data = "data:image/png;base64,aGk="
    picture = {"type": "input_image", "image_url": data, "detail": "auto"}
    assert body["instructions"] == "Be brief."
    assert (body["store"], body["service_tier"], body["max_output_tokens"]) == (False, "default", 100)
    assert body["input"] == [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "what is this?"}, picture],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "call_1", "name": "bash", "arguments": '{"command":"ls"}'},
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [
                {"type": "input_text", "text": "The tool failed:"},
                {"type": "input_text", "text": "a.txt"},
                picture,
            ],
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]},
    ]
    assert body["tools"] == [
        {
            "type": "function",
            "name": "bash",
            "description": "Run a command",
            "parameters": {"type": "object"},
            "strict": False,
        }
    ]


async def test_its_reasoning_comes_back_to_it_and_goes_to_no_other_protocol() -> None:
    async with served(responses_driver, *[ServedAnswer(thinking="Hm.", chunks=("Yes.",))] * 2) as (
        server,
        driver,
    ):
        _, response = await collect(driver)
        history = (
            *HELLO.messages,
            {"role": "assistant", "content": list(response.content)},
            {"role": "user", "content": "sure?"},
        )
        again = ModelRequest(**{**_fields(HELLO), "messages": history})
        await collect(driver, again)
    assert server.requests[1].body["input"][1] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "c2VhbGVk",
    }
    async with served(anthropic_driver, ServedAnswer(chunks=("x",))) as (server, driver):
        await collect(driver, again)
    assert [block["type"] for block in server.requests[0].body["messages"][1]["content"]] == ["text"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stop_sequences": ("END",)}, "stop sequences"),
        ({"effort": "enormous"}, "effort"),
        ({"messages": ({"role": "user", "content": [{"type": "container_upload"}]},)}, "container_upload"),
        ({"tools": ({"type": "bash_20250124", "name": "bash"},)}, "input_schema"),
        ({"fields": {"metadata": {"other": 1}}}, "metadata"),
    ],
)
async def test_what_has_no_words_in_responses_is_refused_before_anything_is_sent(
    change: dict[str, object], named: str
) -> None:
    async with served(responses_driver, ServedAnswer(chunks=("x",))) as (server, driver):
        failed = await failure(driver, ModelRequest(**{**_fields(HELLO), **change}))
        assert server.requests == []
    assert (failed.reason, failed.billed) == ("invalid", "no")
    assert named in failed.message
