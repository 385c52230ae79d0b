"""Nothing that is referred to is lost, nothing that nobody needs stays: among many owners, and after any death."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import anyio
import pytest

from remit.app.kinds import KINDS
from remit.blobs.directory import DirectoryBlobStore
from remit.errors import BlobMissing, InvalidRequest, LeaseLost
from remit.interfaces import BlobStore, Catalog
from remit.resources.blob_owners import BlobOwners
from remit.resources.kept_blobs import KeptBlobs
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.stores.sqlite.folder import open_catalog
from remit.testing.clock import FakeClock
from remit.testing.faulty_store import Crash
from remit.testing.memory_blobs import MemoryBlobStore
from remit.values import Principal, Resource

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
TWO = Principal(workspace_id="wrkspc_two", actor="apikey_two")
CONTENTS = [bytes([number]) * 100 for number in range(3)]
CROWD = 12
ROUNDS = 25


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept_in(blobs: BlobStore, catalog: Catalog) -> KeptBlobs:
    sessions = MemorySessionStore(FakeClock())
    return KeptBlobs(blobs, catalog, BlobOwners(sessions, catalog, KINDS).is_there)


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


# ------------------------------------------------------------------------------------------------------ the crowd

Take = Callable[[str, Sequence[bytes]], Awaitable[None]]
Leave = Callable[[str], Awaitable[None]]


async def crowd(blobs: BlobStore, take: Take, leave: Leave) -> int:
    """Owners who come with the same few contents and leave again; how many blobs they missed while they stayed."""
    lost = 0

    async def one(number: int) -> None:
        nonlocal lost
        chance = random.Random(number)
        for turn in range(ROUNDS):
            owner = f"file_{number}x{turn}"
            contents = chance.sample(CONTENTS, chance.randint(1, 2))
            await take(owner, contents)
            lost += len(contents) - len(await blobs.has([digest_of(content) for content in contents]))
            await leave(owner)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for number in range(CROWD):
                group.start_soon(one, number)
    return lost


async def test_a_crowd_with_the_same_bytes_loses_none_and_leaves_none(tmp_path: Path) -> None:
    blobs, catalog = DirectoryBlobStore(tmp_path / "blobs"), await open_catalog(tmp_path)
    kept = kept_in(blobs, catalog)

    async def take(owner: str, contents: Sequence[bytes]) -> None:
        async with kept.keeping(ONE, owner) as keeping:
            await keeping.put_many(contents)
            await keeping.commit()

    async def leave(owner: str) -> None:
        await kept.forget(ONE, owner)

    assert await crowd(blobs, take, leave) == 0
    assert await everything(blobs) == set()
    await catalog.close()


async def test_the_same_crowd_loses_bytes_where_who_puts_reserves_nothing(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    blobs, catalog = DirectoryBlobStore(tmp_path / "blobs"), await open_catalog(tmp_path)

    async def take(owner: str, contents: Sequence[bytes]) -> None:
        await catalog.reference_blobs(ONE, owner, await blobs.put_many(contents))

    async def leave(owner: str) -> None:
        await blobs.remove(await catalog.drop_references(ONE, owner))

    assert await crowd(blobs, take, leave) > 0
    await catalog.close()


# ------------------------------------------------------------------------------------------------- one by one


class Meddled(MemoryBlobStore):
    """Somebody acts between what is put and what its owner does next."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: Callable[[], Awaitable[None]] | None = None

    async def put_many(
        self, contents: Sequence[bytes], *, reserve: Callable[[Sequence[str]], Awaitable[None]] | None = None
    ) -> Sequence[str]:
        digests = await super().put_many(contents, reserve=reserve)
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            await meddle()
        return digests


@pytest.fixture
def blobs() -> Meddled:
    return Meddled()


@pytest.fixture
def catalog() -> MemoryCatalog:
    return MemoryCatalog(FakeClock())


@pytest.fixture
def kept(blobs: Meddled, catalog: MemoryCatalog) -> KeptBlobs:
    return kept_in(blobs, catalog)


async def test_the_last_other_owner_may_leave_between_put_and_reference(
    kept: KeptBlobs, blobs: Meddled
) -> None:
    await kept.put(ONE, "file_first", b"same")
    blobs.meddle = lambda: kept.forget(ONE, "file_first")
    await kept.put(TWO, "file_second", b"same")
    assert await kept.read(digest_of(b"same")) == b"same"


class SlowToRemove(MemoryBlobStore):
    """Waits for a word before it removes."""

    def __init__(self) -> None:
        super().__init__()
        self.is_removing = anyio.Event()
        self.may_remove = anyio.Event()

    async def remove(self, digests: Sequence[str]) -> None:
        self.is_removing.set()
        await self.may_remove.wait()
        await super().remove(digests)


async def test_bytes_that_are_just_going_are_not_taken_for_there(catalog: MemoryCatalog) -> None:
    blobs = SlowToRemove()
    kept = kept_in(blobs, catalog)
    digest = await kept.put(ONE, "file_first", b"same")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(kept.forget, ONE, "file_first")
            await blobs.is_removing.wait()
            group.start_soon(kept.put, ONE, "file_second", b"same")
            await anyio.wait_all_tasks_blocked()
            blobs.may_remove.set()
    assert await kept.read(digest) == b"same"


async def test_bytes_that_are_only_named_are_looked_for_before_they_are_promised(kept: KeptBlobs) -> None:
    digest = await kept.put(ONE, "file_first", b"same")
    await kept.keep(ONE, "sesn_1", [digest])
    await kept.forget(ONE, "file_first")
    assert await kept.read(digest) == b"same"
    await kept.forget(ONE, "sesn_1")
    with pytest.raises(BlobMissing, match="sesn_2"):
        await kept.keep(ONE, "sesn_2", [digest])


@pytest.mark.parametrize("begins", ["before it is forgotten", "afterwards"])
async def test_what_is_put_for_an_owner_that_goes_meanwhile_is_not_kept(
    kept: KeptBlobs, blobs: Meddled, catalog: MemoryCatalog, begins: str
) -> None:
    if begins == "afterwards":
        await kept.forget(ONE, "sesn_1")
    else:
        blobs.meddle = lambda: kept.forget(ONE, "sesn_1")
    async with kept.keeping(ONE, "sesn_1") as keeping:
        await keeping.put_many([b"the last snapshot"])
        await keeping.commit()
    assert await everything(blobs) == set()
    assert await catalog.list_owners(after=None, limit=9) == []


class SlowToWrite(DirectoryBlobStore):
    """Its thread waits for a word."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_writing, self.may_write = threading.Event(), threading.Event()

    def _put_many(self, digests: Sequence[str], contents: Sequence[bytes]) -> None:
        self.is_writing.set()
        assert self.may_write.wait(5)
        super()._put_many(digests, contents)


async def test_what_a_thread_still_writes_for_somebody_cancelled_is_removed_too(
    tmp_path: Path, catalog: MemoryCatalog
) -> None:
    blobs = SlowToWrite(tmp_path)
    kept = kept_in(blobs, catalog)
    task = asyncio.create_task(kept.put(ONE, "sesn_1", b"the last snapshot"))
    assert await asyncio.to_thread(blobs.is_writing.wait, 5)
    await kept.forget(ONE, "sesn_1")
    task.cancel()
    asyncio.get_running_loop().call_later(0, blobs.may_write.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await everything(blobs) == set()


async def test_what_is_not_committed_is_removed_at_the_end(kept: KeptBlobs, blobs: Meddled) -> None:
    await kept.put(ONE, "file_first", b"other")

    async def begin() -> None:
        async with kept.keeping(ONE, "file_second") as keeping:
            await keeping.put_many([b"half", b"other"])
            raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await begin()
    assert await everything(blobs) == {digest_of(b"other")}


async def _fail(kept: KeptBlobs, owner_id: str, error: Exception) -> None:
    """After it is durable what the owner needs, before the owner is."""
    async with kept.keeping(ONE, owner_id) as keeping:
        await keeping.put(b"content")
        await keeping.commit()
        raise error


async def test_a_new_owner_that_is_refused_needs_nothing(kept: KeptBlobs, blobs: Meddled) -> None:
    with pytest.raises(InvalidRequest):
        await _fail(kept, "file_refused", InvalidRequest("no"))
    assert await everything(blobs) == set()


async def test_an_owner_that_may_yet_come_to_be_keeps_its_bytes_for_a_while(
    kept: KeptBlobs, blobs: Meddled, catalog: MemoryCatalog
) -> None:
    with pytest.raises(TimeoutError):
        await _fail(kept, "file_cut", TimeoutError())
    await kept.collect()
    assert await everything(blobs) == {digest_of(b"content")}
    await kept.collect()
    assert await everything(blobs) == set()


async def test_a_collection_takes_nothing_from_who_is_putting(
    kept: KeptBlobs, blobs: Meddled, catalog: MemoryCatalog
) -> None:
    async with kept.keeping(ONE, "file_new") as keeping:
        digest = await keeping.put(b"content")
        await kept.collect()
        await keeping.commit()
        await kept.collect()
        await make_file(catalog, "file_new")
    await kept.collect()
    assert await kept.read(digest) == b"content"


async def test_two_puts_of_the_same_bytes_by_one_owner_are_released_as_one(
    kept: KeptBlobs, blobs: Meddled
) -> None:
    async with kept.keeping(ONE, "file_new") as keeping, anyio.create_task_group() as group:
        group.start_soon(keeping.put, b"same")
        group.start_soon(keeping.put, b"same")
    assert await everything(blobs) == set()


# --------------------------------------------------------------------------------------------------------- deaths


_WRITES = ("put", "put_many", "remove", "reference_blobs", "drop_references", "create", "delete")


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


async def story(kept: KeptBlobs, catalog: Catalog) -> None:
    """Two files with the same bytes come; one of them goes."""
    for file_id in ("file_a", "file_b"):
        async with kept.keeping(ONE, file_id) as keeping:
            await keeping.put(b"same")
            await keeping.put(file_id.encode())
            await keeping.commit()
            await make_file(catalog, file_id)
    await catalog.delete(ONE, "file", "file_a")
    await kept.forget(ONE, "file_a")


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 14))
async def test_after_a_death_at_any_write_all_is_there_and_nothing_is_left_over(
    blobs: Meddled, catalog: MemoryCatalog, at: int, is_before: bool
) -> None:
    count = [0]
    dying_blobs = cast("BlobStore", Dying(blobs, count, at=at, is_before=is_before))
    dying_catalog = cast("Catalog", Dying(catalog, count, at=at, is_before=is_before))
    with contextlib.suppress(Crash):
        await story(kept_in(dying_blobs, dying_catalog), dying_catalog)
    after = kept_in(blobs, catalog)
    await after.collect()
    assert await after.missing(ONE) == []
    report = await after.look(put_before_us=1)
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
    kept: KeptBlobs, blobs: Meddled
) -> None:
    kept_digest = await kept.put(ONE, "file_1", b"kept")
    lost = await kept.put(ONE, "file_2", b"lost")
    await blobs.remove([lost])
    left_over = await blobs.put(b"left over")
    (missing,) = await kept.missing(ONE)
    assert (missing.owner_id, missing.digest) == ("file_2", lost)
    assert await kept.missing(TWO) == []
    report = await kept.look(put_before_us=1)
    assert [blob.digest for blob in report.leftovers] == [left_over]
    assert (report.count, report.size_bytes) == (2, len(b"kept") + len(b"left over"))
    assert (await kept.look(put_before_us=0)).leftovers == ()
    assert await everything(blobs) == {kept_digest, left_over}


def test_nobody_else_puts_removes_or_refers() -> None:
    source = Path(__file__).parents[2] / "src" / "remit"
    words = ("reference_blobs(", "drop_references(", "blobs.remove(")
    allowed = {
        "resources/kept_blobs.py",
        "interfaces.py",
        "testing/catalog_suite.py",
        "testing/blob_suite.py",
    }
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(word in path.read_text() for word in words) and "stores" not in path.parts
    }
    assert found <= allowed


@pytest.mark.parametrize("stopped_by", [LeaseLost("another owns it"), asyncio.CancelledError()])
async def test_a_worker_that_was_stopped_removes_nothing_that_another_process_may_be_putting(
    stopped_by: BaseException,
) -> None:
    store, catalog = MemoryBlobStore(), MemoryCatalog(FakeClock())
    stopped, successor = kept_in(store, catalog), kept_in(store, catalog)
    digest = ""

    async def snapshot() -> None:
        nonlocal digest
        async with stopped.keeping(ONE, "sesn_1") as keeping:
            digest = await keeping.put(b"the same file")
            raise stopped_by

    async with successor.keeping(ONE, "file_1") as keeping:
        await keeping.put(b"the same file")
        with pytest.raises(type(stopped_by)):
            await snapshot()
        await keeping.commit()
    assert await store.has([digest]) == {digest}
