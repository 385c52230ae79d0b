"""Sending and listing session events through the official SDK."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import anthropic
import anyio
import httpx2
import pytest

from api.samples import BUDGET, HELLO, OUTCOME, new_session
from api.world import World, open_world
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.values import Append, Appended, Principal

pytestmark = pytest.mark.anyio


async def test_sent_events_get_ids_and_wait_until_they_are_consumed(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        sent = await client.beta.sessions.events.send(session.id, events=[HELLO, {"type": "user.interrupt"}])
        assert [event.processed_at for event in sent.data] == [None, None]
        waiting = [event async for event in client.beta.sessions.events.list(session.id)]
        await world.consume_all(session.id)
        consumed = [event async for event in client.beta.sessions.events.list(session.id)]
    assert [event.id for event in waiting] == [event.id for event in sent.data]
    assert [event.type for event in consumed] == ["session.status_running", "user.message", "user.interrupt"]
    assert [event.id for event in consumed[1:]] == [event.id for event in sent.data]
    assert all(event.processed_at is not None for event in consumed)
    assert world.hints.due.is_set()


@pytest.mark.requirement("events atomic")
async def test_one_refused_event_refuses_all(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        with pytest.raises(anthropic.BadRequestError, match=r"events\[1\]"):
            await client.beta.sessions.events.send(
                session.id,
                events=[
                    HELLO,
                    {"type": "user.tool_confirmation", "tool_use_id": "sevt_x", "result": "allow"},
                ],
            )
        assert [event async for event in client.beta.sessions.events.list(session.id)] == []
    assert not world.hints.due.is_set()


@pytest.mark.requirement("events repeat")
async def test_same_idempotency_key_gives_the_same_events(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        url = f"/v1/sessions/{session.id}/events"
        headers = {"idempotency-key": "once"}
        first = await http.post(url, json={"events": [HELLO, OUTCOME]}, headers=headers)
        again = await http.post(url, json={"events": [HELLO, OUTCOME]}, headers=headers)
        await world.consume_all(session.id)
        await world.idle(session.id, {"type": "budget_reached"})
        late = await http.post(url, json={"events": [HELLO, OUTCOME]}, headers=headers)
        other = await http.post(url, json={"events": [HELLO]}, headers=headers)
        changed = await http.post(
            url, json={"events": [{"type": "user.interrupt"}, OUTCOME]}, headers=headers
        )
        listed = [
            event async for event in client.beta.sessions.events.list(session.id, types=["user.message"])
        ]
    assert first.status_code == again.status_code == late.status_code == 200
    assert first.json() == again.json()
    assert [event["id"] for event in late.json()["data"]] == [event["id"] for event in first.json()["data"]]
    assert late.json()["data"][0]["processed_at"] is not None
    assert other.status_code == changed.status_code == 409
    assert len(listed) == 1


class Together(MemorySessionStore):
    """Appends of input wait for each other, so that everybody has decided before the first is there."""

    def __init__(self, clock: FakeClock, count: int) -> None:
        super().__init__(clock)
        self._missing = count
        self._all_here = anyio.Event()

    async def append(self, principal: Principal, append: Append) -> Appended:
        if append.events[0].type == "input.received":
            self._missing -= 1
            if self._missing == 0:
                self._all_here.set()
            await self._all_here.wait()
        return await super().append(principal, append)


async def test_of_different_events_under_one_idempotency_key_only_one_is_said_to_be_there(
    tmp_path: Path,
) -> None:
    answers: dict[int, httpx2.Response] = {}
    async with (
        open_world(tmp_path, lambda clock: Together(clock, count=4)) as world,
        world.sdk() as client,
        world.http() as http,
    ):
        session = await new_session(client)
        url = f"/v1/sessions/{session.id}/events"

        async def send(number: int) -> None:
            text = {"type": "text", "text": f"text {number % 2}"}
            body = {"events": [{"type": "user.message", "content": [text]}]}
            answers[number] = await http.post(url, json=body, headers={"idempotency-key": "once"})

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(send, number)
        (listed,) = (await http.get(url)).json()["data"]
    said = [answer.json()["data"] for answer in answers.values() if answer.status_code == 200]
    assert said == [[listed], [listed]]
    assert sorted(answer.status_code for answer in answers.values()) == [200, 200, 409, 409]


@pytest.mark.requirement("events blocked")
async def test_requires_action_takes_answers_and_no_messages(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        asks = await world.use_tool(session.id, "agent.tool_use", "bash", evaluated_permission="ask")
        custom = await world.use_tool(session.id, "agent.custom_tool_use", "crm")
        await world.idle(session.id, {"type": "requires_action", "event_ids": [asks, custom]})
        with pytest.raises(anthropic.BadRequestError, match=asks):
            await client.beta.sessions.events.send(session.id, events=[HELLO])
        with pytest.raises(anthropic.BadRequestError, match=r"agent\.tool_use"):
            await client.beta.sessions.events.send(
                session.id,
                events=[{"type": "user.tool_confirmation", "tool_use_id": custom, "result": "allow"}],
            )
        one = await client.beta.sessions.events.send(
            session.id, events=[{"type": "user.tool_confirmation", "tool_use_id": asks, "result": "allow"}]
        )
        assert one.data[0].processed_at is None
        assert (await client.beta.sessions.retrieve(session.id)).status == "idle"
        two = await client.beta.sessions.events.send(
            session.id,
            events=[
                {
                    "type": "user.custom_tool_result",
                    "custom_tool_use_id": custom,
                    "content": [{"type": "text", "text": "42"}],
                }
            ],
        )
        assert two.data[0].processed_at is not None
        assert (await client.beta.sessions.retrieve(session.id)).status == "running"


@pytest.mark.requirement("events outcome")
async def test_second_outcome_waits_for_the_first(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[OUTCOME])
        with pytest.raises(anthropic.BadRequestError, match="outcome"):
            await client.beta.sessions.events.send(session.id, events=[OUTCOME])


@pytest.mark.requirement("events cap")
async def test_settling_events_are_taken_at_the_cap(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO], budget=BUDGET)
        await world.consume_all(session.id)
        await world.idle(session.id, {"type": "budget_reached"})
        sent = await client.beta.sessions.events.send(session.id, events=[{"type": "user.interrupt"}])
    assert sent.data[0].type == "user.interrupt"


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"type": "user.shout"}, "events[0].type"),
        ({"type": "user.message", "content": []}, "events[0].content"),
        ({"type": "user.message", "content": "hello"}, "events[0].content"),
        ({"type": "user.message", "content": [{"type": "redacted"}]}, "events[0].content[0]"),
        (
            {
                "type": "user.message",
                "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
            },
            "events[0].content[0].source.file_id",
        ),
        (
            {
                "type": "user.message",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}}
                ],
            },
            "events[0].content[0].source.data",
        ),
        (
            {
                "type": "user.message",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "AA=="}}
                ],
            },
            "events[0].content[0].source.media_type",
        ),
        ({"type": "user.tool_result", "tool_use_id": "x"}, "events[0]"),
        ({"type": "user.interrupt", "session_thread_id": "sthr_other"}, "events[0].session_thread_id"),
        ({"type": "user.define_outcome", "description": "d"}, "events[0].rubric"),
        ({**OUTCOME, "max_iterations": 21}, "events[0].max_iterations"),
        ({**OUTCOME, "rubric": {"type": "file", "file_id": "f"}}, "events[0].rubric.file_id"),
        (
            {"type": "user.tool_confirmation", "tool_use_id": "x", "result": "allow", "deny_message": "no"},
            "events[0].deny_message",
        ),
        ({"type": "user.custom_tool_result", "custom_tool_use_id": "x"}, "events[0].custom_tool_use_id"),
        ({"type": "system.message", "content": [{"type": "image"}]}, "events[0].content[0].type"),
    ],
)
async def test_bad_event_is_refused_by_the_name_of_the_field(
    world: World, event: dict[str, Any], named: str
) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        answer = await http.post(f"/v1/sessions/{session.id}/events", json={"events": [event]})
        assert [event async for event in client.beta.sessions.events.list(session.id)] == []
    assert answer.status_code == 400
    assert f"`{named}`" in answer.json()["error"]["message"]


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def png_of(width: int, height: int, bytes_more: int = 0) -> str:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"
    return base64.b64encode(head + bytes(bytes_more)).decode()


@pytest.mark.requirement("events content")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png_of(10, 10, 6_300_000), "bytes of base64"),
        (png_of(9000, 10), "9000 x 10 pixels"),
        (png_of(0, 10), "0 x 10 pixels"),
        ("AAAA", "no JPEG, PNG, GIF or WebP"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(), "header cannot be read"),
    ],
    ids=["bytes", "side", "empty side", "no image", "no header"],
)
async def test_an_image_that_no_model_takes_is_refused_by_its_block(
    world: World, data: str, said: str
) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    async with world.sdk() as client:
        session = await new_session(client)
        message = {"type": "user.message", "content": [{"type": "text", "text": "look"}, image]}
        with pytest.raises(anthropic.BadRequestError, match=said) as refused:
            await client.beta.sessions.events.send(session.id, events=[message])
        assert "events[0].content[1].source.data" in str(refused.value)
        file = await client.beta.files.upload(file=("a.png", base64.b64decode(data), "image/png"))
        named = {"type": "image", "source": {"type": "file", "file_id": file.id}}
        with pytest.raises(anthropic.BadRequestError, match=said):
            await client.beta.sessions.events.send(
                session.id, events=[{"type": "user.message", "content": [named]}]
            )


@pytest.mark.requirement("events system")
async def test_system_message_stands_last_and_behind_what_it_accompanies(world: World) -> None:
    system = {"type": "system.message", "content": [{"type": "text", "text": "be kind"}]}
    async with world.sdk() as client:
        session = await new_session(client)
        for events in ([system, HELLO], [{"type": "user.interrupt"}, system]):
            with pytest.raises(anthropic.BadRequestError, match=r"system\.message"):
                await client.beta.sessions.events.send(session.id, events=events)
        await client.beta.sessions.events.send(session.id, events=[HELLO, system])
        await client.beta.sessions.events.send(session.id, events=[system])


@pytest.mark.requirement("events content")
async def test_every_kind_of_content_is_stored_as_sent(world: World) -> None:
    content = [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {
            "type": "document",
            "title": "notes",
            "source": {"type": "text", "media_type": "text/plain", "data": "n"},
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        },
    ]
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        await client.beta.sessions.events.send(
            session.id, events=[{"type": "user.message", "content": content}]
        )
        listed = (await http.get(f"/v1/sessions/{session.id}/events")).json()["data"]
    assert listed[0]["content"] == content


async def test_types_and_times_filter_the_list(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        await world.idle(session.id)
        every = [event async for event in client.beta.sessions.events.list(session.id)]
        last = every[-1].processed_at
        only = [
            event.type
            async for event in client.beta.sessions.events.list(session.id, types=["session.status_idle"])
        ]
        later = [
            event.type async for event in client.beta.sessions.events.list(session.id, created_at_gte=last)
        ]
        earlier = [
            event.type async for event in client.beta.sessions.events.list(session.id, created_at_lt=last)
        ]
        with pytest.raises(anthropic.BadRequestError, match="types"):
            await client.beta.sessions.events.list(session.id, types=["nonsense"])  # type: ignore[list-item]
    assert only == ["session.status_idle"]
    assert later == ["session.status_idle"]
    assert earlier == ["session.status_running", "user.message"]
