"""Memory stores, memories and their versions through the official SDK."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest

from api.world import World
from remit.schema.memory_stores import CONTENT_BYTES_MAX, MEMORIES_MAX
from remit.values import Resource, ResourceFilter

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def a_store(world: World) -> AsyncIterator[tuple[Any, str]]:  # Any: the SDK's resource
    async with world.sdk() as client:
        stores = client.beta.memory_stores
        store = await stores.create(
            name="Style Guide (2)", description="how we write", metadata={"for": "us"}
        )
        yield stores, store.id


async def test_a_store_is_created_changed_archived_listed_and_deleted(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        other = await stores.create(name="other")
        assert (await stores.retrieve(other.id)).description == ""
        changed = await stores.update(store_id, description="", metadata={"for": None, "by": "me"})
        assert (changed.name, changed.description, changed.metadata) == ("Style Guide (2)", "", {"by": "me"})
        assert [one.id async for one in stores.list()] == [other.id, store_id]
        archived = await stores.archive(other.id)
        assert await stores.archive(other.id) == archived
        assert archived.archived_at is not None
        assert [one.id async for one in stores.list()] == [store_id]
        assert [one.id async for one in stores.list(include_archived=True, limit=1)] == [other.id, store_id]
        assert (await stores.delete(other.id)).type == "memory_store_deleted"
        with pytest.raises(anthropic.NotFoundError):
            await stores.retrieve(other.id)


@pytest.mark.requirement("memory versions")
async def test_a_memory_keeps_its_id_over_changes_and_each_is_a_version(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        memories, versions = stores.memories, stores.memory_versions
        made = await memories.create(store_id, path="/tone.md", content="Plain wörds.")
        assert made.content is None
        assert made.content_sha256 == hashlib.sha256("Plain wörds.".encode()).hexdigest()
        assert made.content_size_bytes == 13
        assert (await memories.retrieve(made.id, memory_store_id=store_id)).content == "Plain wörds."
        renamed = await memories.update(made.id, memory_store_id=store_id, path="/voice/tone.md", view="full")
        assert (renamed.id, renamed.content) == (made.id, "Plain wörds.")
        assert await memories.update(made.id, memory_store_id=store_id, path="/voice/tone.md") == (
            await memories.retrieve(made.id, memory_store_id=store_id, view="basic")
        )
        await memories.update(made.id, memory_store_id=store_id, content="Short words.")
        await memories.delete(made.id, memory_store_id=store_id)
        with pytest.raises(anthropic.NotFoundError):
            await memories.retrieve(made.id, memory_store_id=store_id)
        found = [one async for one in versions.list(store_id, memory_id=made.id)]
        assert [(one.operation, one.path) for one in found] == [
            ("deleted", "/voice/tone.md"),
            ("modified", "/voice/tone.md"),
            ("modified", "/voice/tone.md"),
            ("created", "/tone.md"),
        ]
        assert {one.created_by.type for one in found if one.created_by} == {"api_actor"}
        full = [one.content async for one in versions.list(store_id, view="full")]
        assert full == [None, "Short words.", "Plain wörds.", "Plain wörds."]
        only = [one.id async for one in versions.list(store_id, operation="created")]
        assert only == [found[3].id]
        assert [one async for one in versions.list(store_id, session_id="sesn_none")] == []
        await memories.create(store_id, path="/voice/tone.md", content="")


@pytest.mark.requirement("memory preconditions")
@pytest.mark.requirement("memory paths")
async def test_paths_are_taken_once_and_preconditions_hold(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        memories = stores.memories
        one = await memories.create(store_id, path="/a", content="1")
        two = await memories.create(store_id, path="/b", content="2")
        for taken in (
            memories.create(store_id, path="/a", content="x"),
            memories.update(two.id, memory_store_id=store_id, path="/a"),
        ):
            with pytest.raises(anthropic.ConflictError) as refused:
                await taken
            error = refused.value.body["error"]
            assert error["type"] == "memory_path_conflict_error"
            assert error["details"]["conflicting_memory_id"] == one.id
        stale = {"type": "content_sha256", "content_sha256": two.content_sha256}
        for refusing in (
            memories.update(one.id, memory_store_id=store_id, content="x", precondition=stale),
            memories.update(one.id, memory_store_id=store_id, path="/c", precondition=stale),
            memories.delete(one.id, memory_store_id=store_id, expected_content_sha256=two.content_sha256),
        ):
            with pytest.raises(anthropic.ConflictError) as refused:
                await refusing
            assert refused.value.body["error"]["type"] == "memory_precondition_failed_error"
        good = {"type": "content_sha256", "content_sha256": one.content_sha256}
        moved = await memories.update(one.id, memory_store_id=store_id, path="/c", precondition=good)
        assert moved.path == "/c"
        await memories.create(store_id, path="/a", content="free again")


@pytest.mark.requirement("memory lists")
async def test_lists_go_by_path_below_a_prefix_and_group_what_is_deeper(world: World) -> None:
    paths = ["/a", "/n/1", "/n/2", "/n/deep/x", "/n/deep/y", "/n-archive/z"]
    async with a_store(world) as (stores, store_id):
        memories = stores.memories
        for path in reversed(paths):
            await memories.create(store_id, path=path, content=path)
        for limit in (1, 2, 100):
            assert [m.path async for m in memories.list(store_id, limit=limit)] == sorted(paths)
            shown = [
                (m.type, m.path)
                async for m in memories.list(store_id, limit=limit, path_prefix="/n/", depth=1)
            ]
            assert shown == [("memory", "/n/1"), ("memory", "/n/2"), ("memory_prefix", "/n/deep/")]
        top = [m.path async for m in memories.list(store_id, depth=1)]
        assert top == ["/a", "/n-archive/", "/n/"]
        full = [m.content async for m in memories.list(store_id, path_prefix="/n/deep/", view="full")]
        assert full == ["/n/deep/x", "/n/deep/y"]
        page = await memories.list(store_id, limit=1)
        with pytest.raises(anthropic.BadRequestError, match="another list"):
            await memories.list(store_id, limit=1, path_prefix="/n/", page=page.next_page)


@pytest.mark.parametrize(
    "path",
    ["a", "/", "//a", "/a/", "/a/../b", "/.", "/a\n", "/e\u0301", "/\u2028", "/" + "x" * 1024, "/a" * 21],
)
async def test_a_path_that_cannot_be_one_is_refused(world: World, path: str) -> None:
    async with a_store(world) as (stores, store_id):
        with pytest.raises(anthropic.BadRequestError, match="`path`"):
            await stores.memories.create(store_id, path=path, content="x")


@pytest.mark.requirement("memory limits")
async def test_a_content_of_the_largest_size_is_taken_and_one_more_byte_is_not(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        made = await stores.memories.create(store_id, path="/a", content="ä" * (CONTENT_BYTES_MAX // 2))
        assert made.content_size_bytes == CONTENT_BYTES_MAX
        with pytest.raises(anthropic.BadRequestError, match="`content`"):
            await stores.memories.update(
                made.id, memory_store_id=store_id, content="x" * (CONTENT_BYTES_MAX + 1)
            )


@pytest.mark.requirement("memory versions")
async def test_a_redacted_version_loses_its_content_and_the_present_one_cannot(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        memories, versions = stores.memories, stores.memory_versions
        made = await memories.create(store_id, path="/secret", content="a password")
        with pytest.raises(anthropic.BadRequestError, match="present content"):
            await versions.redact(made.memory_version_id, memory_store_id=store_id)
        await memories.update(made.id, memory_store_id=store_id, content="none")
        redacted = await versions.redact(made.memory_version_id, memory_store_id=store_id)
        assert (redacted.path, redacted.content_sha256, redacted.content_size_bytes) == (None, None, None)
        assert redacted.redacted_at is not None
        assert redacted.redacted_by is not None
        again = await versions.redact(made.memory_version_id, memory_store_id=store_id)
        shown = await versions.retrieve(made.memory_version_id, memory_store_id=store_id)
        assert again == shown == redacted
        principal, digest = world.one, hashlib.sha256(b"a password").hexdigest()
        assert not await world.services.catalog.has_reference(principal, digest)


@pytest.mark.requirement("memory archived")
async def test_an_archived_store_is_read_and_emptied_but_takes_nothing(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        made = await stores.memories.create(store_id, path="/a", content="1")
        await stores.archive(store_id)
        for refusing in (
            stores.memories.create(store_id, path="/b", content="2"),
            stores.memories.update(made.id, memory_store_id=store_id, content="2"),
            stores.update(store_id, name="new"),
        ):
            with pytest.raises(anthropic.BadRequestError, match="archived"):
                await refusing
        assert (await stores.memories.retrieve(made.id, memory_store_id=store_id)).content == "1"
        await stores.memories.delete(made.id, memory_store_id=store_id)
        assert [m async for m in stores.memories.list(store_id)] == []


async def test_nothing_of_a_store_is_seen_from_another_one_or_another_workspace(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        other = await stores.create(name="other")
        made = await stores.memories.create(store_id, path="/a", content="1")
        for asking in (
            stores.memories.retrieve(made.id, memory_store_id=other.id),
            stores.memory_versions.retrieve(made.memory_version_id, memory_store_id=other.id),
        ):
            with pytest.raises(anthropic.NotFoundError):
                await asking
        await stores.memories.create(other.id, path="/a", content="1")
        await stores.delete(store_id)
        with pytest.raises(anthropic.NotFoundError):
            await stores.memories.retrieve(made.id, memory_store_id=store_id)
        assert [m.path async for m in stores.memories.list(other.id)] == ["/a"]


@pytest.mark.requirement("memory betas")
async def test_the_two_betas_do_not_go_together(world: World) -> None:
    both = {"anthropic-beta": "managed-agents-2026-04-01, agent-memory-2026-07-22"}
    async with a_store(world) as (stores, store_id):
        for calling in (stores.list(extra_headers=both), stores.memories.list(store_id, extra_headers=both)):
            with pytest.raises(anthropic.BadRequestError, match="`anthropic-beta`"):
                await calling
        alone = {"anthropic-beta": "managed-agents-2026-04-01"}
        assert [one.id async for one in stores.list(extra_headers=alone)] == [store_id]


async def test_a_store_that_is_nearly_full_takes_one_of_two_who_come_at_once(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        catalog = world.services.catalog
        for number in range(MEMORIES_MAX - 1):
            row = Resource(
                workspace_id=world.one.workspace_id,
                kind="memory",
                id=f"mem_{number}",
                version=1,
                name=None,
                body=b"{}",
                created_at_us=1,
                updated_at_us=1,
                parent_id=store_id,
            )
            await catalog.create(world.one, row)
        answers = await asyncio.gather(
            *(stores.memories.create(store_id, path=f"/{number}", content="") for number in range(2)),
            return_exceptions=True,
        )
        (refused,) = [one for one in answers if isinstance(one, anthropic.BadRequestError)]
        assert "has 2000 memories, which is the most" in refused.message
        filter = ResourceFilter(kind="memory", parent_id=store_id)
        assert await catalog.count(world.one, filter) == MEMORIES_MAX


async def test_of_many_who_change_one_memory_at_once_each_is_heard(world: World) -> None:
    async with a_store(world) as (stores, store_id):
        made = await stores.memories.create(store_id, path="/a", content="0")
        await asyncio.gather(
            *(
                stores.memories.update(made.id, memory_store_id=store_id, content=f"{number}")
                for number in range(1, 13)
            )
        )
        found = [one.content async for one in stores.memory_versions.list(store_id, view="full")]
        assert sorted(found, key=int) == [f"{number}" for number in range(13)]
