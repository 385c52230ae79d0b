"""Logs with large events: pages, replays and folds take them in pieces that fit into memory."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from api.samples import new_session
from api.world import World
from remit.server.streams.event_list import PAGE_BYTES_MAX

pytestmark = pytest.mark.anyio
EVENTS = 20
EVENT_BYTES = PAGE_BYTES_MAX // 8 + 1


async def large_session(world: World) -> str:
    async with world.sdk() as client:
        session = await new_session(client)
    for number in range(EVENTS):
        text = str(number) * (EVENT_BYTES // len(str(number)))
        await world.work(session.id, world.event("agent.message", content=[{"type": "text", "text": text}]))
    return session.id


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_ends_with_the_event_that_fills_it_and_the_next_goes_on(
    world: World, order: str
) -> None:
    session_id = await large_session(world)
    seen: list[str] = []
    sizes: list[int] = []
    page = ""
    async with world.http() as client:
        while True:
            answer = await client.get(
                f"/v1/sessions/{session_id}/events?limit=1000&types[]=agent.message&order={order}{page}"
            )
            found: dict[str, Any] = answer.json()
            seen += [event["content"][0]["text"][:2] for event in found["data"]]
            sizes.append(len(answer.content))
            if found["next_page"] is None:
                break
            page = f"&page={found['next_page']}"
    expected = [(str(number) * 2)[:2] for number in range(EVENTS)]
    assert seen == (expected if order == "asc" else expected[::-1])
    assert max(sizes) < PAGE_BYTES_MAX + 2 * EVENT_BYTES
    assert len(sizes) == 3


async def test_the_official_client_reads_all_pages_by_itself(world: World) -> None:
    session_id = await large_session(world)
    async with world.sdk() as client:
        types = [event.type async for event in client.beta.sessions.events.list(session_id)]
    assert types.count("agent.message") == EVENTS


async def test_a_reader_that_comes_back_gets_all_of_them_once(world: World) -> None:
    session_id = await large_session(world)
    ids: list[str] = []
    with anyio.fail_after(20):
        async with (
            world.http() as client,
            client.stream("GET", f"/v1/sessions/{session_id}/events/stream?after=") as empty,
        ):
            assert empty.status_code == 400
        first = (await world.services.sessions.read(world.one, session_id, limit=1))[0]
        assert first.seq == 1
        async with world.http() as client:
            listed = await client.get(f"/v1/sessions/{session_id}/events?limit=1")
            after = listed.json()["data"][0]["id"]
            async with client.stream(
                "GET", f"/v1/sessions/{session_id}/events/stream?after={after}"
            ) as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("id: "):
                        ids.append(line)
                    if len(ids) == EVENTS - 1:
                        break
    assert len(set(ids)) == EVENTS - 1
