"""What model servers send beside what their protocol says (tests/corpus), played to every driver over a real socket."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
import pytest

from remit.errors import ModelCallFailed
from remit.gateway.settlement import believed
from remit.interfaces import ModelProvider
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.anthropic_request import request_body
from remit.models.drivers.bedrock import bedrock_provider
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.openai_chat_request import chat_body
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.models.drivers.openai_responses_request import responses_body
from remit.models.drivers.vertex import vertex_provider
from remit.models.http.endpoint import ModelTimeouts, encode_body
from remit.models.http.sse import SseParser
from remit.values import UNPARSED_INPUT, ModelDelta, ModelRequest, ModelResponse
from support.vendor_server import AWS, SSE, Vendor, aws_frame, set_usual_environment, sse_frame

pytestmark = pytest.mark.anyio

Recording = dict[str, Any]
CORPUS = Path(__file__).parents[1] / "corpus"
IMPATIENT = ModelTimeouts(
    silence_seconds=5, total_seconds=10, listing_seconds=2, finished_seconds=0.1, counted_seconds=0.05
)
WITH_IMPORTS = msgspec.structs.replace(IMPATIENT, silence_seconds=30, total_seconds=60)
"""The first call loads a vendor's SDK."""
TOOLS = tuple(
    {"name": name, "description": name, "input_schema": {"type": "object"}} for name in ("bash", "read")
)
USUAL_END = {
    "chat": (
        'data: {"choices":[{"delta":{},"finish_reason":"REASON"}]}\n\n'
        'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n'
        "data: [DONE]\n\n"
    ),
    "messages": (
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"REASON",'
        '"stop_sequence":null},"usage":{"output_tokens":5}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    ),
}
KNOWN = {
    "name", "source", "wire", "end", "form", "stays_open", "content_type", "before", "is_framing",
    "text", "uses", "stop", "usage", "thinks", "fails", "billed", "says", "back",
}  # fmt: skip


def recordings(protocol: str) -> list[Recording]:
    return tomllib.loads((CORPUS / f"{protocol}.toml").read_text())["recording"]


def played(protocol: str, *, whole_events: bool = False) -> pytest.MarkDecorator:
    chosen = [
        recording
        for recording in recordings(protocol)
        if not whole_events or not {"is_framing", "form", "content_type"} & recording.keys()
    ]
    return pytest.mark.parametrize("recording", chosen, ids=[each["name"] for each in chosen])


def wire_of(recording: Recording, protocol: str) -> bytes:
    text: str = recording["wire"]
    if "end" in recording:
        text += USUAL_END[protocol].replace("REASON", recording["end"])
    match recording.get("form"):
        case "crlf":
            text = text.replace("\n", "\r\n")
        case "cr":
            text = text.replace("\n", "\r")
        case "bom":
            text = "\ufeff" + text
        case "unfinished":
            text = text.rstrip("\n")
        case None:
            pass
        case form:
            raise AssertionError(f"no form {form!r}")
    return text.encode()


@asynccontextmanager
async def serving(recording: Recording, protocol: str) -> AsyncIterator[str]:
    """A server that answers everything with the recording, byte by byte where that is short; its address."""
    wire = wire_of(recording, protocol)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = 0
            while line := (await reader.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            await reader.readexactly(length)
            kind = recording.get("content_type", "text/event-stream")
            writer.write(f"HTTP/1.1 200 X\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode())
            middle = len(wire) // 2
            for piece in (wire[:1], wire[1:middle], wire[middle:]):
                writer.write(piece)
                await writer.drain()
            while recording.get("stays_open"):
                writer.write(b": keepalive\n\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    with anyio.fail_after(10):
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


def conversation(recording: Recording) -> ModelRequest:
    """A request whose conversation has had the tool uses that the recording names."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "go on"}]
    for id in recording.get("before", ()):
        messages += answered([{"type": "tool_use", "id": id, "name": "bash", "input": {"command": "x"}}])
    return ModelRequest(
        model="some-model", system="Be brief.", messages=tuple(messages), tools=TOOLS, max_tokens=1000
    )


def answered(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "done"}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    return [
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": results or "and then?"},
    ]


async def check(recording: Recording, driver: ModelProvider) -> None:
    request = conversation(recording)
    try:
        if "fails" in recording:
            with pytest.raises(ModelCallFailed) as failed:
                await collect(driver, request)
            failure = failed.value
            assert (failure.reason, failure.billed) == (recording["fails"], recording["billed"])
            assert recording.get("says", "") in failure.message
            return
        deltas, response = await collect(driver, request)
    finally:
        await driver.close()
    check_answer(recording, deltas, response)
    check_what_is_sent_back(recording, request, response)


def check_answer(recording: Recording, deltas: list[ModelDelta], response: ModelResponse) -> None:
    texts = "".join(str(block["text"]) for block in response.content if block["type"] == "text")
    uses = [block for block in response.content if block["type"] == "tool_use"]
    assert texts == recording.get("text", "")
    assert [(use["name"], use["input"]) for use in uses] == [
        (name, input) for _, name, input in recording.get("uses", [])
    ]
    for use, (id, _, _) in zip(uses, recording.get("uses", []), strict=True):
        assert id in ("", use["id"])
    assert response.stop_reason == recording.get("stop", "tool_use" if uses else "end_turn")
    assert any(delta.is_thinking for delta in deltas) == recording.get("thinks", False)
    response = believed(response)
    read = response.usage.total_tokens - response.usage.output_tokens
    usage = recording.get("usage", [10, 5])
    if usage == "unknown":
        assert not response.is_usage_known
    else:
        assert response.is_usage_known
        assert [read, response.usage.output_tokens] == usage


def check_what_is_sent_back(recording: Recording, request: ModelRequest, response: ModelResponse) -> None:
    """Whatever came: what goes out next is well-formed in every protocol."""
    more = answered(list(response.content)) if response.content else []
    again = msgspec.structs.replace(request, messages=(*request.messages, *more))
    ids = [
        block["id"]
        for message in again.messages
        for block in cast("list[Any]", message["content"])
        if isinstance(block, dict) and block["type"] == "tool_use"
    ]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,40}", id) for id in ids)
    chat: dict[str, Any] = chat_body(again, is_vendor=False, provider="local")
    for body in (chat, responses_body(again), request_body(again)):
        json.loads(encode_body(body))
    for message in chat["messages"]:
        for call in message.get("tool_calls", []):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            assert re.fullmatch("[A-Za-z0-9_-]{1,64}", call["function"]["name"])
    called = [call["id"] for message in chat["messages"] for call in message.get("tool_calls", [])]
    results = [message["tool_call_id"] for message in chat["messages"] if message["role"] == "tool"]
    assert called == results
    foreign = chat_body(again, is_vendor=False, provider="another")
    assert "reasoning" not in str(foreign)
    assert "thought_signature" not in str(foreign)
    assert not any(block["type"] == "text" and not str(block["text"]).strip() for block in response.content)
    if "back" in recording:
        said = [message for message in chat["messages"] if message["role"] == "assistant"][-1]
        sent = {**said, "call_ids": [call["id"] for call in said["tool_calls"]], **said["tool_calls"][0]}
        sent["content"] = said["content"]
        assert {name: sent.get(name) for name in recording["back"]} == recording["back"]


async def collect(driver: ModelProvider, request: ModelRequest) -> tuple[list[ModelDelta], ModelResponse]:
    items = [item async for item in driver.stream(request)]
    assert isinstance(items[-1], ModelResponse)
    deltas = [item for item in items[:-1] if isinstance(item, ModelDelta)]
    assert len(deltas) == len(items) - 1
    return deltas, items[-1]


@played("chat")
async def test_chat_completions(recording: Recording) -> None:
    async with serving(recording, "chat") as url:
        await check(
            recording, OpenAIChatProvider(api_key="k", base_url=url, timeouts=IMPATIENT, name="local")
        )


@played("responses")
async def test_responses(recording: Recording) -> None:
    async with serving(recording, "responses") as url:
        await check(recording, OpenAIResponsesProvider(api_key="k", base_url=url, timeouts=IMPATIENT))


@played("messages")
async def test_messages(recording: Recording) -> None:
    async with serving(recording, "messages") as url:
        await check(recording, AnthropicProvider(api_key="k", base_url=url, timeouts=IMPATIENT))


@pytest.mark.parametrize("vendor", ["bedrock", "vertex"])
@played("messages", whole_events=True)
async def test_messages_through_a_vendors_sdk(
    recording: Recording, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="pip install 'remit[bedrock]'")
    google = pytest.importorskip("google.oauth2.credentials", reason="pip install 'remit[vertex]'")
    set_usual_environment(monkeypatch)
    parser = SseParser()
    events = [json.loads(event.data) for event in parser.feed(wire_of(recording, "messages"))]
    frame: Callable[[Any], bytes] = aws_frame if vendor == "bedrock" else sse_frame
    served = Vendor(
        content_type=AWS if vendor == "bedrock" else SSE,
        frames=[frame(event) for event in events],
        is_silent=recording.get("stays_open", False),
    )
    with anyio.fail_after(60):
        async with served.serving():
            if vendor == "bedrock":
                driver = bedrock_provider(base_url=served.url, timeouts=WITH_IMPORTS)
            else:
                credentials = google.Credentials(token="google-secret")
                driver = vertex_provider(base_url=served.url, timeouts=WITH_IMPORTS, credentials=credentials)
            await check(recording, driver)


def test_every_recording_says_where_it_is_from_and_what_is_expected() -> None:
    all_of_them = [each for protocol in ("chat", "responses", "messages") for each in recordings(protocol)]
    assert len(all_of_them) >= 80
    for recording in all_of_them:
        assert recording.keys() <= KNOWN, recording["name"]
        assert re.fullmatch(r"[\w.-]+/[\w.-]+(#\d+|:[\w./-]+)", recording["source"]), recording["name"]
        assert {"text", "uses", "fails"} & recording.keys(), recording["name"]
    assert UNPARSED_INPUT in str(all_of_them)
