"""Pages: whatever their size and direction, they give the same sequence once."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.samples import HELLO, new_session
from api.world import World, open_world

pytestmark = pytest.mark.anyio


async def ids_of_all_pages(world: World, path: str, **params: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    async with world.http() as http:
        page: str | None = None
        while True:
            answer = await http.get(path, params={**params, **({"page": page} if page else {})})
            assert answer.status_code == 200, answer.text
            body = answer.json()
            pages.append([item["id"] for item in body["data"]])
            page = body["next_page"]
            if page is None:
                return pages


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 9), limit=st.integers(1, 5), order=st.sampled_from(["asc", "desc"]))
@pytest.mark.requirement("pages")
def test_session_pages_of_any_size_give_each_session_once_in_order(
    count: int, limit: int, order: str
) -> None:
    async def run(folder: Path) -> None:
        async with open_world(folder) as world:
            made: list[str] = []
            async with world.sdk() as client:
                for number in range(count):
                    made.append((await new_session(client)).id)
                    if number % 3:
                        world.clock.jump(1)
            pages = await ids_of_all_pages(world, "/v1/sessions", limit=limit, order=order)
            expected = made if order == "asc" else made[::-1]
            assert [id for page in pages for id in page] == expected
            assert all(len(page) == limit for page in pages[:-1])

    with TemporaryDirectory() as folder:
        anyio.run(run, Path(folder))


@settings(max_examples=25, deadline=None)
@given(
    consumed=st.integers(0, 4),
    answers=st.integers(0, 6),
    waiting=st.integers(0, 5),
    limit=st.integers(1, 7),
    order=st.sampled_from(["asc", "desc"]),
)
@pytest.mark.requirement("pages")
def test_event_pages_of_any_size_give_each_event_once_in_order(
    consumed: int, answers: int, waiting: int, limit: int, order: str
) -> None:
    async def run(folder: Path) -> None:
        async with open_world(folder) as world, world.sdk() as client:
            session = await new_session(client)
            for _ in range(consumed):
                await client.beta.sessions.events.send(session.id, events=[HELLO])
            await world.consume_all(session.id)
            for _ in range(answers):
                await world.work(session.id, world.event("agent.message", content=[]))
            for _ in range(waiting):
                await client.beta.sessions.events.send(session.id, events=[HELLO])
        path = f"/v1/sessions/{session.id}/events"
        (whole,) = await ids_of_all_pages(world, path, order="asc")
        assert len(whole) == 1 + consumed + answers + waiting
        pages = await ids_of_all_pages(world, path, limit=limit, order=order)
        assert [id for page in pages for id in page] == (whole if order == "asc" else whole[::-1])
        assert all(len(page) == limit for page in pages[:-1])

    with TemporaryDirectory() as folder:
        anyio.run(run, Path(folder))


@pytest.mark.requirement("pages both ways")
async def test_sessions_can_be_paged_forth_and_back(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        for _ in range(5):
            await new_session(client)

        async def get(page: str | None = None) -> Any:
            params = {"limit": "2", **({"page": page} if page else {})}
            return (await http.get("/v1/sessions", params=params)).json()

        first = await get()
        second = await get(first["next_page"])
        third = await get(second["next_page"])
        back = await get(third["prev_page"])
        start = await get(back["prev_page"])
    assert first["prev_page"] is None
    assert third["next_page"] is None
    assert back["data"] == second["data"]
    assert start["data"] == first["data"]
    assert start["prev_page"] is None
    assert start["next_page"] == first["next_page"]


@pytest.mark.requirement("pages cursors")
async def test_cursor_is_refused_where_it_does_not_belong(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        for _ in range(3):
            session = await new_session(client)
            world.clock.jump(60)
        page = (await http.get("/v1/sessions", params={"limit": "1"})).json()["next_page"]
        agents = (await http.get("/v1/agents", params={"limit": "1"})).json()["next_page"]
        for path, params in (
            ("/v1/sessions", {"page": page, "order": "asc"}),
            ("/v1/sessions", {"page": agents}),
            ("/v1/agents", {"page": page}),
            (f"/v1/sessions/{session.id}/events", {"page": page}),
            ("/v1/sessions", {"page": page, "created_at[lt]": "2020-01-01T00:00:00Z"}),
        ):
            answer = await http.get(path, params=params)
            assert answer.status_code == 400, path
            assert "`page`" in answer.json()["error"]["message"]


async def test_versions_of_an_agent_are_paged_newest_first(world: World) -> None:
    async with world.sdk() as client:
        agent = await client.beta.agents.create(name="0", model="m")
        for number in range(1, 5):
            await client.beta.agents.update(agent.id, name=str(number))
        found = [version.name async for version in client.beta.agents.versions.list(agent.id, limit=2)]
    assert found == ["4", "3", "2", "1", "0"]


@pytest.mark.requirement("transport queries")
async def test_times_bound_the_list_of_sessions(world: World) -> None:
    async with world.sdk() as client:
        made: list[Any] = []
        for _ in range(4):
            made.append(await new_session(client))
            world.clock.jump(1)

        async def ids(**bounds: Any) -> list[str]:
            return [found.id async for found in client.beta.sessions.list(order="asc", **bounds)]

        at = [session.created_at for session in made]
        all_ids = [session.id for session in made]
        assert await ids(created_at_gte=at[1]) == all_ids[1:]
        assert await ids(created_at_gt=at[1]) == all_ids[2:]
        assert await ids(created_at_lte=at[1]) == all_ids[:2]
        assert await ids(created_at_lt=at[1], created_at_gt=at[0]) == []
        assert await ids(deployment_id="depl_1") == []
