"""Who needs which blob: everything that is put is put here, and nothing is removed anywhere else.

A blob stays while a stream or resource refers to it (durable, in the catalog), or while somebody who is putting it may
be about to (a reservation, in memory). Two owners may have the same bytes, so the last one to go may meet the next one to
come. The gate is between them: to reserve and to remove exclude each other, and who removes asks again behind it.

A process that dies takes its reservations with it; what it put and did not refer to is a leftover, which `collect` finds.
One process owns the blobs (the lock on the data folder): several would need the gate in the catalog.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog

from remit.errors import BlobMissing, LeaseLost, RemitError, StoreUnavailable
from remit.interfaces import BlobStore, Catalog
from remit.resources.tidying import tidier_of
from remit.values import BlobOwner, BlobReference, Collected, Principal, StoredBlob, Value

REMOVED_AT_ONCE = 100
"""Behind the gate; whoever wants to put waits for so many at most."""
REFERENCES_PAGE = 1_000
OWNERS_PAGE = 500
FORGOTTEN_MAX = 4_096

IsThere = Callable[[BlobOwner], Awaitable[bool]]
"""Whether a stream or resource exists."""

Key = TypeVar("Key")

_log = structlog.get_logger(__name__)


class KeptBlobs:
    """A `BlobStore` and the references to what is in it."""

    def __init__(self, blobs: BlobStore, catalog: Catalog, is_there: IsThere) -> None:
        self._blobs = blobs
        self._catalog = catalog
        self._is_there = is_there
        self._gate = asyncio.Lock()
        self._reserved: Counter[str] = Counter()
        """By digest: how many are putting it now."""
        self._busy: Counter[BlobOwner] = Counter()
        """By owner: how many are putting for it now."""
        self._uncertain: set[BlobOwner] = set()
        """Nobody knows whether they were made."""
        self._forgotten: OrderedDict[BlobOwner, None] = OrderedDict()
        """The last that went; whoever still works for one of them puts its things away a moment later."""

    async def read(self, digest: str) -> bytes:
        return await self._blobs.read(digest)

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        return self._blobs.stream(digest)

    async def has(self, digests: Sequence[str]) -> frozenset[str]:
        return await self._blobs.has(digests)

    @asynccontextmanager
    async def keeping(self, principal: Principal, owner_id: str) -> AsyncGenerator[Keeping]:
        """Put blobs for this stream or resource. Until the end of the block nobody removes them, nor takes the owner for
        dead; after it they stay if `Keeping.commit` was called and the owner exists. A new owner is made within it."""
        keeping = Keeping(self._blobs, self._catalog, self._gate, self._reserved, principal, owner_id)
        owner = BlobOwner(workspace_id=principal.workspace_id, owner_id=owner_id)
        self._busy[owner] += 1
        is_replaced = False
        try:
            yield keeping
        except BaseException as error:
            # A worker that is stopped may have lost its stream to another process, which puts the same bytes and has a
            # gate of its own: what is left over is left to the collection.
            is_replaced = isinstance(error, asyncio.CancelledError | LeaseLost)
            if keeping.committed:
                await self._settle(owner, keeping, error)
            raise
        finally:
            try:
                if owner in self._forgotten and await asyncio.shield(self._drop_if_gone(owner)):
                    keeping.committed.clear()
                    is_replaced = False
            finally:
                _release(self._busy, [owner])
                _release(self._reserved, keeping.reserved)
            if (leftovers := keeping.reserved - keeping.committed) and not is_replaced:
                await self._remove_leftovers(leftovers)

    async def keep(self, principal: Principal, owner_id: str, digests: Sequence[str]) -> None:
        """This stream or resource, which exists, needs blobs that are there. Raises BlobMissing when they are not."""
        async with self.keeping(principal, owner_id) as keeping:
            await keeping.need(digests)
            await keeping.commit()

    async def put(self, principal: Principal, owner_id: str, content: bytes) -> str:
        """One blob for a stream or resource that exists."""
        async with self.keeping(principal, owner_id) as keeping:
            digest = await keeping.put(content)
            await keeping.commit()
        return digest

    async def _settle(self, owner: BlobOwner, keeping: Keeping, error: BaseException) -> None:
        """A new owner that was refused needs nothing. One whose making was cut may yet come to be: it is looked for in
        the next collection but one."""
        if not isinstance(error, RemitError) or isinstance(error, StoreUnavailable):
            self._uncertain.add(owner)
        elif self._busy[owner] == 1 and not await self._is_there(owner):
            await self._catalog.drop_references(tidier_of(owner.workspace_id), owner.owner_id)
            keeping.committed.clear()

    async def _drop_if_gone(self, owner: BlobOwner) -> bool:
        """Who was deleted while its blobs were put has forgotten them already, and nobody else will."""
        if await self._is_there(owner):
            return False
        await self._catalog.drop_references(tidier_of(owner.workspace_id), owner.owner_id)
        return True

    async def forget(self, principal: Principal, owner_id: str) -> None:
        """The owner is gone: remove what only it needed."""
        self._forgotten[BlobOwner(workspace_id=principal.workspace_id, owner_id=owner_id)] = None
        if len(self._forgotten) > FORGOTTEN_MAX:
            self._forgotten.popitem(last=False)
        unneeded = await self._catalog.drop_references(principal, owner_id)
        await self._remove_unneeded(unneeded)

    async def _remove_leftovers(self, digests: Iterable[str]) -> None:
        try:
            await self._remove_unneeded(sorted(digests))
        except StoreUnavailable:
            _log.warning("blobs.leftovers_stay", exc_info=True)  # until the next collection

    async def _remove_unneeded(self, digests: Sequence[str]) -> list[str]:
        removed: list[str] = []
        for start in range(0, len(digests), REMOVED_AT_ONCE):
            # Who is cancelled goes, the removal goes on: the gate must not open before it has ended.
            removed += await asyncio.shield(self._remove_some(digests[start : start + REMOVED_AT_ONCE]))
        return removed

    async def _remove_some(self, digests: Sequence[str]) -> Sequence[str]:
        async with self._gate:
            unneeded = [
                digest for digest in await self._catalog.unreferenced(digests) if digest not in self._reserved
            ]
            await self._blobs.remove(unneeded)
        return unneeded

    # -------------------------------------------------------------------------------- what stands, what is left over

    async def collect(self) -> Sequence[Collected]:
        """See `interfaces.Collector`. What processes that were killed left: references of owners that were never made
        or are gone, then blobs that nobody needs."""
        owners = await self._forget_the_dead()
        count = size_bytes = 0
        async for some in self._blobs.walk():
            sizes = {blob.digest: blob.size_bytes for blob in some}
            removed = await self._remove_unneeded(list(sizes))
            count += len(removed)
            size_bytes += sum(sizes[digest] for digest in removed)
        return (
            Collected(what="needs of what is gone", count=owners, size_bytes=0),
            Collected(what="blobs that nobody needs", count=count, size_bytes=size_bytes),
        )

    async def _forget_the_dead(self) -> int:
        waiting, self._uncertain = self._uncertain, set()
        count = 0
        after: BlobOwner | None = None
        while page := await self._catalog.list_owners(after=after, limit=OWNERS_PAGE):
            for owner in page:
                if owner not in waiting and not await self._is_there(owner):
                    count += await asyncio.shield(self._forget_if_dead(owner))
            after = page[-1]
        return count

    async def _forget_if_dead(self, owner: BlobOwner) -> bool:
        async with self._gate:  # who begins to put for it now refers to nothing before this is over
            if owner in self._busy or await self._is_there(owner):
                return False
            await self._catalog.drop_references(tidier_of(owner.workspace_id), owner.owner_id)
            return True

    async def look(self, *, put_before_us: int) -> BlobsReport:
        """What is there, and of that what was put before then and nobody needs."""
        count = size_bytes = 0
        leftovers: list[StoredBlob] = []
        async for some in self._blobs.walk():
            count += len(some)
            size_bytes += sum(blob.size_bytes for blob in some)
            unneeded = set(await self._catalog.unreferenced([blob.digest for blob in some]))
            leftovers += [
                blob
                for blob in some
                if blob.digest in unneeded
                and blob.digest not in self._reserved
                and blob.put_at_us < put_before_us
            ]
        return BlobsReport(count=count, size_bytes=size_bytes, leftovers=tuple(leftovers))

    async def missing(self, principal: Principal) -> list[BlobReference]:
        """What this workspace's streams and resources need and is not there."""
        found: list[BlobReference] = []
        after: BlobReference | None = None
        while page := await self._catalog.list_references(principal, after=after, limit=REFERENCES_PAGE):
            there = await self._blobs.has([reference.digest for reference in page])
            found += [reference for reference in page if reference.digest not in there]
            after = page[-1]
        return found


class BlobsReport(Value, frozen=True, kw_only=True):
    """How much is stored, and what of it nobody needs."""

    count: int
    size_bytes: int
    leftovers: tuple[StoredBlob, ...]


class Keeping:
    """What one owner is putting; see `KeptBlobs.keeping`."""

    def __init__(
        self,
        blobs: BlobStore,
        catalog: Catalog,
        gate: asyncio.Lock,
        reserved_by_all: Counter[str],
        principal: Principal,
        owner_id: str,
    ) -> None:
        self._blobs = blobs
        self._catalog = catalog
        self._gate = gate
        self._reserved_by_all = reserved_by_all
        self._principal = principal
        self._owner_id = owner_id
        self.reserved: set[str] = set()
        self.committed: set[str] = set()
        self._expected: set[str] = set()

    async def put(self, content: bytes | AsyncIterator[bytes], *, size_bytes_max: int | None = None) -> str:
        """See `BlobStore.put`."""
        return await self._blobs.put(content, size_bytes_max=size_bytes_max, reserve=self._reserve)

    async def put_many(self, contents: Sequence[bytes]) -> Sequence[str]:
        """See `BlobStore.put_many`."""
        return await self._blobs.put_many(contents, reserve=self._reserve)

    async def need(self, digests: Iterable[str]) -> None:
        """The owner needs these too, which are there already; `commit` looks whether they are."""
        digests = set(digests)
        await self._reserve(digests)
        self._expected |= digests

    async def commit(self) -> None:
        """Make durable that the owner needs all this; before anything says so in a log. Raises
        BlobMissing when something that was there is gone; nothing is kept then."""
        if self._expected:
            there = await self._blobs.has(sorted(self._expected))
            if lost := self._expected - there:
                raise BlobMissing(
                    f"{len(lost)} blobs that {self._owner_id!r} needs were removed with their last owner, {min(lost)!r} "
                    "among them. Upload it again."
                )
            self._expected.clear()
        new = self.reserved - self.committed
        if new:
            await self._catalog.reference_blobs(self._principal, self._owner_id, sorted(new))
        self.committed |= new

    async def _reserve(self, digests: Iterable[str]) -> None:
        async with self._gate:
            new = set(digests) - self.reserved
            self._reserved_by_all.update(new)
            self.reserved |= new


def _release(counts: Counter[Key], keys: Iterable[Key]) -> None:
    for key in keys:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]
