"""Nothing that is referred to is lost, nothing that nobody needs stays: among many owners, and after any death."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import cast

import pytest

from remit.app.kinds import KINDS
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.owned_blobs import KEPT_SECONDS, OwnedBlobs
from remit.errors import BlobMissing
from remit.interfaces import BlobStore, Catalog
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.faulty_store import Crash
from remit.testing.memory_blobs import MemoryBlobStore
from remit.values import Principal, Resource

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
TWO = Principal(workspace_id="wrkspc_two", actor="apikey_two")


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept_in(blobs: BlobStore, catalog: Catalog, clock: FakeClock) -> OwnedBlobs:
    sessions = MemorySessionStore(clock)
    return OwnedBlobs(blobs, catalog, BlobOwners(sessions, catalog, KINDS).is_there, clock)


async def make_file(catalog: Catalog, file_id: str) -> None:
    await catalog.create(
        ONE,
        Resource(
            workspace_id=ONE.workspace_id,
            kind="file",
            id=file_id,
            version=1,
            name=None,
            body=b"{}",
            created_at_us=1,
            updated_at_us=1,
        ),
    )


async def everything(blobs: BlobStore) -> set[str]:
    return {blob.digest async for some in blobs.walk() for blob in some}


# ------------------------------------------------------------------------------------------------- one by one


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def blobs(clock: FakeClock) -> MemoryBlobStore:
    return MemoryBlobStore(clock)


@pytest.fixture
def catalog(clock: FakeClock) -> MemoryCatalog:
    return MemoryCatalog(clock)


@pytest.fixture
def kept(blobs: MemoryBlobStore, catalog: MemoryCatalog, clock: FakeClock) -> OwnedBlobs:
    return kept_in(blobs, catalog, clock)


async def test_what_nobody_needs_goes_a_day_after_it_was_touched(
    kept: OwnedBlobs, blobs: MemoryBlobStore, clock: FakeClock
) -> None:
    await kept.put(ONE, "file_1", b"content")
    clock.jump(KEPT_SECONDS / 2)
    await kept.put(ONE, "file_2", b"content")
    for file_id in ("file_1", "file_2"):
        await kept.forget(ONE, file_id)
    clock.jump(KEPT_SECONDS - 1)
    await kept.collect()
    assert await everything(blobs) == {digest_of(b"content")}
    clock.jump(2)
    (_, removed) = await kept.collect()
    assert (removed.count, removed.size_bytes) == (1, len(b"content"))
    assert await everything(blobs) == set()


async def test_what_is_old_goes_with_its_last_owner(
    kept: OwnedBlobs, blobs: MemoryBlobStore, clock: FakeClock
) -> None:
    await kept.put(ONE, "file_1", b"same")
    await kept.put(TWO, "file_2", b"same")
    clock.jump(KEPT_SECONDS + 1)
    await kept.forget(ONE, "file_1")
    assert await everything(blobs) == {digest_of(b"same")}
    await kept.forget(TWO, "file_2")
    assert await everything(blobs) == set()


async def test_bytes_that_are_only_named_are_looked_for_before_they_are_promised(
    kept: OwnedBlobs, clock: FakeClock
) -> None:
    digest = await kept.put(ONE, "file_first", b"same")
    await kept.keep(ONE, "sesn_1", [digest])
    clock.jump(KEPT_SECONDS + 1)
    await kept.forget(ONE, "file_first")
    assert await kept.read(digest) == b"same"
    await kept.forget(ONE, "sesn_1")
    with pytest.raises(BlobMissing, match="sesn_2"):
        await kept.keep(ONE, "sesn_2", [digest])


async def test_who_puts_for_days_still_has_everything_when_it_commits(
    kept: OwnedBlobs, catalog: MemoryCatalog, clock: FakeClock
) -> None:
    async with kept.puts(ONE, "file_new") as puts:
        digest = await puts.put(b"content")
        clock.jump(KEPT_SECONDS / 2)
        await kept.collect()
        await puts.commit()
        await make_file(catalog, "file_new")
    clock.jump(KEPT_SECONDS * 9)
    await kept.collect()
    assert await kept.read(digest) == b"content"


async def test_who_commits_what_was_swept_meanwhile_is_told(kept: OwnedBlobs, clock: FakeClock) -> None:
    async with kept.puts(ONE, "file_new") as puts:
        await puts.put(b"content")
        clock.jump(KEPT_SECONDS * 2)
        await kept.collect()
        with pytest.raises(BlobMissing, match="file_new"):
            await puts.commit()
        await puts.put(b"content")
        await puts.commit()


async def test_needs_of_an_owner_that_never_came_to_be_are_dropped_a_day_later(
    kept: OwnedBlobs, blobs: MemoryBlobStore, catalog: MemoryCatalog, clock: FakeClock
) -> None:
    async with kept.puts(ONE, "file_refused") as puts:
        await puts.put(b"content")
        await puts.commit()
    await kept.collect()
    assert len(await catalog.list_owners(after=None, limit=9)) == 1
    clock.jump(KEPT_SECONDS + 1)
    await kept.collect()
    assert await catalog.list_owners(after=None, limit=9) == []
    assert await everything(blobs) == set()


async def test_one_of_the_same_id_that_is_made_anew_keeps_its_needs(
    kept: OwnedBlobs, blobs: MemoryBlobStore, clock: FakeClock
) -> None:
    await kept.put(ONE, "layer_1", b"old")
    clock.jump(KEPT_SECONDS + 1)
    removed_at_us = clock.now_us()
    await kept.put(ONE, "layer_1", b"new")
    await kept.forget(ONE, "layer_1", said_before_us=removed_at_us)
    assert await everything(blobs) == {digest_of(b"new")}


# --------------------------------------------------------------------------------------------------------- deaths


_WRITES = ("put", "touch", "put_many", "remove", "reference_blobs", "drop_references", "create", "delete")


class Dying:
    """A store whose process dies at the n-th write, before it reaches the disk or after."""

    def __init__(self, thing: object, count: list[int], *, at: int, is_before: bool) -> None:
        self._thing = thing
        self._count = count
        self._at = at
        self._is_before = is_before

    def __getattr__(self, name: str) -> object:
        found = getattr(self._thing, name)
        if name not in _WRITES:
            return found

        async def write(*arguments: object, **named: object) -> object:
            if self._count[0] >= self._at:
                raise Crash("dead")
            self._count[0] += 1
            if self._count[0] == self._at and self._is_before:
                raise Crash("dies before")
            done = await found(*arguments, **named)
            if self._count[0] == self._at:
                raise Crash("dies after")
            return done

        return write


async def story(kept: OwnedBlobs, catalog: Catalog) -> None:
    """Two files with the same bytes come; one of them goes."""
    for file_id in ("file_a", "file_b"):
        async with kept.puts(ONE, file_id) as puts:
            await puts.put(b"same")
            await puts.put(file_id.encode())
            await puts.commit()
            await make_file(catalog, file_id)
    await catalog.delete(ONE, "file", "file_a")
    await kept.forget(ONE, "file_a")


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 14))
async def test_after_a_death_at_any_write_all_is_there_and_nothing_is_left_over(
    blobs: MemoryBlobStore, catalog: MemoryCatalog, clock: FakeClock, at: int, is_before: bool
) -> None:
    count = [0]
    dying_blobs = cast("BlobStore", Dying(blobs, count, at=at, is_before=is_before))
    dying_catalog = cast("Catalog", Dying(catalog, count, at=at, is_before=is_before))
    with contextlib.suppress(Crash):
        await story(kept_in(dying_blobs, dying_catalog, clock), dying_catalog)
    after = kept_in(blobs, catalog, clock)
    clock.jump(KEPT_SECONDS + 1)
    await after.collect()
    assert await after.missing(ONE) == []
    report = await after.look(touched_before_us=2**62)
    assert report.leftovers == ()
    there = {owner.owner_id for owner in await catalog.list_owners(after=None, limit=9)}
    for file_id in there:
        await catalog.retrieve(ONE, "file", file_id)
        assert await after.has([digest_of(b"same"), digest_of(file_id.encode())]) == {
            digest_of(b"same"),
            digest_of(file_id.encode()),
        }
    assert report.count == len(there) + bool(there)


# --------------------------------------------------------------------------------------------------- the checker


async def test_the_checker_names_a_lost_blob_and_counts_what_nobody_needs(
    kept: OwnedBlobs, blobs: MemoryBlobStore, clock: FakeClock
) -> None:
    kept_digest = await kept.put(ONE, "file_1", b"kept")
    lost = await kept.put(ONE, "file_2", b"lost")
    await blobs.remove([lost], untouched_since_us=2**62)
    left_over = await blobs.put(b"left over")
    (missing,) = await kept.missing(ONE)
    assert (missing.owner_id, missing.digest) == ("file_2", lost)
    assert await kept.missing(TWO) == []
    report = await kept.look(touched_before_us=clock.now_us() + 1)
    assert [blob.digest for blob in report.leftovers] == [left_over]
    assert (report.count, report.size_bytes) == (2, len(b"kept") + len(b"left over"))
    assert (await kept.look(touched_before_us=clock.now_us())).leftovers == ()
    assert await everything(blobs) == {kept_digest, left_over}


def test_nobody_else_puts_removes_or_refers() -> None:
    source = Path(__file__).parents[2] / "src" / "remit"
    words = ("reference_blobs(", "drop_references(", "blobs.remove(")
    allowed = {
        "catalog/owned_blobs.py",
        "interfaces/catalog.py",
        "interfaces/blobs.py",
        "testing/catalog_suite.py",
        "testing/blob_suite.py",
    }
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(word in path.read_text() for word in words) and "stores" not in path.parts
    }
    assert found <= allowed
