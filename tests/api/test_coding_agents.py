"""What Claude Code and Codex send as they ship, through each door toward every kind of model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.gateway_world import GatewayWorld, gateway_world
from remit.clock import SystemClock
from remit.errors import HoldRefused
from remit.gateway.protocols.messages import request_from_messages
from remit.gateway.protocols.responses_input import request_from_responses
from remit.interfaces import ModelProvider
from remit.ledger.bounds import MAX_TOKENS_MIN, input_tokens_bound, plan_call
from remit.models.drivers.bedrock import bedrock_provider
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.scripted import ModelScript, ScriptedProvider, ScriptedToolUse, ScriptStep
from remit.models.drivers.vertex import vertex_provider
from remit.schema.messages import read_messages
from remit.schema.openai import ResponsesParams
from remit.schema.operation import ErrorForm
from remit.schema.published import ASKED, refuse_unknown
from remit.schema.wire import decode
from remit.server.edge.error_forms import answer_in
from remit.testing.model_server import ModelServer, ServedAnswer, ServedToolUse
from remit.values import Account, Rate
from support.recordings import Recording, recordings
from support.vendor_server import AWS, SSE, Vendor, aws_frame, set_usual_environment, sse_frame

google_credentials = pytest.importorskip("google.oauth2.credentials", reason="pip install 'remit[vertex]'")

pytestmark = pytest.mark.anyio

PATCH = "*** Begin Patch"
CALLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "claude_code_2_1_197": ("Bash", {"command": "ls"}, {"type": "tool_use", "name": "Bash"}),
    "claude_code_2_1_332": ("Bash", {"command": "ls"}, {"type": "tool_use", "name": "Bash"}),
    "claude_code_2_1_332_found_tools": (
        "mcp__forge__tool_7",
        {"title": "x"},
        {"type": "tool_use", "name": "mcp__forge__tool_7"},
    ),
    "codex_0_171_gpt_5_5_found_tools": (
        "tool_search",
        {"query": "forge"},
        {"type": "tool_search_call", "execution": "client", "arguments": {"query": "forge"}},
    ),
    "codex_0_163_own_model": (
        "exec_command",
        {"cmd": "ls"},
        {"type": "function_call", "name": "exec_command"},
    ),
    "codex_0_171_own_model": (
        "multi_agent_v1__close_agent",
        {"target": "/main/a"},
        {"type": "function_call", "name": "close_agent", "namespace": "multi_agent_v1"},
    ),
    "codex_0_171_gpt_6_1": (
        "exec",
        {"input": PATCH},
        {"type": "custom_tool_call", "name": "exec", "namespace": "functions", "input": PATCH},
    ),
}
"""By recording: the call that a model answers with, and what its program is to be told of it."""
TARGETS = ("anthropic", "chat", "responses", "scripted", "actions", "bedrock", "vertex")
CHAT_FIELDS = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
}
RESPONSES_FIELDS = {
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "stream",
    "store",
    "include",
    "service_tier",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
}
"""What a server of one's own is sent, and nothing else."""


def frames(name: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """A streamed answer of Messages with one call."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }
    block = {"type": "tool_use", "id": "toolu_new", "name": name, "input": {}}
    delta = {"type": "input_json_delta", "partial_json": json.dumps(given)}
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"input_tokens": 7, "output_tokens": 9},
        },
        {"type": "message_stop"},
    ]


@asynccontextmanager
async def world_of(
    folder: Path, recording: Recording, *, routes: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[GatewayWorld, dict[str, Any]]]:
    """A platform with a model of every kind, each of which answers with the recording's call; and what the vendors and
    the server for actions were sent."""
    name, given, _ = CALLS[recording.name]
    use = ServedToolUse(id="call_new", name=name, input=given)
    answer = ServedAnswer(tool_uses=(use,), stop_reason="tool_use")
    action = ServedAnswer(chunks=(json.dumps({"action": name, **given}),))
    script = ModelScript(default=ScriptStep(tool_uses=(ScriptedToolUse(name=name, input=given),)))
    events = frames(name, given)
    bedrock = Vendor(content_type=AWS, frames=[aws_frame(event) for event in events])
    vertex = Vendor(content_type=SSE, frames=[sse_frame(event) for event in events])
    async with AsyncExitStack() as stack:
        actions = await stack.enter_async_context(ModelServer([action]).serving())
        await stack.enter_async_context(bedrock.serving())
        await stack.enter_async_context(vertex.serving())
        providers: dict[str, ModelProvider] = {
            "scripted": ScriptedProvider({"s": script}, clock=SystemClock()),
            "bedrock": bedrock_provider(base_url=bedrock.url),
            "vertex": vertex_provider(
                base_url=vertex.url, credentials=google_credentials.Credentials(token="t")
            ),
            "actions": OpenAIChatProvider(
                api_key=None, base_url=f"{actions.url}/v1", name="actions", uses_json_actions=True
            ),
        }
        for provider in providers.values():
            stack.push_async_callback(provider.close)
        world = await stack.enter_async_context(
            gateway_world(
                folder,
                routes=routes,
                providers=providers,
                anthropic=[answer],
                chat=[answer],
                responses=[answer],
                prices_of=("bedrock/m", "vertex/m", "actions/m"),
                **more,
            )
        )
        yield world, {"bedrock": bedrock, "vertex": vertex, "actions": actions}


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_usual_environment(monkeypatch)


async def play(world: GatewayWorld, recording: Recording, model: str) -> tuple[int, dict[str, str], str]:
    async with world.http() as client:
        response = await client.post(
            recording.path, json={**recording.body, "model": model}, headers=recording.headers
        )
        return response.status_code, dict(response.headers), response.text


def events_of(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")
    ]


def call_in(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The call as the program reads it off the stream."""
    for event in events:
        if event["type"] == "response.output_item.done" and "call" in event["item"]["type"]:
            return event["item"]
        block = event.get("content_block", {})
        if block.get("type") == "tool_use":
            return block
    raise AssertionError(f"no call in {[event['type'] for event in events]}")


def sent_to(world: GatewayWorld, others: dict[str, Any], target: str) -> dict[str, Any] | None:
    if target in ("bedrock", "vertex"):
        return others[target].requests[-1][2]
    if target == "actions":
        return others[target].requests[-1].body
    return None if target == "scripted" else dict(world.sent(target))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("recording", recordings(), ids=lambda each: each.name)
async def test_what_a_coding_agent_sends_is_served_by_every_model(
    tmp_path: Path, recording: Recording, target: str
) -> None:
    async with world_of(tmp_path, recording) as (world, others):
        model = "scripted/s" if target == "scripted" else f"{target}/m"
        status, headers, text = await play(world, recording, model)
        sent = sent_to(world, others, target)
    assert status == 200, text
    told = CALLS[recording.name][2]
    assert call_in(events_of(text)).items() >= told.items()
    assert set(headers.get("remit-dropped", "").split(", ")) - {""} == dropped_by(recording, target)
    if sent is not None:
        check_sent(sent, target)


def dropped_by(recording: Recording, target: str) -> set[str]:
    """What is left out of this recording toward this model."""
    body, dropped = recording.body, set[str]()
    if recording.is_messages:
        if target in ("bedrock", "vertex"):
            return {"anthropic-beta"}
        if target != "anthropic":
            dropped = {"thinking", "context_management", "metadata", "anthropic-beta"}
        return dropped
    dropped = {"client_metadata", "prompt_cache_key"}
    if any(tool["type"] == "web_search" for tool in body.get("tools", [])):
        dropped.add("web_search")
    if any(part.get("detail") for item in body["input"] for part in _parts(item)):
        dropped.add("image_detail")
    if "verbosity" in body.get("text", {}):
        dropped.add("verbosity")
    if "context" in body.get("reasoning", {}):
        dropped.add("reasoning_context")
    if "summary" in body.get("reasoning", {}) and target != "responses":
        dropped.add("reasoning_summary")
    return dropped


def _parts(item: dict[str, Any]) -> list[dict[str, Any]]:
    parts = item.get("output", item.get("content"))
    return parts if isinstance(parts, list) else []


def check_sent(sent: dict[str, Any], target: str) -> None:
    """Nothing that the protocol does not have, every call answered, every name one that servers take."""
    assert "client_metadata" not in json.dumps(sent)
    if target in ("anthropic", "bedrock", "vertex"):
        for vendors in ("anthropic_beta", "anthropic_version"):
            sent.pop(vendors, None)
        refuse_unknown(sent, ASKED, "")
        text = json.dumps(sent)
        if target != "anthropic":
            assert '"role": "system"' not in text
            assert "defer_loading" not in text
            assert "tool_reference" not in text
        uses = [block["id"] for block in _blocks(sent) if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in _blocks(sent) if block["type"] == "tool_result"]
        names = [tool["name"] for tool in sent["tools"]]
    elif target == "responses":
        assert set(sent) <= RESPONSES_FIELDS
        assert "tool_reference" not in json.dumps(sent)
        uses = [item["call_id"] for item in sent["input"] if item["type"] == "function_call"]
        results = [item["call_id"] for item in sent["input"] if item["type"] == "function_call_output"]
        names = [tool["name"] for tool in sent["tools"]]
    else:
        assert set(sent) <= CHAT_FIELDS
        assert "tool_reference" not in json.dumps(sent)
        roles = [message["role"] for message in sent["messages"]]
        assert "system" not in roles[1:], "most templates take a system prompt at the beginning alone"
        if target == "actions":
            return
        uses = [call["id"] for message in sent["messages"] for call in message.get("tool_calls", [])]
        results = [message["tool_call_id"] for message in sent["messages"] if message["role"] == "tool"]
        names = [tool["function"]["name"] for tool in sent["tools"]]
    assert sorted(uses) == sorted(results)
    assert len(uses) == len(set(uses)) >= 2
    assert len(names) == len(set(names)) >= 5
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)


def _blocks(sent: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        block
        for message in sent["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
    ]


@pytest.mark.parametrize("recording", recordings(), ids=lambda each: each.name)
async def test_a_route_that_drops_nothing_names_what_is_in_the_way(
    tmp_path: Path, recording: Recording
) -> None:
    routes = {"strict": {"targets": ["chat/m"], "drop": []}}
    async with world_of(tmp_path, recording, routes=routes) as (world, _):
        status, _, text = await play(world, recording, "strict")
        assert world.servers["chat"].requests == []
    assert status == 400
    named = "metadata" if recording.is_messages else "prompt_cache_key"
    assert f"`{named}`" in text
    assert '[routes.\\"strict\\"]' in text


@pytest.mark.parametrize("target", ["anthropic", "chat", "responses"])
@pytest.mark.parametrize("recording", recordings(), ids=lambda each: each.name)
async def test_no_more_output_is_asked_for_than_the_model_gives(
    tmp_path: Path, recording: Recording, target: str
) -> None:
    said = {f"{target}/m": {"context_tokens": 200_000, "max_output_tokens": 4_000}}
    async with world_of(tmp_path, recording, models_said=said) as (world, _):
        status, _, text = await play(world, recording, f"{target}/m")
        sent = world.sent(target)
    assert status == 200, text
    assert sent.get("max_tokens", sent.get("max_output_tokens")) == 4_000


@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions", "/v1/responses"]
)
@pytest.mark.parametrize(("field", "value"), [("n", 5), ("priority", "high"), ("field_of_next_year", None)])
async def test_no_unknown_field_goes_out(tmp_path: Path, path: str, field: str, value: object) -> None:
    hello = [{"role": "user", "content": "hello"}]
    body: dict[str, Any] = {"model": "anthropic/m", "messages": hello, field: value}
    if path == "/v1/messages":
        body["max_tokens"] = 5
    elif path == "/v1/responses":
        body["input"] = body.pop("messages")
    async with gateway_world(tmp_path, anthropic=[]) as world, world.http() as client:
        response = await client.post(path, json=body)
        assert world.servers["anthropic"].requests == []
    assert response.status_code == 400
    assert f"`{field}`" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("form", "status", "type"),
    [
        ("messages", 402, "billing_error"),  # Claude Code ends at once; at a 400 it asks three times
        ("openai", 400, "insufficient_quota"),  # Codex ends at once; at a 402 it asks six times
    ],
)
def test_what_cannot_be_held_ends_the_work_at_once(form: ErrorForm, status: int, type: str) -> None:
    answer = answer_in(form, HoldRefused("its worst case is $2.80 and $2.00 remain"), "req_1")
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"]) == (status, type)
    assert "$2.00 remain" in error["message"]
    assert error.get("code") != "budget_reached", "Codex would show the code instead of the reason"


@pytest.mark.parametrize(
    ("max_tokens", "thinking"),
    [
        (20_000, {"type": "enabled", "budget_tokens": 10_000}),
        (4_000, {"type": "enabled", "budget_tokens": 2_000}),
        (500, {"type": "disabled"}),
    ],
)
async def test_thinking_fits_into_an_answer_that_was_made_smaller(
    tmp_path: Path, max_tokens: int, thinking: dict[str, Any]
) -> None:
    said = {"anthropic/m": {"max_output_tokens": max_tokens}}
    body = {
        "model": "anthropic/m",
        "max_tokens": 32_000,
        "messages": [{"role": "user", "content": "hello"}],
        "thinking": {"type": "enabled", "budget_tokens": 10_000},
    }
    answer = ServedAnswer(chunks=("Good day",))
    async with gateway_world(tmp_path, models_said=said, anthropic=[answer]) as world, world.http() as client:
        assert (await client.post("/v1/messages", json=body)).status_code == 200
        sent = world.sent("anthropic")
    assert (sent["max_tokens"], sent["thinking"]) == (max_tokens, thinking)


@pytest.mark.parametrize("target", ["chat", "responses"])
async def test_a_model_that_cannot_be_told_how_hard_to_think_is_asked_without(
    tmp_path: Path, target: str
) -> None:
    refusal = ServedAnswer(
        status=400, error_message="Unsupported parameter: 'reasoning_effort' is not supported here."
    )
    answers = [refusal, ServedAnswer(chunks=("Good day",))]
    body = {
        "model": f"{target}/m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hello"}],
        "output_config": {"effort": "max"},
    }
    async with gateway_world(tmp_path, {target: answers}) as world, world.http() as client:
        response = await client.post("/v1/messages", json=body)
        first, second = world.servers[target].requests
    assert response.status_code == 200, response.text
    asked = first.body.get("reasoning_effort") or first.body["reasoning"]["effort"]
    assert asked == "xhigh", "the highest that these protocols have"
    assert not {"reasoning_effort", "reasoning"} & set(second.body)


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        ("claude-haiku-4-5", "medium", None),
        ("claude-opus-4-5", "xhigh", "high"),
        ("claude-opus-5-5", "minimal", "low"),
        ("claude-opus-5-5", "none", "low"),
        ("claude-opus-5-5", "xhigh", "xhigh"),
        ("m", "medium", "medium"),
    ],
)
async def test_effort_is_said_in_words_that_the_model_knows(
    tmp_path: Path, model: str, effort: str, sent: str | None
) -> None:
    body = {"model": f"anthropic/{model}", "input": "hello", "reasoning": {"effort": effort}}
    prices = (f"anthropic/{model}",)
    answer = ServedAnswer(chunks=("Good day",))
    async with gateway_world(tmp_path, anthropic=[answer], prices_of=prices) as world, world.http() as client:
        assert (await client.post("/v1/responses", json=body)).status_code == 200
        config = world.sent("anthropic").get("output_config", {})
    assert config.get("effort") == sent


DEAR = Rate(
    input=5_000, output=25_000, cache_read=500, cache_write_5m=5_000, cache_write_1h=5_000, source="test"
)


@pytest.mark.parametrize("left_usd", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("recording", recordings(), ids=lambda each: each.name)
def test_the_answer_is_made_smaller_where_the_budget_would_not_bear_it(
    recording: Recording, left_usd: float
) -> None:
    body = json.dumps(recording.body).encode()
    request = (
        request_from_messages(read_messages(body))
        if recording.is_messages
        else request_from_responses(decode(body, ResponsesParams))
    )
    left = int(left_usd * 1_000_000_000)
    account = Account(stream_id="sesn_one", unit="nano_usd", purpose="work", cap=left)
    planned = plan_call(
        request,
        call_id="call_1",
        purpose="work",
        rate=DEAR,
        accounts=[account],
        input_tokens_max=input_tokens_bound(request),
    )
    (hold,) = planned.holds
    assert hold.amount <= left
    assert MAX_TOKENS_MIN < planned.request.max_tokens <= request.max_tokens
    whole = (input_tokens_bound(request) * 5_000 + request.max_tokens * 25_000) <= left
    assert (planned.request.max_tokens == request.max_tokens) == whole
