"""The event stream: nothing missing, nothing twice, wherever a reader comes in."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import anthropic
import anyio
import anyio.lowlevel
import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.samples import HELLO, OUTCOME, new_session
from api.world import World, open_world
from remit.values import LiveItem

pytestmark = pytest.mark.anyio


class Frame(NamedTuple):
    """One server-sent event, or a comment (event and data empty)."""

    event: str
    id: str | None
    data: Any


async def frames(response: httpx2.Response) -> AsyncIterator[Frame]:
    rest = ""
    async for text in response.aiter_text():
        rest += text
        *whole, rest = rest.split("\n\n")
        for block in whole:
            if block.startswith(":"):
                yield Frame("", None, block)
                continue
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            yield Frame(fields["event"], fields.get("id"), msgspec.json.decode(fields["data"]))


@contextlib.asynccontextmanager
async def following(world: World, session_id: str, **params: Any) -> AsyncIterator[AsyncIterator[Frame]]:
    """A registered reader: the opening comment has been read."""
    headers = params.pop("headers", {})
    async with (
        world.http() as http,
        http.stream(
            "GET", f"/v1/sessions/{session_id}/events/stream", params=params, headers=headers
        ) as response,
    ):
        assert response.status_code == 200
        reader = frames(response)
        assert (await anext(reader)).data == ": open"
        yield reader


async def take(reader: AsyncIterator[Frame], count: int) -> list[Frame]:
    found: list[Frame] = []
    with anyio.fail_after(5):
        while len(found) < count:
            frame = await anext(reader)
            if frame.event:
                found.append(frame)
    return found


async def public_bodies(world: World, session_id: str) -> list[Any]:
    rows = await world.services.sessions.read(world.one, session_id, visibility="public")
    return [msgspec.json.decode(row.body) for row in rows]


async def test_sdk_stream_shows_the_turn_as_it_happens(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        with anyio.fail_after(5):
            async with await client.beta.sessions.events.stream(session.id) as stream:
                await client.beta.sessions.events.send(session.id, events=[HELLO])
                await world.consume_all(session.id)
                await world.work(
                    session.id, world.event("agent.message", content=[{"type": "text", "text": "hi"}])
                )
                await world.idle(session.id)
                seen: list[Any] = []
                async for event in stream:
                    seen.append(event)
                    if event.type == "session.status_idle":
                        break
    assert [event.type for event in seen] == [
        "session.status_running",
        "user.message",
        "agent.message",
        "session.status_idle",
    ]
    assert seen[1].processed_at is not None


@pytest.mark.requirement("stream live")
async def test_stream_without_a_place_starts_now(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        async with following(world, session.id) as reader:
            await world.idle(session.id)
            (frame,) = await take(reader, 1)
    assert frame.event == "session.status_idle"


@pytest.mark.requirement("stream registers")
async def test_reader_is_registered_before_the_headers_go_out(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        async with http.stream("GET", f"/v1/sessions/{session.id}/events/stream") as response:
            assert world.services.bus.subscriber_count(session.id) == 1
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["request-id"].startswith("req_")
        with anyio.fail_after(5):
            while world.services.bus.subscriber_count(session.id):
                await anyio.lowlevel.checkpoint()


@pytest.mark.requirement("events queued")
async def test_queued_input_is_echoed_once_and_stamped_input_only_when_consumed(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        async with following(world, session.id) as reader:
            await client.beta.sessions.events.send(session.id, events=[HELLO, OUTCOME])
            await world.consume_all(session.id)
            found = await take(reader, 4)
    assert [(frame.event, frame.id is None) for frame in found] == [
        ("user.message", True),
        ("session.status_running", False),
        ("user.message", False),
        ("user.define_outcome", False),
    ]


async def test_bytes_of_the_stream_are_the_bytes_of_the_log(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        rows = await world.services.sessions.read(world.one, session.id, visibility="public")
        async with http.stream(
            "GET", f"/v1/sessions/{session.id}/events/stream", params={"after": "0"}
        ) as response:
            got = b""
            with anyio.fail_after(5):
                async for chunk in response.aiter_raw():
                    got += chunk
                    if got.count(b"\n\n") == 3:
                        break
        listed = (await http.get(f"/v1/sessions/{session.id}/events")).content
    for row in rows:
        assert b"\ndata: " + row.body + b"\n\n" in got
        assert row.body in listed


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.requirement("stream resumes")
def test_any_place_to_reconnect_gives_the_rest_exactly_once(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        anyio.run(_reconnect_anywhere, data, Path(folder))


async def _reconnect_anywhere(data: st.DataObject, folder: Path) -> None:
    async with open_world(folder) as world, world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        before = data.draw(st.integers(0, 12), label="events before")
        for number in range(before):
            await world.work(session.id, world.event("agent.message", content=[], number=number))
        log = await public_bodies(world, session.id)
        async with following(world, session.id, after="0") as reader:
            replayed = await take(reader, len(log))
        assert [frame.data for frame in replayed] == log

        cut = data.draw(st.integers(0, len(log)), label="seen before the cut")
        how = data.draw(st.sampled_from(["cursor", "event id", "header"]), label="how")
        if cut == 0:
            place: dict[str, Any] = {"after": "0"}
        elif how == "event id":
            place = {"after": log[cut - 1]["id"]}
        elif how == "header":
            # A browser repeats the first URL and says where it is in the header: the header counts.
            place = {"after": "0", "headers": {"last-event-id": replayed[cut - 1].id}}
        else:
            place = {"after": replayed[cut - 1].id}
        after = data.draw(st.integers(0, 6), label="events after")
        is_told = data.draw(st.lists(st.booleans(), min_size=after, max_size=after), label="bus works")
        async with following(world, session.id, **place) as reader:
            for number in range(after):
                world.lose_items = not is_told[number]
                await world.work(session.id, world.event("agent.message", content=[], late=number))
            # The last append is always heard of; what was missed before it must come from the log.
            world.lose_items = False
            await world.idle(session.id)
            rest = await take(reader, len(log) - cut + after + 1)
        everything = await public_bodies(world, session.id)
    assert [frame.data for frame in [*replayed[:cut], *rest]] == everything


async def test_reader_that_lags_gets_everything_from_the_log(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        async with following(world, session.id) as reader:
            for number in range(1_500):
                await world.work(session.id, world.event("agent.message", content=[], number=number))
            found = await take(reader, 1_500)
    assert [frame.data["number"] for frame in found] == list(range(1_500))


@pytest.mark.requirement("stream deltas")
async def test_previews_come_only_to_those_who_asked_and_saw_the_start(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        async with (
            following(world, session.id) as plain,
            following(world, session.id, **{"event_deltas[]": "agent.message"}) as eager,
        ):
            message = world.event("agent.message", content=[{"type": "text", "text": "hi"}])
            world.preview(session.id, "event_delta", event_id="sevt_unknown", delta={})
            world.preview(session.id, "event_start", event={"type": "agent.thinking", "id": "sevt_t"})
            world.preview(session.id, "event_start", event={"type": "agent.message", "id": message.event_id})
            world.preview(session.id, "event_delta", event_id=message.event_id, delta={"index": 0})
            await world.work(session.id, message)
            world.preview(session.id, "event_delta", event_id=message.event_id, delta={"index": 1})
            await world.idle(session.id)
            assert [frame.event for frame in await take(plain, 2)] == [
                "agent.message",
                "session.status_idle",
            ]
            assert [frame.event for frame in await take(eager, 4)] == [
                "event_start",
                "event_delta",
                "agent.message",
                "session.status_idle",
            ]
        with pytest.raises(anthropic.BadRequestError, match="event_deltas"):
            await client.beta.sessions.events.stream(session.id, event_deltas=["user.message"])  # type: ignore[list-item]


@pytest.mark.requirement("stream heartbeat")
async def test_quiet_stream_beats_its_heart(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        async with following(world, session.id) as reader:
            with anyio.fail_after(5):
                await world.clock.wait_for_sleepers(1)
                await world.clock.advance(world.services.settings.heartbeat_seconds)
                assert (await anext(reader)).data == ": heartbeat"


@pytest.mark.parametrize("change", [{"revoked_at_us": 1}, {"expires_at_us": 1}])
async def test_stream_ends_when_its_key_opens_nothing_any_more(world: World, change: dict[str, int]) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        async with following(world, session.id) as reader:
            (key,) = await world.services.catalog.list_keys("wrkspc_one")
            await world.services.catalog.put_key(msgspec.structs.replace(key, **change))
            with anyio.fail_after(5):
                await world.clock.wait_for_sleepers(1)
                await world.clock.advance(world.services.settings.heartbeat_seconds)
                rest = [frame async for frame in reader]
    assert [frame.event for frame in rest] == ["error"]
    assert rest[0].data["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("place", ["cur_nonsense", "sevt_nobody", "-1", "cur_AAAAAAAAAAAAAAAA"])
async def test_unknown_place_is_refused_before_the_stream_begins(world: World, place: str) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        answer = await http.get(f"/v1/sessions/{session.id}/events/stream", params={"after": place})
    assert answer.status_code == 400
    assert "`after`" in answer.json()["error"]["message"]


@pytest.mark.requirement("stream errors")
async def test_failing_store_is_said_on_the_stream_and_the_reader_can_come_again(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client, initial_events=[HELLO])
        await world.consume_all(session.id)
        async with following(world, session.id) as reader:
            await world.services.sessions.close()
            # A bare hint sends the reader to the log, which is closed.
            world.services.bus.publish(LiveItem(stream_id=session.id))
            with anyio.fail_after(5):
                rest = [frame async for frame in reader]
    assert [frame.event for frame in rest] == ["error"]
    assert rest[0].data["error"]["type"] == "api_error"


async def test_head_request_does_not_follow_the_stream(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        session = await new_session(client)
        with anyio.fail_after(5):
            answer = await http.head(f"/v1/sessions/{session.id}/events/stream")
    assert answer.status_code == 200


async def test_cursor_of_another_session_is_refused(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        one = await new_session(client, initial_events=[HELLO])
        two = await new_session(client, initial_events=[HELLO])
        await world.consume_all(one.id)
        async with following(world, one.id, after="0") as reader:
            (frame, *_) = await take(reader, 1)
        assert frame.id is not None
        answer = await http.get(f"/v1/sessions/{two.id}/events/stream", params={"after": frame.id})
    assert answer.status_code == 400
