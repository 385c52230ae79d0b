"""Sessions that mount memory stores, through the official SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from api.samples import new_session
from api.world import World

pytestmark = pytest.mark.anyio


def mounted(store_id: str, **fields: Any) -> dict[str, Any]:
    """A resource of a session."""
    return {"type": "memory_store", "memory_store_id": store_id, **fields}


@pytest.mark.requirement("memory sessions")
async def test_a_session_shows_its_stores_as_they_were_attached(world: World) -> None:
    async with world.sdk() as client:
        stores = client.beta.memory_stores
        made = [
            await stores.create(name=name, description=about)
            for name, about in (("Style  Guide!", "how we write"), ("style guide", ""), ("Память", ""))
        ]
        file = await client.beta.files.upload(file=("a.txt", b"hello"))
        session = await new_session(
            client,
            resources=[
                {"type": "file", "file_id": file.id},
                mounted(made[0].id, access="read_only", instructions="Read it first."),
                *(mounted(one.id) for one in made[1:]),
            ],
        )
        await stores.update(made[0].id, name="Another", description="")
        listed = [one async for one in client.beta.sessions.resources.list(session.id)]
        again = await client.beta.sessions.retrieve(session.id)
        assert listed == session.resources == again.resources
        shown = [one.to_dict() for one in listed if one.type == "memory_store"]
        assert shown == [
            mounted(
                made[0].id,
                access="read_only",
                instructions="Read it first.",
                name="Style  Guide!",
                description="how we write",
                mount_path="/mnt/memory/style-guide",
            ),
            mounted(
                made[1].id,
                access="read_write",
                instructions=None,
                name="style guide",
                description="",
                mount_path="/mnt/memory/style-guide-2",
            ),
            mounted(
                made[2].id,
                access="read_write",
                instructions=None,
                name="Память",
                description="",
                mount_path="/mnt/memory/memory",
            ),
        ]
        assert [one.type for one in listed] == ["memory_store"] * 3 + ["file"]


@pytest.mark.requirement("memory archived")
async def test_a_store_that_cannot_be_attached_is_refused_by_the_name_of_its_field(world: World) -> None:
    async with world.sdk() as client, world.sdk(key="rk_two") as foreign:
        theirs = await foreign.beta.memory_stores.create(name="theirs")
        archived = await client.beta.memory_stores.create(name="old")
        await client.beta.memory_stores.archive(archived.id)
        ours = [await client.beta.memory_stores.create(name="ours") for _ in range(9)]
        one = mounted(ours[0].id)
        for resources, named in (
            ([mounted(theirs.id)], r"`resources\[0\].memory_store_id`: .*No memory store"),
            ([one, mounted(archived.id)], r"`resources\[1\].memory_store_id`: .*archived"),
            ([one, one], r"`resources\[1\].memory_store_id`: .*twice"),
            ([mounted(store.id) for store in ours], "`resources`: .*at most 8"),
            ([mounted(ours[0].id, access="write")], r"`resources\[0\].access`"),
            ([mounted(ours[0].id, instructions="x" * 4097)], r"`resources\[0\].instructions`"),
        ):
            with pytest.raises(anthropic.BadRequestError, match=named):
                await new_session(client, resources=resources)
        session = await new_session(client, resources=[one])
        with pytest.raises(anthropic.BadRequestError, match=r"`type`: .*created"):
            await client.post(
                f"/v1/sessions/{session.id}/resources", body=mounted(ours[1].id), cast_to=object
            )
        assert (await new_session(client, resources=[mounted(store.id) for store in ours[:8]])).resources


@pytest.mark.requirement("memory filter")
async def test_sessions_are_listed_by_a_store_that_they_mount(world: World) -> None:
    async with world.sdk() as client:
        stores = [await client.beta.memory_stores.create(name="one") for _ in range(3)]
        first = await new_session(client, resources=[mounted(stores[0].id)])
        both = await new_session(client, resources=[mounted(one.id) for one in stores[:2]])
        await new_session(client)

        async def listed(store_id: str) -> list[str]:
            return [one.id async for one in client.beta.sessions.list(memory_store_id=store_id, limit=1)]

        assert await listed(stores[0].id) == [both.id, first.id]
        assert await listed(stores[1].id) == [both.id]
        assert await listed(stores[2].id) == []
