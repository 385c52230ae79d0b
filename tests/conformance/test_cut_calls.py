"""What a call costs that broke off: at every byte of an answer, at every part of a request, by each driver, over sockets.

Property: never below a truthful reading of what the server did, never above what was held.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.clock import SystemClock
from remit.errors import ModelCallFailed
from remit.gateway.gateway import Gateway
from remit.gateway.model_settings import ModelSettings
from remit.gateway.retry_plan import RetrySettings
from remit.gateway.routing import ModelRouter
from remit.gateway.settlement import UNSEEN_TOKENS_MAX
from remit.ids import Ids
from remit.interfaces import ModelProvider
from remit.ledger.bounds import input_tokens_bound
from remit.ledger.prices import PriceOverride, PriceTable
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.anthropic_request import thinks_not
from remit.models.drivers.openai import streams_all
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.models.http.endpoint import ModelTimeouts
from remit.values import (
    Account,
    CallAttempt,
    CallEnded,
    CallProgress,
    JsonObject,
    ModelRequest,
    Principal,
    Purpose,
    Unit,
)
from remit.values.call_progress import weigh
from support.raw_server import Answering, Exchange, RawServer, raw_server

pytestmark = pytest.mark.anyio

SOMEONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
TIMEOUTS = ModelTimeouts(silence_seconds=5, total_seconds=10)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
INPUT_TOKENS = 7
MAX_TOKENS = 20_000
WORDS = ("All ", "w\u00e9ll")


class Wire(NamedTuple):
    """A driver, and an answer in its protocol: the head apart, then each event with the tokens it stands for."""

    make: Callable[[str], ModelProvider]
    events: tuple[tuple[bytes, int], ...]

    @property
    def whole(self) -> bytes:
        return HEAD + b"".join(event for event, _ in self.events)

    def true_output(self, cut_at: int) -> int:
        """Tokens of all events of which a byte was sent."""
        begins, tokens = len(HEAD), 0
        for event, count in self.events:
            tokens += count if begins < cut_at else 0
            begins += len(event)
        return tokens


def _event(fields: JsonObject, tokens: int = 0, *, is_named: bool = True) -> tuple[bytes, int]:
    name = b"event: " + str(fields["type"]).encode() + b"\n" if is_named else b""
    return name + b"data: " + msgspec.json.encode(fields) + b"\n\n", tokens


def _messages() -> tuple[tuple[bytes, int], ...]:
    message: JsonObject = {
        "id": "m",
        "role": "assistant",
        "content": [],
        "model": "x",
        "usage": {"input_tokens": 7},
    }
    tool: JsonObject = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    deltas: list[JsonObject] = [{"type": "text_delta", "text": word} for word in WORDS]
    pieces: list[JsonObject] = [
        {"type": "input_json_delta", "partial_json": piece} for piece in ('{"a', '": 12}')
    ]
    return (
        _event({"type": "message_start", "message": message}, 1),
        _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        *(_event({"type": "content_block_delta", "index": 0, "delta": delta}, 1) for delta in deltas),
        _event({"type": "content_block_start", "index": 1, "content_block": tool}, 1),
        *(_event({"type": "content_block_delta", "index": 1, "delta": piece}, 2) for piece in pieces),
        _event(
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 10}}
        ),
    )


def _chat() -> tuple[tuple[bytes, int], ...]:
    def chunk(tokens: int, **delta: Any) -> tuple[bytes, int]:
        return _event({"id": "c", "choices": [{"index": 0, "delta": delta}]}, tokens, is_named=False)

    call = {"index": 0, "id": "t", "function": {"name": "look", "arguments": ""}}
    return (
        *(chunk(1, content=word) for word in WORDS),
        chunk(2, reasoning_content="hm hm"),
        chunk(1, tool_calls=[call]),
        chunk(2, tool_calls=[{"index": 0, "function": {"arguments": '{"a": 1}'}}]),
    )


def _responses() -> tuple[tuple[bytes, int], ...]:
    return (
        _event({"type": "response.created", "response": {"id": "r", "output": []}}),
        *(_event({"type": "response.output_text.delta", "delta": word}, 1) for word in WORDS),
        _event({"type": "response.function_call_arguments.delta", "delta": '{"a": 1}'}, 3),
    )


def _anthropic(url: str) -> ModelProvider:
    return AnthropicProvider(api_key="k", base_url=url, timeouts=TIMEOUTS, name="p")


def _openai_chat(url: str) -> ModelProvider:
    return OpenAIChatProvider(api_key="k", base_url=url, timeouts=TIMEOUTS, name="p")


def _openai_responses(url: str) -> ModelProvider:
    return OpenAIResponsesProvider(api_key="k", base_url=url, timeouts=TIMEOUTS, name="p")


WIRES = {
    "anthropic": Wire(_anthropic, _messages()),
    "chat": Wire(_openai_chat, _chat()),
    "responses": Wire(_openai_responses, _responses()),
}
ON_EVERY_WIRE = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
SEEN, HIDDEN = "small", "claude-opus-5-5"
"""A model whose every token is streamed, and one that may think unseen."""
SETTINGS = ModelSettings(context_tokens=200_000, max_output_tokens=MAX_TOKENS)
"""So that no server is asked what it lists."""
PRICE = PriceOverride(input_per_million_usd=1.0, output_per_million_usd=5.0)


class Recorder:
    """A `CallRecorder` of one attempt."""

    purpose: Purpose = "work"

    def __init__(self) -> None:
        self.attempts: list[CallAttempt] = []
        self.endings: list[CallEnded] = []
        self.input_tokens_max = 0

    async def accounts(self) -> Sequence[Account]:
        units: tuple[Unit, ...] = ("nano_usd", "tokens")
        return [Account(stream_id="s", unit=unit, purpose="work", cap=None) for unit in units]

    async def waits(self, limit: str, ahead: int) -> None: ...

    async def started(self, attempt: CallAttempt) -> None:
        self.attempts.append(attempt)

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        self.endings.append(ended)

    def thinking(self, attempt: CallAttempt) -> None: ...

    def delta(self, attempt: CallAttempt, text: str) -> None: ...


class Caller:
    """A gateway in front of one server."""

    def __init__(self, provider: ModelProvider) -> None:
        clock = SystemClock()
        self._gateway = Gateway(
            router=ModelRouter({"p": provider}, aliases={}),
            prices=PriceTable({f"p/{model}": PRICE for model in (SEEN, HIDDEN)}, clock=clock),
            clock=clock,
            ids=Ids(clock),
            retries=RetrySettings(attempts_max=1),
            models={f"p/{model}": SETTINGS for model in (SEEN, HIDDEN)},
        )

    async def call(
        self, recorder: Recorder | None = None, *, model: str = SEEN, text: str = "hello"
    ) -> Recorder:
        """A call that fails or is cancelled."""
        recorder = recorder or Recorder()
        request = ModelRequest(
            model=f"p/{model}", messages=({"role": "user", "content": text},), max_tokens=MAX_TOKENS
        )
        recorder.input_tokens_max = input_tokens_bound(request)
        with contextlib.suppress(ModelCallFailed):
            await self._gateway.call(SOMEONE, request, recorder)
        return recorder


@asynccontextmanager
async def calling(
    wire: Wire, answer: Answering, *, reads_bodies: bool = True
) -> AsyncGenerator[tuple[Caller, RawServer]]:
    with anyio.fail_after(60):
        async with raw_server(answer, reads_bodies=reads_bodies) as server:
            provider = wire.make(server.url)
            try:
                yield Caller(provider), server
            finally:
                await provider.close()


def check(ended: CallEnded, recorder: Recorder, *, output_tokens: int) -> None:
    """Between the truth and the hold, in both units."""
    (attempt,) = recorder.attempts
    for settled, hold in zip(ended.settlements, attempt.holds, strict=True):
        rates = (1, 1) if hold.unit == "tokens" else (1_000, 5_000)
        truth = INPUT_TOKENS * rates[0] + output_tokens * rates[1]
        assert truth <= settled.amount <= hold.amount
        assert settled.is_assumed is (ended.response is None), "only the last word is missing: all is known"


@ON_EVERY_WIRE
async def test_an_answer_cut_at_any_byte_costs_no_less_than_the_truth_and_no_more_than_the_hold(
    wire: Wire,
) -> None:
    cut_at = 0

    async def answer(exchange: Exchange) -> bool:
        await exchange.send(wire.whole[:cut_at])
        return False

    async with calling(wire, answer) as (caller, _):
        for cut_at in range(len(wire.whole)):
            recorder = await caller.call()
            (ended,) = recorder.endings
            check(ended, recorder, output_tokens=wire.true_output(cut_at))
            tokens = ended.settlements[1].amount
            if cut_at < len(HEAD):
                assert ended.error_reason == "unavailable"
                assert tokens == recorder.input_tokens_max, "closed before a status line: the input"
            else:
                assert ended.error_reason == ("cut" if ended.response is None else None)
                assert tokens <= recorder.input_tokens_max + cut_at + UNSEEN_TOKENS_MAX


@ON_EVERY_WIRE
async def test_an_answer_cut_where_a_model_may_think_unseen_costs_its_hold(wire: Wire) -> None:
    async def answer(exchange: Exchange) -> bool:
        await exchange.send(wire.whole[:-20])
        return False

    async with calling(wire, answer) as (caller, _):
        recorder = await caller.call(model=HIDDEN)
    assert [settled.amount for settled in recorder.endings[0].settlements] == [
        hold.amount for hold in recorder.attempts[0].holds
    ]


@ON_EVERY_WIRE
@pytest.mark.parametrize("model", [SEEN, HIDDEN])
async def test_an_interrupt_after_any_event_costs_what_came_or_the_hold(wire: Wire, model: str) -> None:
    count, has_sent = 0, asyncio.Event()

    async def answer(exchange: Exchange) -> bool:
        if count > 0:
            await exchange.send(HEAD, *(event for event, _ in wire.events[: count - 1]))
        has_sent.set()
        await exchange.until_gone()
        return False

    async with calling(wire, answer) as (caller, _):
        for count in range(len(wire.events) + 2):
            has_sent.clear()
            recorder = Recorder()
            task = asyncio.ensure_future(caller.call(recorder, model=model))
            await has_sent.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            (ended,) = recorder.endings
            assert ended.error_reason == "interrupted"
            check(
                ended, recorder, output_tokens=sum(tokens for _, tokens in wire.events[: max(0, count - 1)])
            )
            is_at_hold = ended.settlements[1].amount == recorder.attempts[0].holds[1].amount
            assert is_at_hold == (model == HIDDEN)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
async def test_a_request_that_did_not_leave_whole_costs_nothing(share: float) -> None:
    text = "x" * (24 << 20)  # more than sockets hold

    async def answer(exchange: Exchange) -> bool:
        await exchange.reader.readexactly(int(len(text) * share))
        exchange.writer.transport.abort()
        return False

    async with calling(WIRES["chat"], answer, reads_bodies=False) as (caller, _):
        recorder = await caller.call(text=text)
    (ended,) = recorder.endings
    assert (ended.error_reason, ended.is_assumed) == ("unavailable", False)
    assert [settled.amount for settled in ended.settlements] == [0, 0]


async def test_an_interrupt_before_the_request_has_left_whole_costs_nothing() -> None:
    has_come = asyncio.Event()

    async def answer(exchange: Exchange) -> bool:
        has_come.set()
        await asyncio.Event().wait()
        return False

    async with calling(WIRES["chat"], answer, reads_bodies=False) as (caller, _):
        recorder = Recorder()
        task = asyncio.ensure_future(caller.call(recorder, text="x" * (24 << 20)))
        await has_come.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [settled.amount for settled in recorder.endings[0].settlements] == [0, 0]


@ON_EVERY_WIRE
async def test_a_connection_that_is_refused_costs_nothing(wire: Wire) -> None:
    async def answer(exchange: Exchange) -> bool:
        return False

    async with calling(wire, answer) as (_, server):
        port = server.port
    provider = wire.make(f"http://127.0.0.1:{port}")
    recorder = await Caller(provider).call()
    await provider.close()
    assert [settled.amount for settled in recorder.endings[0].settlements] == [0, 0]


async def test_a_whole_answer_in_place_of_a_stream_says_nothing_of_what_is_missing() -> None:
    async def answer(exchange: Exchange) -> bool:
        await exchange.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"choices": [')
        return False

    async with calling(WIRES["chat"], answer) as (caller, _):
        recorder = await caller.call()
    assert recorder.endings[0].settlements[1].amount == recorder.attempts[0].holds[1].amount


@given(
    words=st.lists(st.text(min_size=1, max_size=20), max_size=8),
    noise=st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=3),
    place=st.sampled_from(["content", "reasoning", "thinking", "brand_new_field"]),
)
def test_what_a_model_wrote_is_never_weighed_at_less(
    words: list[str], noise: dict[str, Any], place: str
) -> None:
    progress = CallProgress(streams_all=True)
    for word in words:
        event = msgspec.json.encode({**noise, "choices": [{"delta": {place: word}, "index": 0}]})
        progress.take([event], unfinished_bytes=0)
    bound = progress.written_tokens_max
    assert bound is not None
    assert bound >= sum(len(word.encode()) for word in words)


def test_a_report_of_more_than_was_sent_means_that_not_all_was() -> None:
    progress = CallProgress(streams_all=True)
    said = {"choices": [{"delta": {"content": "Hi"}}]}
    usage = {"usage": {"completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 900}}}
    progress.take([msgspec.json.encode(said)], unfinished_bytes=0)
    assert progress.written_tokens_max == 2
    progress.take([msgspec.json.encode(usage)], unfinished_bytes=0)
    assert progress.written_tokens_max is None
    assert weigh(b"no json").written_bytes == 7


@pytest.mark.parametrize(
    ("model", "fields", "thinks", "knows"),
    [
        ("claude-sonnet-4-5", {}, False, True),
        ("claude-sonnet-4-5", {}, True, False),
        ("claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 2048}}, False, False),
        ("claude-opus-5", {"thinking": {"type": "disabled"}}, False, True),
        ("claude-opus-5", {}, False, False),
        ("claude-next-9", {}, False, False),
    ],
)
def test_which_claude_answers_without_thinking_unseen(
    model: str, fields: JsonObject, thinks: bool, knows: bool
) -> None:
    request = ModelRequest(model=model, messages=(), max_tokens=9, fields=fields, thinks=thinks)
    assert thinks_not(request) is knows


@pytest.mark.parametrize(
    ("model", "base_url", "knows"),
    [
        ("gpt-4o-mini", None, True),
        ("gpt-4.1", "https://api.openai.com/v1", True),
        ("gpt-5", None, False),
        ("o3", None, False),
        ("gpt-4o-mini", "https://openrouter.ai/api/v1", False),
        ("qwen3", "http://127.0.0.1:8000/v1", True),
        ("vertex/gemini-3-pro", "http://127.0.0.1:4000/v1", False),
        ("openai/o4-mini", "http://localhost:4000/v1", False),
    ],
)
def test_whose_tokens_are_all_streamed(model: str, base_url: str | None, knows: bool) -> None:
    assert streams_all(model, base_url) is knows
