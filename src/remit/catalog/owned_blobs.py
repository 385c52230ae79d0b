"""References to blobs: everything that is put is put here, and nothing is removed anywhere else.

A blob stays while a stream or resource refers to it (durable, in the catalog), and for a day after somebody put it or said
that it is needed (by the blob's own time). So there is nothing between processes but these two, and no lock:

- who needs a blob touches it, then refers to it, within an hour, and only then relies on it;
- who removes a blob takes a day ago as its time, looks then whether anybody refers to it, and removes it only if nobody
  has touched it since that time.

A reference that is missed by the look was made after it, hence its touch less than a day ago: the blob stays. A touch that
comes after the removal finds nothing, so whoever touches puts the bytes again, or is told that they are gone.

References come before their owner, and a process may die in between: those of an owner that is not there are dropped when
they are a day old. An owner that goes drops its own at once; the bytes that nobody has touched for a day go with it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from remit.catalog.maintenance import maintenance_principal
from remit.clock import Clock
from remit.errors import BlobMissing
from remit.interfaces import BlobStore, Catalog
from remit.values import BlobOwner, BlobReference, Collected, Principal, StoredBlob, Value

KEPT_SECONDS = 86_400.0
"""So long a blob stays that nobody refers to, and a reference of nobody."""
TOUCH_SECONDS = 3_600.0
"""A touch that is older when its reference is made is repeated."""
REMOVED_AT_ONCE = 100
REFERENCES_PAGE = 1_000
OWNERS_PAGE = 500

IsThere = Callable[[BlobOwner], Awaitable[bool]]
"""Whether a stream or resource exists."""


class OwnedBlobs:
    """A `BlobStore` and the references to what is in it."""

    def __init__(self, blobs: BlobStore, catalog: Catalog, is_there: IsThere, clock: Clock) -> None:
        self._blobs = blobs
        self._catalog = catalog
        self._is_there = is_there
        self._clock = clock

    async def read(self, digest: str) -> bytes:
        return await self._blobs.read(digest)

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        return self._blobs.stream(digest)

    async def has(self, digests: Sequence[str]) -> frozenset[str]:
        return await self._blobs.has(digests)

    @asynccontextmanager
    async def puts(self, principal: Principal, owner_id: str) -> AsyncGenerator[BlobPuts]:
        """Put blobs for this stream or resource. They stay if `BlobPuts.commit` was called and the owner exists within a
        day; a new owner is made within the block."""
        yield BlobPuts(self._blobs, self._catalog, self._clock, principal, owner_id)

    async def keep(self, principal: Principal, owner_id: str, digests: Sequence[str]) -> None:
        """Note that an existing stream or resource needs blobs. Raises BlobMissing when they are not
        there."""
        async with self.puts(principal, owner_id) as puts:
            await puts.need(digests)
            await puts.commit()

    async def put(self, principal: Principal, owner_id: str, content: bytes) -> str:
        """Put one blob for a stream or resource that exists."""
        async with self.puts(principal, owner_id) as puts:
            digest = await puts.put(content)
            await puts.commit()
        return digest

    async def forget(self, principal: Principal, owner_id: str, *, said_before_us: int | None = None) -> None:
        """Forget an owner that is gone: drop its references, or those said before then (one of the same id
        may be made anew), and remove what only it needed, as far as nobody has touched it for a day."""
        untouched_since_us = self._kept_since_us()
        unneeded = await self._catalog.drop_references(principal, owner_id, said_before_us=said_before_us)
        await self._remove_unneeded(unneeded, untouched_since_us)

    async def _remove_unneeded(self, digests: Sequence[str], untouched_since_us: int) -> list[str]:
        """The time is of before the look at the references; see above."""
        removed: list[str] = []
        for start in range(0, len(digests), REMOVED_AT_ONCE):
            some = await self._catalog.unreferenced(digests[start : start + REMOVED_AT_ONCE])
            removed += await self._blobs.remove(some, untouched_since_us=untouched_since_us)
        return removed

    def _kept_since_us(self) -> int:
        return self._clock.now_us() - int(KEPT_SECONDS * 1_000_000)

    # -------------------------------------------------------------------------------- what stands, what is left over

    async def collect(self) -> Sequence[Collected]:
        """See `interfaces.Collector`. References of owners that were never made or are gone, then blobs that nobody
        needs; of either what is a day old."""
        owners = await self._forget_the_dead()
        untouched_since_us = self._kept_since_us()
        count = size_bytes = 0
        async for some in self._blobs.walk():
            sizes = {blob.digest: blob.size_bytes for blob in some if blob.touched_at_us < untouched_since_us}
            removed = await self._remove_unneeded(list(sizes), untouched_since_us)
            count += len(removed)
            size_bytes += sum(sizes[digest] for digest in removed)
        return (
            Collected(what="needs of what is gone", count=owners, size_bytes=0),
            Collected(what="blobs that nobody needs", count=count, size_bytes=size_bytes),
        )

    async def _forget_the_dead(self) -> int:
        count = 0
        silent_since_us = self._kept_since_us()
        after: BlobOwner | None = None
        while page := await self._catalog.list_owners(
            after=after, limit=OWNERS_PAGE, silent_since_us=silent_since_us
        ):
            for owner in page:
                if not await self._is_there(owner):
                    # What it says from now on is another one's of the same id.
                    await self._catalog.drop_references(
                        maintenance_principal(owner.workspace_id),
                        owner.owner_id,
                        said_before_us=silent_since_us,
                    )
                    count += 1
            after = page[-1]
        return count

    async def look(self, *, touched_before_us: int) -> BlobsReport:
        """Report what is there, and of that what was touched before then and nobody needs."""
        count = size_bytes = 0
        leftovers: list[StoredBlob] = []
        async for some in self._blobs.walk():
            count += len(some)
            size_bytes += sum(blob.size_bytes for blob in some)
            old = [blob for blob in some if blob.touched_at_us < touched_before_us]
            unneeded = set(await self._catalog.unreferenced([blob.digest for blob in old]))
            leftovers += [blob for blob in old if blob.digest in unneeded]
        return BlobsReport(count=count, size_bytes=size_bytes, leftovers=tuple(leftovers))

    async def missing(self, principal: Principal) -> list[BlobReference]:
        """List the blobs that this workspace's streams and resources need and that are not there."""
        found: list[BlobReference] = []
        after: BlobReference | None = None
        while page := await self._catalog.list_references(principal, after=after, limit=REFERENCES_PAGE):
            there = await self._blobs.has([reference.digest for reference in page])
            found += [reference for reference in page if reference.digest not in there]
            after = page[-1]
        return found


class BlobsReport(Value, frozen=True, kw_only=True):
    """The number and size of stored blobs, and those that nobody needs."""

    count: int
    size_bytes: int
    leftovers: tuple[StoredBlob, ...]


class BlobPuts:
    """The blobs that one owner is putting; see `OwnedBlobs.keeping`."""

    def __init__(
        self, blobs: BlobStore, catalog: Catalog, clock: Clock, principal: Principal, owner_id: str
    ) -> None:
        self._blobs = blobs
        self._catalog = catalog
        self._clock = clock
        self._principal = principal
        self._owner_id = owner_id
        self._touched: dict[str, float] = {}
        """Digests that the next commit refers to, with when they were touched."""
        self._missing: set[str] = set()

    async def put(self, content: bytes | AsyncIterator[bytes], *, size_bytes_max: int | None = None) -> str:
        """See `BlobStore.put`."""
        began = self._clock.monotonic()
        digest = await self._blobs.put(content, size_bytes_max=size_bytes_max)
        self._note([digest], began)
        return digest

    async def put_many(self, contents: Sequence[bytes]) -> Sequence[str]:
        """See `BlobStore.put_many`."""
        began = self._clock.monotonic()
        digests = await self._blobs.put_many(contents)
        self._note(digests, began)
        return digests

    async def need(self, digests: Iterable[str]) -> None:
        """Note that the owner needs these too, which are there already; `commit` says if they are not."""
        await self._touch(list(dict.fromkeys(digests)))

    async def commit(self) -> None:
        """Make durable that the owner needs all this; before anything says so in a log. Raises
        BlobMissing when something that was there is gone; nothing is kept then."""
        old = self._clock.monotonic() - TOUCH_SECONDS
        await self._touch([digest for digest, at in self._touched.items() if at < old])
        if self._missing:
            raise BlobMissing(
                f"{len(self._missing)} blobs that {self._owner_id!r} needs were removed with their last owner, "
                f"{min(self._missing)!r} among them. Upload it again."
            )
        if self._touched:
            await self._catalog.reference_blobs(
                self._principal, self._owner_id, sorted(self._touched), at_us=self._clock.now_us()
            )
        self._touched.clear()

    def _note(self, digests: Iterable[str], at: float) -> None:
        """The time is of before the call: how long its answer took to be heard nobody knows."""
        self._touched.update(dict.fromkeys(digests, at))
        self._missing.difference_update(digests)

    async def _touch(self, digests: Sequence[str]) -> None:
        if digests:
            began = self._clock.monotonic()
            there = await self._blobs.touch(digests)
            self._missing |= set(digests) - there
            self._note(there, began)
