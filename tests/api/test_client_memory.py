"""Memory stores through our own client, awaited and not."""

from __future__ import annotations

import pytest
from anyio import to_thread

from remit import Client
from remit.client.errors import NotFoundError
from remit.testing.platform import ONE, platform

pytestmark = pytest.mark.anyio


async def test_memories_are_kept_changed_and_taken_out() -> None:
    async with platform(is_at_work=False) as here, here.client() as client:
        stores = client.memory_stores
        store = await stores.create(name="House rules")
        kept = await stores.add(store["id"], path="/tone.md", content="Plain words.")
        changed = await stores.change(store["id"], kept["id"], content="Plainer words.")
        assert (await stores.memory(store["id"], kept["id"], view="full"))["content"] == "Plainer words."
        assert [one["path"] async for one in stores.memories(store["id"])] == ["/tone.md"]
        versions = [one async for one in stores.versions(store["id"], memory_id=kept["id"])]
        assert [one["id"] for one in versions] == [changed["memory_version_id"], kept["memory_version_id"]]
        redacted = await stores.redact(store["id"], kept["memory_version_id"])
        assert redacted["redacted_at"] is not None
        assert (await stores.remove(store["id"], kept["id"]))["type"] == "memory_deleted"
        assert (await stores.update(store["id"], name="Rules"))["name"] == "Rules"
        assert (await stores.delete(store["id"]))["id"] == store["id"]
        with pytest.raises(NotFoundError):
            await stores.retrieve(store["id"])


async def test_programs_without_a_loop_have_the_same_calls() -> None:
    async with platform(size="http", is_at_work=False) as here:

        def program() -> list[str]:
            with Client(base_url=here.url, api_key=ONE.secret) as client:
                store = client.memory_stores.create(name="Notes")
                client.memory_stores.add(store["id"], path="/a.md", content="one")
                return [one["path"] for one in client.memory_stores.memories(store["id"])]

        assert await to_thread.run_sync(program) == ["/a.md"]
