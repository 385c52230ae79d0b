"""A memory store that is deleted while somebody writes to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from remit.app.kinds import KINDS
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.memory_stores import MEMORY, VERSION, MemoryChange, MemoryStores
from remit.catalog.owned_blobs import OwnedBlobs
from remit.errors import NotFound
from remit.ids import Ids
from remit.schema.memory_stores import MemoryStoreCreate
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.memory_blobs import MemoryBlobStore
from remit.values import Principal, ResourceFilter

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")


class OvertakenBlobs(MemoryBlobStore):
    """Before a blob is put, what somebody else does comes in between, once."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def put(self, content: bytes | AsyncIterator[bytes], *, size_bytes_max: int | None = None) -> str:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().put(content, size_bytes_max=size_bytes_max)


async def left_of(catalog: MemoryCatalog) -> Sequence[int]:
    return [await catalog.count(ONE, ResourceFilter(kind=kind.name)) for kind in (MEMORY, VERSION)]


async def test_a_memory_that_is_written_while_its_store_is_deleted_does_not_stay_behind() -> None:
    clock = FakeClock()
    blobs, catalog = OvertakenBlobs(clock), MemoryCatalog(clock)
    owners = BlobOwners(MemorySessionStore(clock), catalog, KINDS)
    stores = MemoryStores(catalog, OwnedBlobs(blobs, catalog, owners.is_there, clock), clock, Ids(clock))

    async def write_to_one_that_goes(write: Callable[[str, str], Awaitable[object]]) -> None:
        store = await stores.create(ONE, MemoryStoreCreate(name="notes"))
        memory = await stores.add(ONE, store.id, path="/old.md", content="old")
        blobs.meanwhile = lambda: stores.delete(ONE, store.id)
        with pytest.raises(NotFound):
            await write(store.id, memory.id)
        assert await left_of(catalog) == [0, 0]

    await write_to_one_that_goes(lambda store_id, _: stores.add(ONE, store_id, path="/new.md", content="new"))
    await write_to_one_that_goes(
        lambda store_id, memory_id: stores.change(ONE, store_id, memory_id, MemoryChange(content="new"))
    )
