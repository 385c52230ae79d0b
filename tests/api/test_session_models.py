"""What a session asks of a real model's API, as its server records it: thinking, effort, caching; and stand-ins."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from api.gateway_world import GatewayWorld, gateway_world
from remit.gateway.retry_plan import RetrySettings
from remit.testing.messages_rules import violations
from remit.testing.model_server import ServedAnswer, ServedToolUse

pytestmark = pytest.mark.anyio

TOOLSET: Any = {"type": "agent_toolset_20260401"}
THINKING = {"type": "thinking", "thinking": "Where is it?", "signature": "c2ln"}
BOUND_ELSEWHERE = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
LOOKS = ServedAnswer(
    thinking="Where is it?",
    signature="c2ln",
    tool_uses=(ServedToolUse(id="toolu_1", name="glob", input={"pattern": "*"}),),
    stop_reason="tool_use",
)


@asynccontextmanager
async def working(world: GatewayWorld) -> AsyncGenerator[Any]:
    """A client, and a worker at work."""
    async with world.platform.working(), world.anthropic() as client:
        with anyio.fail_after(20):
            yield client


async def new_session(client: Any, model: Any) -> str:
    agent = await client.beta.agents.create(name="a", model=model, tools=[TOOLSET])
    environment = await client.beta.environments.create(name="e")
    session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    return session.id


async def say(client: Any, session_id: str, text: str) -> list[Any]:
    """One turn; the events that it brought."""
    events: list[Any] = []
    previews: Any = ["agent.message", "agent.thinking"]
    async with await client.beta.sessions.events.stream(session_id, event_deltas=previews) as stream:
        message: Any = {"type": "user.message", "content": [{"type": "text", "text": text}]}
        await client.beta.sessions.events.send(session_id, events=[message])
        async for event in stream:
            events.append(event)
            if event.type == "session.status_idle":
                return events
    raise AssertionError("the stream ended before the turn")


def calls(world: GatewayWorld, provider: str = "anthropic") -> list[Any]:
    """The bodies of the model calls that reached it."""
    return [one.body for one in world.servers[provider].requests if one.path == "/v1/messages"]


@pytest.mark.requirement("sessions thinking")
async def test_thinking_shows_as_progress_and_goes_back_to_the_model_as_it_came(tmp_path: Path) -> None:
    answers = [LOOKS, ServedAnswer(chunks=("Nowhere.",))]
    async with gateway_world(tmp_path, anthropic=answers) as world, working(world) as client:
        session_id = await new_session(client, "anthropic/claude-sonnet-4-6")
        events = await say(client, session_id, "Find it.")
        first, second = calls(world)
    (thinking,) = [event for event in events if event.type == "agent.thinking"]
    starts = [event.event for event in events if event.type == "event_start"]
    assert [(start.type, start.id) for start in starts[:1]] == [("agent.thinking", thinking.id)]
    assert set(thinking.to_dict()) == {"id", "type", "processed_at"}
    assert "Where is it?" not in str(events)
    assert first["thinking"] == second["thinking"] == {"type": "adaptive"}
    assert second["messages"][1]["content"][0] == THINKING


async def test_thinking_is_forgotten_when_the_tools_before_it_change(tmp_path: Path) -> None:
    answers = [LOOKS, ServedAnswer(chunks=("Nowhere.",)), ServedAnswer(chunks=("Still nowhere.",))]
    async with gateway_world(tmp_path, anthropic=answers) as world, working(world) as client:
        session_id = await new_session(client, "anthropic/claude-sonnet-5-5")
        await say(client, session_id, "Find it.")
        without_bash: Any = {**TOOLSET, "configs": [{"name": "bash", "enabled": False}]}
        await client.beta.sessions.update(session_id, agent={"tools": [without_bash]})
        await say(client, session_id, "And now?")
        third = calls(world)[2]
    assert "Nowhere." in str(third["messages"])
    assert "thinking" not in {block["type"] for each in third["messages"] for block in each["content"]}


async def test_thinking_that_the_model_refuses_to_read_again_is_left_out_once(tmp_path: Path) -> None:
    refused = ServedAnswer(status=400, error_type="invalid_request_error", error_message=BOUND_ELSEWHERE)
    answers = [LOOKS, refused, ServedAnswer(chunks=("Nowhere.",))]
    async with gateway_world(tmp_path, anthropic=answers) as world, working(world) as client:
        session_id = await new_session(client, "anthropic/claude-sonnet-5-5")
        events = await say(client, session_id, "Find it.")
        _, second, third = calls(world)
    assert "session.error" not in [event.type for event in events]
    assert second["messages"][1]["content"][0] == THINKING
    assert [block["type"] for block in third["messages"][1]["content"]] == ["tool_use"]


async def test_a_model_that_cannot_think_by_itself_is_sent_nothing_about_it(tmp_path: Path) -> None:
    async with (
        gateway_world(tmp_path, anthropic=[ServedAnswer(chunks=("Hello.",))]) as world,
        working(world) as client,
    ):
        session_id = await new_session(client, "anthropic/claude-haiku-4-5")
        await say(client, session_id, "Hello?")
        (only,) = calls(world)
    assert "thinking" not in only
    assert "output_config" not in only


@pytest.mark.requirement("sessions effort")
async def test_effort_is_shown_resolved_and_sent_where_it_is_not_the_models_own(tmp_path: Path) -> None:
    answers = [ServedAnswer(chunks=("Hello.",))] * 2
    async with gateway_world(tmp_path, anthropic=answers) as world, working(world) as client:
        plain = await client.beta.agents.create(name="a", model="anthropic/claude-opus-5-5")
        unknown = await client.beta.agents.create(name="b", model="anthropic/m")
        for model in ("anthropic/claude-opus-5-5", {"id": "anthropic/claude-opus-5-5", "effort": "low"}):
            await say(client, await new_session(client, model), "Hello?")
        usual, low = calls(world)
    assert plain.model.effort is not None
    assert (plain.model.effort.type, unknown.model.effort) == ("medium", None)
    assert "output_config" not in usual
    assert low["output_config"] == {"effort": "low"}


async def test_the_prompt_up_to_the_newest_messages_is_marked_for_the_cache(tmp_path: Path) -> None:
    answers = [LOOKS, ServedAnswer(chunks=("Nowhere.",))]
    async with gateway_world(tmp_path, anthropic=answers) as world, working(world) as client:
        await say(client, await new_session(client, "anthropic/claude-opus-4-6"), "Find it.")
        first, second = calls(world)
    for body in (first, second):
        assert body["system"][-1]["cache_control"] == {"type": "ephemeral"}
        assert "cache_control" not in str(body["tools"])  # before the system prompt, so under its mark
    marked = [
        ["cache_control" in message["content"][-1] for message in body["messages"]]
        for body in (first, second)
    ]
    assert marked == [[True], [True, False, True]]


@pytest.mark.requirement("sessions long calls")
async def test_a_call_that_takes_its_time_holds_nothing_else_up(tmp_path: Path) -> None:
    answers = [ServedAnswer(chunks=("Let me think",), fault="silence"), ServedAnswer(chunks=("Quick.",))]
    async with gateway_world(tmp_path, anthropic=answers) as world, working(world) as client:
        slow, quick = [await new_session(client, "anthropic/m") for _ in range(2)]
        question: Any = {"type": "user.message", "content": [{"type": "text", "text": "Why?"}]}
        await client.beta.sessions.events.send(slow, events=[question])
        await world.servers["anthropic"].is_silent.wait()
        events = await say(client, quick, "And this?")
        assert (await client.beta.sessions.retrieve(slow)).status == "running"
        async with await client.beta.sessions.events.stream(slow) as stream:
            await client.beta.sessions.events.send(slow, events=[{"type": "user.interrupt"}])
            stopped = [event async for event in until_idle(stream)]
    assert "agent.message" in [event.type for event in events]
    assert stopped[-1].stop_reason.type == "end_turn"


async def until_idle(stream: Any) -> AsyncGenerator[Any]:
    async for event in stream:
        yield event
        if event.type == "session.status_idle":
            return


async def test_a_receipt_names_the_model_that_was_overloaded_and_the_one_that_did_the_work(
    tmp_path: Path,
) -> None:
    routes = {"main": {"targets": ["anthropic/m", "spare/m"]}}
    writes = ServedToolUse(id="toolu_1", name="bash", input={"command": "echo 42 > answer.txt"})
    answers = {
        "anthropic": [ServedAnswer(status=529, headers={"retry-after": "60"})],
        "spare": [ServedAnswer(tool_uses=(writes,), stop_reason="tool_use"), ServedAnswer(chunks=("Done.",))],
    }
    asked = {
        "outcome": "42 stands in answer.txt",
        "verifiers": [{"type": "command", "command": "grep -qx 42 answer.txt"}],
        "budget": {"usd": "1.00"},
        "model": "main",
        "consent": "given",
    }
    async with (
        gateway_world(tmp_path, answers, routes=routes) as world,
        working(world),
        world.http() as http,
    ):
        created = (await http.post("/v1/remits", json=asked)).json()
        await remit_ended(http, created["id"])
        receipt = (await http.get(f"/v1/remits/{created['id']}/receipt")).json()
        check = (await http.get(f"/v1/remits/{created['id']}/check")).json()
    assert (receipt["status"], receipt["agent"]["model"]) == ("satisfied", "main")
    assert [(call["model"], call["priced_as"], call["error_reason"]) for call in receipt["calls"]] == [
        ("main", "anthropic/m", "overloaded"),
        ("main", "spare/m", None),
        ("main", "spare/m", None),
    ]
    assert receipt["calls"][0]["settled"]["nano_usd"] == 0
    assert set(receipt["prices"]) == {"anthropic/m", "spare/m"}
    assert check["ok"] is True


async def remit_ended(http: httpx2.AsyncClient, remit_id: str) -> None:
    async with http.stream("GET", f"/v1/remits/{remit_id}/events/stream?after=0") as live:
        async for line in live.aiter_lines():
            if line == "event: remit.ended":
                return


def chat_calls(world: GatewayWorld) -> list[Any]:
    """The bodies of the calls of Chat Completions."""
    return [one.body for one in world.servers["chat"].requests if one.path == "/v1/chat/completions"]


async def test_reasoning_goes_back_to_the_server_of_chat_completions_that_it_came_from(
    tmp_path: Path,
) -> None:
    answers = [LOOKS, LOOKS, ServedAnswer(chunks=("Nowhere.",))]
    async with gateway_world(tmp_path, chat=answers) as world, working(world) as client:
        session_id = await new_session(client, "chat/m")
        events = await say(client, session_id, "Find it.")
        first, second, third = chat_calls(world)
    assert "session.error" not in [event.type for event in events]
    assert "agent.thinking" in [event.type for event in events]
    assert "reasoning_content" not in str(first)
    assert second["messages"][-2]["reasoning_content"] == "Where is it?"
    said = [message for message in third["messages"] if message["role"] == "assistant"]
    assert [message["reasoning_content"] for message in said] == ["Where is it?"] * 2
    ids = [message["tool_calls"][0]["id"] for message in said]
    assert len(set(ids)) == 2, "the server gave both calls one id"
    assert [message["tool_call_id"] for message in third["messages"] if message["role"] == "tool"] == ids


async def test_two_calls_with_one_id_are_two_calls(tmp_path: Path) -> None:
    twice = tuple(ServedToolUse(id="call_0", name="glob", input={"pattern": pattern}) for pattern in "ab")
    answers = [ServedAnswer(tool_uses=twice, stop_reason="tool_use"), ServedAnswer(chunks=("Nowhere.",))]
    async with gateway_world(tmp_path, chat=answers) as world, working(world) as client:
        session_id = await new_session(client, "chat/m")
        events = await say(client, session_id, "Find them.")
        _, second = chat_calls(world)
    uses = {event.id for event in events if event.type == "agent.tool_use"}
    results = {event.tool_use_id for event in events if event.type == "agent.tool_result"}
    assert len(uses) == 2
    assert results == uses
    called = [call["id"] for call in second["messages"][-3]["tool_calls"]]
    # In the order in which they were done: they run side by side.
    assert {message["tool_call_id"] for message in second["messages"][-2:]} == set(called)
    assert len(set(called)) == 2


async def test_a_session_goes_from_protocol_to_protocol_and_back_and_nothing_of_it_is_refused(
    tmp_path: Path,
) -> None:
    def looks(id: str) -> ServedAnswer:
        return ServedAnswer(
            thinking="Where is it?",
            signature="c2ln",
            tool_uses=(ServedToolUse(id=id, name="glob", input={"pattern": "*"}),),
            stop_reason="tool_use",
        )

    busy = ServedAnswer(status=529)
    routes = {"main": {"targets": ["anthropic/m", "chat/m", "responses/m"]}}
    answers = {
        "anthropic": [looks("toolu_1"), busy, busy, looks("toolu_1"), ServedAnswer(chunks=("Nowhere.",))],
        "chat": [looks("functions.glob:0"), busy],
        "responses": [looks("call_" + "x" * 90)],
    }
    async with (
        gateway_world(
            tmp_path, answers, routes=routes, retries=RetrySettings(backoff_first_seconds=0.01)
        ) as world,
        working(world) as client,
    ):
        session_id = await new_session(client, "main")
        events = await say(client, session_id, "Find it.")
    assert events[-1].stop_reason.type == "end_turn"
    assert [event.type for event in events].count("agent.tool_result") == 4
    bodies = {
        name: [one.body for one in server.requests if one.body] for name, server in world.servers.items()
    }
    assert [len(bodies[name]) for name in answers] == [5, 2, 1]
    for body in bodies["anthropic"]:
        assert violations(body) == []
    for body in bodies["chat"]:
        called = [call["id"] for said in body["messages"] for call in said.get("tool_calls", ())]
        assert called == [said["tool_call_id"] for said in body["messages"] if said["role"] == "tool"]
        assert len(set(called)) == len(called)
    items = bodies["responses"][0]["input"]
    calls_of = {
        kind: [item["call_id"] for item in items if item["type"] == kind]
        for kind in ("function_call", "function_call_output")
    }
    assert calls_of["function_call"] == calls_of["function_call_output"]
    assert "c2ln" not in str(bodies["chat"]) + str(bodies["responses"])
