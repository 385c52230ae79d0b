"""A server that dies while it deletes: nobody has to ask again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from remit.app.kinds import KINDS
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.files import FileBody, Files
from remit.catalog.orphaned_files import GRACE_SECONDS, OrphanedFiles
from remit.catalog.owned_blobs import OwnedBlobs
from remit.errors import NotFound
from remit.ids import Ids
from remit.sessions.changes import delete
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.memory_blobs import MemoryBlobStore
from remit.values import JsonObject
from support.session_bench import PRINCIPAL, SessionBench, say, script

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SessionBench]:
    bench = SessionBench(tmp_path, scripts={"script": script(say("Hello."))})
    yield bench
    await bench.close()


async def session_with_a_file(bench: SessionBench) -> tuple[str, str]:
    """Its id, and the digest of a file of it."""
    digest = await bench.kept.put(PRINCIPAL, "file_1", b"a copy")
    resource: JsonObject = {
        "id": "sesrsc_1",
        "type": "file",
        "file_id": "file_1",
        "sha256": digest,
        "mount_path": "/mnt/x",
    }
    session_id = await bench.create(resources=[resource])
    copy = FileBody(
        filename="x", mime_type="text/plain", size_bytes=6, sha256=digest, session_id=session_id, is_copy=True
    )
    await bench.files.add(PRINCIPAL, "file_1", copy)
    await bench.kept.keep(PRINCIPAL, session_id, [digest])
    return session_id, digest


async def append_deleted(bench: SessionBench, session_id: str) -> None:
    """What the request made durable before it died."""
    head = await bench.store.head(PRINCIPAL, session_id)
    decided = delete(await bench.state(session_id), head, ids=bench.ids, now_us=bench.clock.now_us())
    assert decided is not None
    await bench.store.append(PRINCIPAL, decided)


async def require_gone(bench: SessionBench, session_id: str, digest: str) -> None:
    with pytest.raises(NotFound):
        await bench.store.head(PRINCIPAL, session_id)
    with pytest.raises(NotFound):
        await bench.files.retrieve(PRINCIPAL, "file_1")
    assert not await bench.catalog.has_reference(PRINCIPAL, digest)


@pytest.mark.parametrize("are_files_gone", [False, True])
async def test_a_start_goes_on_with_a_deletion_that_was_cut(
    bench: SessionBench, are_files_gone: bool
) -> None:
    session_id, digest = await session_with_a_file(bench)
    await append_deleted(bench, session_id)
    if are_files_gone:
        await bench.files.delete(PRINCIPAL, "file_1")
    await bench.store.raise_epochs()  # as every start does
    async with bench.bus.subscribe(session_id) as subscription, bench.running():
        with anyio.fail_after(5):
            while not (await subscription.next()).is_deleted:
                pass
    await bench.kept.collect()  # if the worker was ended before its last step
    await require_gone(bench, session_id, digest)


async def test_what_a_session_needed_is_collected_when_only_its_rows_were_removed(
    bench: SessionBench,
) -> None:
    session_id, digest = await session_with_a_file(bench)
    await append_deleted(bench, session_id)
    await bench.files.delete(PRINCIPAL, "file_1")
    head = await bench.store.head(PRINCIPAL, session_id)
    await bench.store.delete_stream(PRINCIPAL, session_id, expected_seq=head.seq)
    in_two_days = FakeClock(start_us=bench.clock.now_us() + 2 * 86_400_000_000)
    is_there = BlobOwners(bench.store, bench.catalog, KINDS).is_there
    await OwnedBlobs(bench.blobs, bench.catalog, is_there, in_two_days).collect()
    assert await bench.blobs.has([digest]) == frozenset()
    await require_gone(bench, session_id, digest)


async def test_a_deletion_that_a_worker_has_finished_is_no_error_for_whoever_began_it(
    bench: SessionBench,
) -> None:
    session_id, digest = await session_with_a_file(bench)
    await append_deleted(bench, session_id)
    state = await bench.state(session_id)
    for _ in range(2):
        await bench.removal.remove(PRINCIPAL, state)
    await require_gone(bench, session_id, digest)


async def test_files_whose_session_is_gone_are_collected_and_those_of_one_being_made_are_not() -> None:
    clock = FakeClock()
    store, catalog = MemorySessionStore(clock), MemoryCatalog(clock)
    is_there = BlobOwners(store, catalog, KINDS).is_there
    blobs = OwnedBlobs(MemoryBlobStore(clock), catalog, is_there, clock)
    files = Files(catalog, blobs, clock, Ids(clock))
    digest = await blobs.put(PRINCIPAL, "file_1", b"a copy")
    copy = FileBody(filename="x", mime_type="text/plain", size_bytes=6, sha256=digest, session_id="sesn_gone")
    await files.add(PRINCIPAL, "file_1", copy)
    orphaned = OrphanedFiles(catalog, files, clock, is_there)
    assert (await orphaned.collect())[0].count == 0
    await clock.advance(GRACE_SECONDS + 1)
    assert (await orphaned.collect())[0].count == 1
    assert not await catalog.has_reference(PRINCIPAL, digest)
