"""What nobody needs or uses goes after its time; what somebody uses stays, however old it is."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import msgspec
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.catalog.expired_files import ExpiredFiles
from remit.catalog.files import Files
from remit.catalog.owned_blobs import KEPT_SECONDS, OwnedBlobs
from remit.clock import SystemClock
from remit.errors import NotFound, StoreUnavailable
from remit.ids import Ids
from remit.orchestrator.garbage_collector import EVERY_SECONDS, START_SECONDS, GarbageCollector
from remit.orchestrator.kept_layers import LAYER, LAYER_KEPT_SECONDS, KeptLayers, Layer
from remit.remits.creation import INPUT
from remit.remits.inputs import INPUT_KEPT_SECONDS, Inputs, OldInputs
from remit.sandboxes.folders import RuntimeFolder, remove_tree
from remit.sandboxes.image_folder import ImageFolder
from remit.sandboxes.mounts import UNUSED_MAX, MountCache
from remit.stores.memory import MemoryCatalog
from remit.stores.sqlite.folder import open_catalog
from remit.testing.clock import FakeClock
from remit.testing.memory_blobs import MemoryBlobStore
from remit.values import Collected, Principal, Resource, Tree, TreeEntry
from support.kept import kept

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def catalog(clock: FakeClock) -> MemoryCatalog:
    return MemoryCatalog(clock)


@pytest.fixture
def blobs(catalog: MemoryCatalog, clock: FakeClock) -> OwnedBlobs:
    return kept(MemoryBlobStore(clock), catalog, clock)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


# ------------------------------------------------------------------------------------------------------ resources


async def test_the_bytes_of_an_expired_file_go_though_nobody_asks_for_it(
    catalog: MemoryCatalog, blobs: OwnedBlobs, clock: FakeClock
) -> None:
    files = Files(catalog, blobs, clock, Ids(clock))
    async with files.uploading(ONE) as upload:
        await upload.store(pieces(b"for an hour"))
        file = await files.create(ONE, upload, filename="a", mime_type=None, expires_in_seconds=3_600)
    async with files.uploading(ONE) as upload:
        await upload.store(pieces(b"for ever"))
        await files.create(ONE, upload, filename="b", mime_type=None)
    expired = ExpiredFiles(catalog, blobs, clock)
    assert (await expired.collect())[0].count == 0
    await clock.advance(3_601)
    (collected,) = await expired.collect()
    assert (collected.count, collected.size_bytes) == (1, len(b"for an hour"))
    assert (await blobs.collect())[1].count == 0
    await clock.advance(KEPT_SECONDS)
    assert (await blobs.collect())[1].count == 1
    assert (await files.retrieve(ONE, file.id)).id == file.id
    assert (await expired.collect())[0].count == 0


async def test_an_upload_goes_after_a_month_and_what_a_remit_made_of_it_stays(
    catalog: MemoryCatalog, blobs: OwnedBlobs, clock: FakeClock
) -> None:
    inputs = Inputs(catalog=catalog, blobs=blobs, clock=clock, ids=Ids(clock))
    given = await inputs.store(ONE, pieces(bytes(1024)))
    tree_digest = given.config.tree_digest
    await blobs.keep(ONE, "remit_1", [tree_digest])
    await clock.advance(INPUT_KEPT_SECONDS - 1)
    young = await inputs.store(ONE, pieces(bytes(1024)))
    old = OldInputs(catalog, blobs, clock)
    assert (await old.collect())[0].count == 0
    await clock.advance(2)
    assert (await old.collect())[0].count == 1
    with pytest.raises(NotFound):
        await catalog.retrieve(ONE, INPUT.name, given.id)
    assert await catalog.retrieve(ONE, INPUT.name, young.id) == young.row
    await catalog.delete(ONE, INPUT.name, young.id)
    await blobs.forget(ONE, young.id)
    assert await blobs.has([tree_digest]) == {tree_digest}


async def test_an_upload_keeps_bytes_whose_last_other_owner_goes_while_it_is_read(
    catalog: MemoryCatalog, clock: FakeClock
) -> None:
    store = MemoryBlobStore(clock)
    blobs = kept(store, catalog, clock)
    files = Files(catalog, blobs, clock, Ids(clock))
    async with files.uploading(ONE) as upload:
        await upload.store(pieces(b"shared"))
        file = await files.create(ONE, upload, filename="a", mime_type=None)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("files/a", "files/b"):
            member = tarfile.TarInfo(name)
            member.size = len(b"shared")
            archive.addfile(member, io.BytesIO(b"shared"))
    inputs = Inputs(catalog=catalog, blobs=blobs, clock=clock, ids=Ids(clock))

    async def sent() -> AsyncIterator[bytes]:
        yield packed.getvalue()
        await files.delete(ONE, file.id)

    given = await inputs.store(ONE, sent())
    tree_digest = given.config.tree_digest
    tree = msgspec.json.decode(await blobs.read(tree_digest), type=Tree)
    assert [await blobs.read(entry.sha256 or "") for entry in tree.entries] == [b"shared"] * 2
    await catalog.delete(ONE, INPUT.name, given.id)
    await blobs.forget(ONE, given.id)
    await clock.advance(KEPT_SECONDS + 1)
    await blobs.collect()
    assert [blob async for some in store.walk() for blob in some] == []


async def test_a_package_layer_goes_a_week_after_it_was_made_when_nobody_needs_it(
    catalog: MemoryCatalog, blobs: OwnedBlobs, clock: FakeClock
) -> None:
    layers = KeptLayers(blobs=blobs, catalog=catalog, clock=clock)
    async with blobs.puts(ONE, "layer_1") as puts:
        file = await puts.put(b"a package")
        tree = await puts.put(b"its tree")
        await puts.commit()
        layer = Layer(tree_digest=tree, packages={}, image_digest="i", files=1, bytes=9)
        await catalog.create(
            ONE, _resource(LAYER.name, "layer_1", msgspec.json.encode(layer), clock.now_us())
        )
    await blobs.keep(ONE, "sesn_1", [tree])
    await clock.advance(LAYER_KEPT_SECONDS + 1)
    assert (await layers.collect())[0].count == 0
    assert await blobs.has([file, tree]) == {file, tree}
    await blobs.forget(ONE, "sesn_1")
    assert (await layers.collect())[0].count == 1
    assert await blobs.has([file, tree]) == frozenset()


def _resource(kind: str, id: str, body: bytes, created_at_us: int) -> Resource:
    return Resource(
        workspace_id=ONE.workspace_id,
        kind=kind,
        id=id,
        version=1,
        name=None,
        body=body,
        created_at_us=created_at_us,
        updated_at_us=created_at_us,
    )


# ------------------------------------------------------------------------------------------------- killed processes

PUT_AND_WAIT = """
import asyncio, sys
from pathlib import Path
from support.kept import kept
from remit.blobs.directory import DirectoryBlobStore
from remit.stores.sqlite.folder import open_catalog
from remit.values import Principal

async def main():
    folder = Path(sys.argv[1])
    catalog = await open_catalog(folder)
    blobs = kept(DirectoryBlobStore(folder / "blobs"), catalog)
    one = Principal(workspace_id="wrkspc_one", actor="apikey_one")
    async with blobs.puts(one, "file_never") as puts:
        await puts.put(b"same")
        await puts.put(b"only referred to")
        if sys.argv[2] == "after":
            await puts.commit()
        print("put", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_killed_process_put_is_found_by_the_next_one(tmp_path: Path, when: str) -> None:
    """Killed before and after its references were durable; the file was never made."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-c", PUT_AND_WAIT, str(tmp_path), when], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert child.stdout is not None
        assert await anyio.to_thread.run_sync(child.stdout.readline) == b"put\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    catalog = await open_catalog(tmp_path)
    clock = FakeClock(start_us=SystemClock().now_us())
    blobs = kept(DirectoryBlobStore(tmp_path / "blobs", clock), catalog, clock)
    await catalog.create(ONE, _resource("file", "file_there", b"{}", 1))
    clock.jump(KEPT_SECONDS + 1)
    same = await blobs.put(ONE, "file_there", b"same")
    removed = {one.what: one.count for one in await blobs.collect()}
    assert removed == {"needs of what is gone": int(when == "after"), "blobs that nobody needs": 1}
    assert await blobs.read(same) == b"same"
    assert (await blobs.look(touched_before_us=1 << 62)).leftovers == ()
    await catalog.close()


# ----------------------------------------------------------------------------------------------------------- folders

USE_AND_WAIT = """
import sys, time
from pathlib import Path
from remit.sandboxes.image_folder import ImageFolder

images = ImageFolder(Path(sys.argv[1]))
if sys.argv[2] == "use":
    assert images.use("old")
    print("ready", flush=True)
    time.sleep(60)
with images.making("new") as folder:
    (folder / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def other_server(folder: Path, what: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", USE_AND_WAIT, str(folder), what], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def test_an_image_stays_while_a_server_uses_it_and_goes_when_none_has_for_long(tmp_path: Path) -> None:
    images = ImageFolder(tmp_path, unused_seconds=0)
    for name in ("old", "mine"):
        with images.making(name) as new:
            (new / "file").write_bytes(b"123")
    assert images.use("mine") == tmp_path / "mine"
    other = other_server(tmp_path, "use")
    try:
        assert images.collect().count == 0
    finally:
        other.kill()
        other.communicate()
    assert ImageFolder(tmp_path).collect().count == 0, "it was used a moment ago"
    collected = images.collect()
    assert (collected.count, collected.size_bytes) == (1, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert images.use("old") is None
    images.close()
    assert images.collect().count == 1


def test_what_a_killed_build_left_goes_and_what_is_being_built_stays(tmp_path: Path) -> None:
    images = ImageFolder(tmp_path, leftover_seconds=0)
    builder = other_server(tmp_path, "make")
    try:
        assert images.collect().count == 0
    finally:
        builder.kill()
        builder.communicate()
    assert ImageFolder(tmp_path).collect().count == 0, "it is young"
    assert images.collect().count == 1
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_two_make_at_once_is_made_once(tmp_path: Path) -> None:
    images = ImageFolder(tmp_path)
    with images.making("image") as first, images.making("image") as second:
        (first / "one").touch()
        (second / "two").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_folders_of_dead_servers_go_with_what_is_half_made_or_half_removed(tmp_path: Path) -> None:
    live = RuntimeFolder(tmp_path, "live")
    live.open()
    dead = RuntimeFolder(tmp_path, "dead")
    own = dead.open()
    (own / "sbx_1" / "workspace").mkdir(parents=True)
    for name in (".new-dead", ".old-1", ".images", "somebody elses"):
        (tmp_path / name / "x").mkdir(parents=True)
    assert live.collect().count == 0
    assert dead._lock is not None  # pyright: ignore[reportPrivateUsage]
    os.close(dead._lock)  # pyright: ignore[reportPrivateUsage]
    assert live.collect().count == 1
    tidy = RuntimeFolder(tmp_path, "live", leftover_seconds=0)
    assert tidy.collect().count == 2
    assert {path.name for path in tmp_path.iterdir()} == {"live", ".images", "somebody elses"}
    live.close()


def test_a_removal_that_was_interrupted_stands_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".dead.1" / "x").mkdir(parents=True)
    (tmp_path / ".old-1" / "x").mkdir(parents=True)
    (tmp_path / "dead" / "deep" / "er").mkdir(parents=True)
    remove_tree(tmp_path / "dead")
    assert {path.name for path in tmp_path.iterdir()} == {".dead.1", ".old-1"}


async def test_read_only_trees_stay_as_folders_only_while_a_sandbox_uses_them_and_a_few_more(
    tmp_path: Path,
) -> None:
    store = MemoryBlobStore()
    folder = RuntimeFolder(tmp_path / "run", "server")
    mounts = MountCache(folder, store, is_shared=False)
    used = tmp_path / "sandbox"
    used.mkdir()

    async def mount(number: int, user: Path) -> Path:
        tree = Tree(entries=(TreeEntry(path=f"folder{number}", kind="dir", mode=0o755),))
        return await mounts.folder(await store.put(tree.encode()), user=user)

    first = await mount(0, used)
    unused = [await mount(number, tmp_path / "gone") for number in range(1, UNUSED_MAX + 3)]
    assert [path.exists() for path in (first, *unused)] == [True, False, False] + [True] * UNUSED_MAX
    again = await mount(1, used)
    assert (again / "folder1").is_dir()
    folder.close()


# ----------------------------------------------------------------------------------------------------------- the job


class Counting:
    def __init__(self, *, fails: bool = False) -> None:
        self.rounds = 0
        self._fails = fails

    async def collect(self) -> Sequence[Collected]:
        self.rounds += 1
        if self._fails:
            raise StoreUnavailable("no")
        return (Collected(what="things", count=1, size_bytes=2),)


async def test_it_runs_a_while_after_a_start_and_then_every_few_hours_whoever_fails(
    clock: FakeClock,
) -> None:
    failing, counting = Counting(fails=True), Counting()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(GarbageCollector([failing, counting], clock).run)
            await anyio.wait_all_tasks_blocked()
            await clock.advance(START_SECONDS - 1)
            assert counting.rounds == 0
            await clock.advance(1)
            await anyio.wait_all_tasks_blocked()
            assert (failing.rounds, counting.rounds) == (1, 1)
            await clock.advance(EVERY_SECONDS)
            await anyio.wait_all_tasks_blocked()
            assert (failing.rounds, counting.rounds) == (2, 2)
            group.cancel_scope.cancel()
