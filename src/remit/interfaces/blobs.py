"""Bytes by their hash."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from remit.values import Collected, StoredBlob


class BlobReader(Protocol):
    """Stored blobs, by sha256 (lower-case hex): immutable, shared by all workspaces (who may read is the
    catalog's references)."""

    async def read(self, digest: str) -> bytes:
        """The whole blob. Raises BlobMissing."""
        ...

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The blob in pieces. Raises BlobMissing at the first."""
        ...

    async def has(self, digests: Sequence[str]) -> frozenset[str]:
        """Return those of the digests whose blobs are there."""
        ...


class BlobStore(BlobReader, Protocol):
    """The bytes themselves; several processes may share them. Durable when `put` returns. Only `catalog.owned_blobs`
    puts and removes: it knows who needs what, and that nothing which was touched lately is removed."""

    async def put(self, content: bytes | AsyncIterator[bytes], *, size_bytes_max: int | None = None) -> str:
        """Store and return the digest; what is there already is touched. Raises TooLarge (nothing kept),
        StoreUnavailable."""
        ...

    async def put_many(self, contents: Sequence[bytes]) -> Sequence[str]:
        """Store all with one durability barrier; the digests in the same order. For many small files: batches of some
        ten megabytes. Raises StoreUnavailable (some may have been kept)."""
        ...

    async def touch(self, digests: Sequence[str]) -> frozenset[str]:
        """Say that these are needed now, as if they were put; those that are there."""
        ...

    async def remove(self, digests: Sequence[str], *, untouched_since_us: int) -> Sequence[str]:
        """Forget those that nobody put or touched since then; gives them. Of a touch at the same moment one comes first:
        either it finds the blob gone, or the blob stays. Missing ones are no error."""
        ...

    def walk(self) -> AsyncIterator[Sequence[StoredBlob]]:
        """Yield, in pieces, all blobs from before the first piece; what comes or goes meanwhile may be
        missing."""
        ...


@runtime_checkable
class Collector(Protocol):
    """Knows one sort of things that may be left over."""

    async def collect(self) -> Sequence[Collected]:
        """Remove what nobody needs or uses, whoever works meanwhile; what was removed. Safe to cut at any await.
        Raises StoreUnavailable."""
        ...
