"""Checks that every `BlobStore` must pass. Use like `store_suite`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from remit.errors import BlobMissing, TooLarge
from remit.interfaces import BlobStore
from remit.testing.store_checks.given import refused

MakeBlobStore = Callable[[], AbstractAsyncContextManager[BlobStore]]
BlobCheck = Callable[[MakeBlobStore], Awaitable[None]]

_LATER_US = 2**60
"""After every touch."""
_UNKNOWN = hashlib.sha256(b"unknown").hexdigest()


async def check_what_is_put_is_read(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        for content in (b"", b"small", bytes(range(256)) * 20_000):
            digest = await blobs.put(content)
            assert digest == hashlib.sha256(content).hexdigest()
            assert await blobs.read(digest) == content
            assert b"".join([piece async for piece in blobs.stream(digest)]) == content


async def check_pieces_are_put_as_one(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        digest = await blobs.put(_pieces(b"abc", b"", b"d" * 3_000_000, b"e"))
        assert await blobs.read(digest) == b"abc" + b"d" * 3_000_000 + b"e"
        assert await blobs.put(_pieces()) == hashlib.sha256(b"").hexdigest()


async def check_what_is_too_large_is_not_kept(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        assert await blobs.put(b"1234", size_bytes_max=4)
        assert await blobs.put(_pieces(b"12", b"35"), size_bytes_max=4)
        digest = hashlib.sha256(b"12345").hexdigest()
        with refused(TooLarge, "4"):
            await blobs.put(b"12345", size_bytes_max=4)
        with refused(TooLarge, "4"):
            await blobs.put(_pieces(b"123", b"45", b"never asked for"), size_bytes_max=4)
        assert await blobs.has([digest]) == frozenset()


async def check_a_broken_upload_is_not_kept(make_blobs: MakeBlobStore) -> None:
    async def breaks() -> AsyncGenerator[bytes, None]:
        yield b"half"
        raise ConnectionError("the caller is gone")

    async with make_blobs() as blobs:
        try:
            await blobs.put(breaks())
        except ConnectionError:
            pass
        else:
            raise AssertionError("the caller's error did not come through")
        assert await blobs.has([hashlib.sha256(b"half").hexdigest()]) == frozenset()


async def check_many_are_put_in_their_order(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        contents = [b"%d" % (number % 300) for number in range(600)]
        digests = await blobs.put_many(contents)
        assert list(digests) == [hashlib.sha256(content).hexdigest() for content in contents]
        assert await blobs.has(digests) == frozenset(digests)
        for content, digest in zip(contents[::50], digests[::50], strict=True):
            assert await blobs.read(digest) == content
        assert list(await blobs.put_many([])) == []


async def check_the_same_content_may_be_put_at_once_and_again(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        digests = await asyncio.gather(*(blobs.put(b"same") for _ in range(10)))
        assert len(set(digests)) == 1
        assert await blobs.put(_pieces(b"sa", b"me")) == digests[0]
        assert await blobs.read(digests[0]) == b"same"


async def check_only_those_that_are_there_are_there(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        first, second = await blobs.put_many([b"1", b"2"])
        assert await blobs.has([first, second, _UNKNOWN]) == {first, second}
        await blobs.remove([first, _UNKNOWN], untouched_since_us=_LATER_US)
        assert await blobs.has([first, second, _UNKNOWN]) == {second}
        assert await blobs.put(b"1") == first
        assert await blobs.read(first) == b"1"


async def check_a_missing_blob_is_named(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        for digest in (_UNKNOWN, "../../etc/passwd", "A" * 64, ""):
            with refused(BlobMissing, digest):
                await blobs.read(digest)
            with refused(BlobMissing, digest):
                async for _ in blobs.stream(digest):
                    raise AssertionError("a missing blob has no pieces")
        assert await blobs.has(["../../etc/passwd"]) == frozenset()
        await blobs.remove(["../../etc/passwd"], untouched_since_us=_LATER_US)


async def check_all_that_is_there_is_found(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        assert [some async for some in blobs.walk() if some] == []
        digests = await blobs.put_many([b"1", b"22", b"333"])
        await blobs.remove([digests[1]], untouched_since_us=_LATER_US)
        found = {blob.digest: blob.size_bytes async for some in blobs.walk() for blob in some}
        assert found == {digests[0]: 1, digests[2]: 3}


async def check_what_was_touched_since_is_not_removed(make_blobs: MakeBlobStore) -> None:
    async with make_blobs() as blobs:
        first, second = await blobs.put_many([b"1", b"2"])
        times = {blob.digest: blob.touched_at_us async for some in blobs.walk() for blob in some}
        assert list(await blobs.remove([first, second], untouched_since_us=min(times.values()))) == []
        assert await blobs.touch([first, second, _UNKNOWN, "../../etc/passwd"]) == {first, second}
        later = {blob.digest: blob.touched_at_us async for some in blobs.walk() for blob in some}
        assert later[first] >= times[first]
        assert list(await blobs.remove([first, _UNKNOWN], untouched_since_us=_LATER_US)) == [first]
        assert await blobs.touch([first, second]) == {second}


async def check_of_a_touch_and_a_removal_one_comes_first(make_blobs: MakeBlobStore) -> None:
    """Check that whoever touched a blob and was told that it is there, finds it there."""
    async with make_blobs() as blobs:
        for number in range(8):
            content = b"%d" % number
            digest = await blobs.put(content)
            (at_us,) = [b.touched_at_us async for some in blobs.walk() for b in some if b.digest == digest]
            _, there, again = await asyncio.gather(
                blobs.remove([digest], untouched_since_us=at_us + 1),
                blobs.touch([digest]),
                blobs.put(content),
            )
            assert again == digest
            assert await blobs.read(digest) == content, there


async def _pieces(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


BLOB_CHECKS: list[BlobCheck] = [value for name, value in list(globals().items()) if name.startswith("check_")]


async def run_blob_suite(make_blobs: MakeBlobStore) -> None:
    """Run every check on a fresh store; the first failure is raised with the check's name."""
    for check in BLOB_CHECKS:
        try:
            await check(make_blobs)
        except AssertionError as error:
            raise AssertionError(f"{check.__name__}: {error}") from error
