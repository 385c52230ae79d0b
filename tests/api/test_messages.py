"""/v1/messages with the official client: any model behind it, every call on the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path

import anthropic
import anyio
import msgspec
import pytest

from api.gateway_world import MODEL_KEY, gateway_world
from remit.gateway.retry_plan import RetrySettings
from remit.server.model_calls.answers import UNREAD_SECONDS_MAX
from remit.testing.clock import FakeClock
from remit.testing.model_server import ServedAnswer, ServedToolUse
from remit.values import Usage

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"name": "bash", "description": "Run", "input_schema": {"type": "object"}}
USE = ServedToolUse(id="toolu_1", name="bash", input={"command": "ls"})
RICH = ServedAnswer(
    chunks=("Good ", "day"),
    thinking="hm",
    tool_uses=(USE,),
    stop_reason="tool_use",
    usage=Usage(input_tokens=7, output_tokens=3),
)
ONCE = RetrySettings(attempts_max=1)


async def test_an_answer_comes_back_as_the_provider_gave_it(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.anthropic() as client:
        message = await client.messages.create(
            model="anthropic/m",
            max_tokens=500,
            messages=HELLO,
            tools=[TOOL],
            thinking={"type": "adaptive"},
            extra_body={"top_k": 5},
        )
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[2].input == {"command": "ls"}
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == (
        "tool_use",
        7,
        3,
    )
    sent = world.sent("anthropic")
    assert (sent["model"], sent["max_tokens"]) == ("m", 500)
    assert (sent["thinking"], sent["top_k"]) == ({"type": "adaptive"}, 5)
    assert sent["messages"] == HELLO, "nothing is marked for the cache that the caller did not mark"


@pytest.mark.parametrize("provider", ["anthropic", "chat", "responses"])
async def test_a_stream_is_what_the_official_client_accumulates(tmp_path: Path, provider: str) -> None:
    async with (
        gateway_world(tmp_path, {provider: [RICH]}) as world,
        world.anthropic() as client,
        client.messages.stream(model=f"{provider}/m", max_tokens=500, messages=HELLO, tools=[TOOL]) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
    assert text == "Good day"
    assert [block.type for block in message.content if block.type != "thinking"] == ["text", "tool_use"]
    assert message.content[-1].input == {"command": "ls"}
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens == 3


async def test_betas_and_fields_under_them_reach_the_provider(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.anthropic() as client:
        await client.beta.messages.create(
            model="anthropic/m",
            max_tokens=500,
            messages=HELLO,
            betas=["some-beta-2027-01-01"],
            output_config={"effort": "low", "task_budget": {"type": "tokens", "total": 50_000}},
        )
    assert world.sent("anthropic")["output_config"] == {
        "effort": "low",
        "task_budget": {"type": "tokens", "total": 50_000},
    }
    assert world.servers["anthropic"].requests[-1].headers["anthropic-beta"] == "some-beta-2027-01-01"


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"mcp_servers": [{"type": "url", "name": "x", "url": "https://x"}]}, "mcp_servers"),
        ({"container": "container_1"}, "container"),
        ({"service_tier": "auto"}, "service_tier"),
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"fallbacks": [{"model": "x"}]}, "fallbacks"),
        ({"tools": [{"type": "web_search_20260209", "name": "web_search"}]}, "tools[0].type"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management.edits[0]"),
    ],
)
async def test_what_could_spend_outside_the_hold_is_refused_by_name(
    tmp_path: Path, extra: dict[str, object], named: str
) -> None:
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.anthropic() as client:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.messages.create(model="anthropic/m", max_tokens=5, messages=HELLO, extra_body=extra)
        assert f"`{named}`" in refused.value.message
        assert world.servers["anthropic"].requests == []


async def test_what_another_protocol_has_no_place_for_is_refused_by_name(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, chat=[RICH]) as world, world.anthropic() as client:
        with pytest.raises(anthropic.BadRequestError, match="`top_k`"):
            await client.messages.create(
                model="chat/m", max_tokens=50, messages=HELLO, extra_body={"top_k": 4}
            )
        assert world.servers["chat"].requests == []


async def test_what_a_route_allows_to_drop_is_dropped_and_said(tmp_path: Path) -> None:
    routes = {"main": {"targets": ["chat/m"], "drop": ["top_k", "thinking"]}}
    async with gateway_world(tmp_path, routes=routes, chat=[RICH]) as world, world.anthropic() as client:
        raw = await client.messages.with_raw_response.create(
            model="main",
            max_tokens=50,
            messages=HELLO,
            extra_body={"top_k": 4},
            thinking={"type": "adaptive"},
        )
    assert (
        raw.headers["remit-dropped"] == "top_k, thinking" or raw.headers["remit-dropped"] == "thinking, top_k"
    )
    assert raw.headers["remit-served-model"] == "chat/m"
    assert "top_k" not in world.sent("chat")


async def test_every_call_is_held_before_and_settled_after(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.anthropic() as client:
        raw = await client.messages.with_raw_response.create(
            model="anthropic/m", max_tokens=500, messages=HELLO
        )
        (dollars, tokens) = await world.holds()
        types = [row.type for row in await world.rows()]
    assert types == ["workspace.opened", "model.started", "model.ended"]
    assert (dollars.settled, tokens.settled) == (7 * 1000 + 3 * 5000, 10)
    assert raw.headers["remit-cost-nano-usd"] == "22000"
    assert dollars.amount > 500 * 5000


async def test_a_client_that_leaves_cuts_the_call_which_is_settled_at_its_hold(tmp_path: Path) -> None:
    silent = ServedAnswer(chunks=("Good ",), fault="silence")
    async with gateway_world(tmp_path, anthropic=[silent]) as world, world.anthropic() as client:
        stream = await client.messages.create(
            model="anthropic/m", max_tokens=500, messages=HELLO, stream=True
        )
        with anyio.fail_after(5):
            await world.servers["anthropic"].is_silent.wait()
            await stream.close()
        assert [hold.state for hold in await world.holds()] == ["assumed", "assumed"]
        ended = msgspec.json.decode((await world.rows())[-1].body)
    assert (ended["type"], ended["error_reason"]) == ("model.ended", "interrupted")


async def test_a_client_that_leaves_before_the_first_piece_cuts_the_call_too(tmp_path: Path) -> None:
    silent = ServedAnswer(fault="silence")
    async with gateway_world(tmp_path, anthropic=[silent]) as world, world.anthropic() as client:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    await client.messages.create(model="anthropic/m", max_tokens=500, messages=HELLO)

                tasks.start_soon(ask)
                await world.servers["anthropic"].is_silent.wait()
                tasks.cancel_scope.cancel()
        assert [hold.state for hold in await world.holds()] == ["assumed", "assumed"]


async def test_a_client_that_reads_nothing_for_long_has_left(tmp_path: Path) -> None:
    """It would hold the provider, and a place that others wait for."""
    clock = FakeClock()
    stuck, never = asyncio.Event(), asyncio.Event()
    request = {"model": "anthropic/m", "max_tokens": 50, "messages": HELLO, "stream": True}
    messages = [{"type": "http.request", "body": msgspec.json.encode(request)}]

    async def receive() -> dict[str, object]:
        if not messages:
            await never.wait()
        return messages.pop()

    async def send(message: MutableMapping[str, object]) -> None:
        if message["type"] == "http.response.body":
            stuck.set()
            await never.wait()

    async with gateway_world(tmp_path, clock=clock, anthropic=[ServedAnswer(chunks=("one", "two"))]) as world:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/messages",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer rk_one"), (b"content-type", b"application/json")],
        }
        with anyio.fail_after(5):
            call = asyncio.ensure_future(world.platform.asgi(scope, receive, send))
            await stuck.wait()
            await clock.advance(UNREAD_SECONDS_MAX - 1)
            assert not call.done()
            await clock.advance(30)
            await call
        assert [hold.state for hold in await world.holds()] == ["assumed", "assumed"]


async def test_the_same_idempotency_key_is_paid_for_once(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "one"}
    async with gateway_world(tmp_path, anthropic=[RICH]) as world, world.anthropic() as client:
        first = await client.messages.create(
            model="anthropic/m", max_tokens=500, messages=HELLO, extra_headers=headers
        )
        again = await client.messages.with_raw_response.create(
            model="anthropic/m", max_tokens=500, messages=HELLO, extra_headers=headers
        )
        async with client.messages.stream(
            model="anthropic/m", max_tokens=500, messages=HELLO, extra_headers=headers
        ) as stream:
            streamed = await stream.get_final_message()
        with pytest.raises(anthropic.ConflictError, match="another request"):
            await client.messages.create(
                model="anthropic/m", max_tokens=501, messages=HELLO, extra_headers=headers
            )
        assert len(world.servers["anthropic"].requests) == 1
        assert len(await world.holds()) == 2
    assert again.headers["remit-repeated"] == "true"
    assert (await again.parse()).content == first.content
    assert [block.type for block in streamed.content] == ["thinking", "text", "tool_use"]


async def test_a_key_whose_request_failed_may_be_used_again(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "one"}
    answers = [ServedAnswer(status=529), RICH]
    async with gateway_world(tmp_path, retries=ONCE, anthropic=answers) as world, world.anthropic() as client:
        with pytest.raises(anthropic.APIStatusError) as failed:
            await client.messages.create(
                model="anthropic/m", max_tokens=50, messages=HELLO, extra_headers=headers
            )
        message = await client.messages.create(
            model="anthropic/m", max_tokens=50, messages=HELLO, extra_headers=headers
        )
        assert len(await world.holds()) == 4
    assert failed.value.status_code == 529
    assert message.content[1].text == "Good day"


async def test_a_provider_that_refuses_is_answered_with_its_own_status(tmp_path: Path) -> None:
    limited = ServedAnswer(status=429, headers={"retry-after": "7"}, error_type="rate_limit_error")
    answers = [ServedAnswer(status=400, error_type="invalid_request_error"), limited]
    async with gateway_world(tmp_path, retries=ONCE, anthropic=answers) as world, world.anthropic() as client:
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(model="anthropic/m", max_tokens=50, messages=HELLO)
        with pytest.raises(anthropic.RateLimitError) as refused:
            await client.messages.create(model="anthropic/m", max_tokens=50, messages=HELLO)
    assert refused.value.response.headers["retry-after"] == "7"


async def test_a_stream_that_breaks_says_so_in_the_stream(tmp_path: Path) -> None:
    broken = ServedAnswer(chunks=("Good ",), fault="cut")
    async with gateway_world(tmp_path, anthropic=[broken, RICH]) as world, world.anthropic() as client:
        pieces: list[str] = []

        async def read() -> None:
            async with client.messages.stream(model="anthropic/m", max_tokens=50, messages=HELLO) as stream:
                async for piece in stream.text_stream:
                    pieces.append(piece)  # noqa: PERF401 what came before the break counts

        with pytest.raises(anthropic.APIStatusError):
            await read()
        assert pieces == ["Good "]
        assert len(world.servers["anthropic"].requests) == 1, "what has begun to answer is not asked again"


async def test_tokens_are_counted_by_the_provider_and_estimated_where_it_cannot(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, anthropic=[], chat=[]) as world, world.anthropic() as client:
        counted = await client.messages.count_tokens(model="anthropic/m", messages=HELLO)
        beta = await client.beta.messages.count_tokens(model="anthropic/m", messages=HELLO)
        guessed = await client.messages.with_raw_response.count_tokens(model="chat/m", messages=HELLO)
    assert (counted.input_tokens, beta.input_tokens) == (42, 42)
    assert guessed.headers["remit-estimated"] == "true"
    assert (await guessed.parse()).input_tokens > 0


async def test_on_overload_the_next_model_of_the_route_answers_once(tmp_path: Path) -> None:
    routes = {"main": {"targets": ["anthropic/m", "spare/m"]}}
    async with (
        gateway_world(tmp_path, routes=routes, anthropic=[ServedAnswer(status=529)], spare=[RICH]) as world,
        world.anthropic() as client,
    ):
        with anyio.fail_after(1):
            raw = await client.messages.with_raw_response.create(model="main", max_tokens=50, messages=HELLO)
        assert len(world.servers["spare"].requests) == 1
        started = [msgspec.json.decode(row.body) for row in await world.rows() if row.type == "model.started"]
    assert raw.headers["remit-served-model"] == "spare/m"
    assert [(start["model"], start["served_model"]) for start in started] == [
        ("main", "anthropic/m"),
        ("main", "spare/m"),
    ]


async def test_another_workspaces_call_stands_on_its_own_ledger(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, anthropic=[RICH, RICH]) as world:
        async with world.anthropic() as client:
            await client.messages.create(model="anthropic/m", max_tokens=50, messages=HELLO)
        async with world.anthropic(key="rk_two") as client:
            await client.messages.create(model="anthropic/m", max_tokens=50, messages=HELLO)
        assert len(await world.holds()) == 2


async def test_nothing_of_a_models_key_leaves_the_gateway(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    leaky = ServedAnswer(status=401, error_type=f"authentication_error: {MODEL_KEY}")
    answers = [leaky, ServedAnswer(chunks=("x",), fault="garbage"), RICH]
    seen: list[str] = []
    async with gateway_world(tmp_path, retries=ONCE, anthropic=answers) as world, world.http() as client:
        for _ in answers:
            body = {"model": "anthropic/m", "max_tokens": 50, "messages": HELLO}
            response = await client.post("/v1/messages", json=body)
            seen += [response.text, str(response.headers)]
        seen += [row.body.decode() for row in await world.rows()]
        assert world.servers["anthropic"].requests[0].headers["x-api-key"] == MODEL_KEY
    captured = capfd.readouterr()
    assert MODEL_KEY not in "".join([*seen, captured.out, captured.err, caplog.text])
