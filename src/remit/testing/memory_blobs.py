"""Blobs in memory: for tests in simulated time, where no thread should take part."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from remit.clock import Clock, SystemClock
from remit.errors import BlobMissing, TooLarge
from remit.values import StoredBlob

_PIECE_BYTES = 1 << 20


class MemoryBlobStore:
    """`BlobStore` in memory; whoever keeps this object keeps the blobs."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._blobs: dict[str, bytes] = {}
        self._touched: dict[str, int] = {}

    async def put(
        self,
        content: bytes | AsyncIterator[bytes],
        *,
        size_bytes_max: int | None = None,
    ) -> str:
        if isinstance(content, bytes):
            pieces = [content]
            _require_size(len(content), size_bytes_max)
        else:
            pieces = list[bytes]()
            async for piece in content:
                pieces.append(piece)
                _require_size(sum(map(len, pieces)), size_bytes_max)
        return (await self.put_many([b"".join(pieces)]))[0]

    async def put_many(self, contents: Sequence[bytes]) -> Sequence[str]:
        digests = [hashlib.sha256(content).hexdigest() for content in contents]
        self._blobs.update(zip(digests, contents, strict=True))
        await self.touch(digests)
        return digests

    async def touch(self, digests: Sequence[str]) -> frozenset[str]:
        there = frozenset(digest for digest in digests if digest in self._blobs)
        self._touched.update(dict.fromkeys(there, self._clock.now_us()))
        return there

    async def read(self, digest: str) -> bytes:
        content = self._blobs.get(digest)
        if content is None:
            raise BlobMissing(f"There is no blob {digest!r}.")
        return content

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        content = await self.read(digest)
        for start in range(0, len(content), _PIECE_BYTES):
            yield content[start : start + _PIECE_BYTES]

    async def has(self, digests: Sequence[str]) -> frozenset[str]:
        return frozenset(digest for digest in digests if digest in self._blobs)

    async def remove(self, digests: Sequence[str], *, untouched_since_us: int) -> Sequence[str]:
        removed = [
            digest
            for digest in dict.fromkeys(digests)
            if digest in self._blobs and self._touched[digest] < untouched_since_us
        ]
        for digest in removed:
            del self._blobs[digest], self._touched[digest]
        return removed

    async def walk(self) -> AsyncIterator[Sequence[StoredBlob]]:
        yield [
            StoredBlob(digest=digest, size_bytes=len(content), touched_at_us=self._touched[digest])
            for digest, content in self._blobs.items()
        ]


def _require_size(size: int, size_bytes_max: int | None) -> None:
    if size_bytes_max is not None and size > size_bytes_max:
        raise TooLarge(f"It is larger than {size_bytes_max} bytes.")
