"""Installed packages as folders: the next server of the same place takes them up, and nothing else stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.sandboxes.folders import RuntimeFolder
from remit.sandboxes.mounts import KEPT_MAX, KEPT_SECONDS, MountCache, free_links, remove_old_mounts
from remit.testing.sandbox_checks.given import store_tree

pytestmark = pytest.mark.anyio

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
FILES = {"python/greeting.py": b"print('hello')\n", "python/bin/greet": b"#!/bin/sh\n"}


class CountingBlobs(DirectoryBlobStore):
    """Remembers what was read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []

    async def read(self, digest: str) -> bytes:
        self.asked.append(digest)
        return await super().read(digest)


class Server:
    """What one server has of mounts."""

    def __init__(self, top: Path, blobs: DirectoryBlobStore, name: str) -> None:
        self.folder = RuntimeFolder(top / "run", name)
        self.mounts = MountCache(self.folder, blobs, is_shared=False)
        self.user = top

    async def mounted(self, digest: str, *, outlives_server: bool = True) -> Path:
        return await self.mounts.folder(digest, user=self.user, outlives_server=outlives_server)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept_names(top: Path) -> Sequence[str]:
    return sorted(path.name for path in (top / "run").rglob("*"))


async def test_the_next_server_takes_up_what_was_made_without_reading_it_again(tmp_path: Path) -> None:
    blobs = CountingBlobs(tmp_path / "blobs")
    digest = await store_tree(blobs, FILES)
    for number in range(3):
        server = Server(tmp_path, blobs, f"server_{number}")
        blobs.asked.clear()
        assert contents(await server.mounted(digest)) == FILES
        assert bool(blobs.asked) is (number == 0)
        assert await server.mounted(digest) == await server.mounted(digest)
        server.folder.close()


async def test_two_servers_at_once_have_one_each(tmp_path: Path) -> None:
    blobs = CountingBlobs(tmp_path / "blobs")
    digest = await store_tree(blobs, FILES)
    first = Server(tmp_path, blobs, "first")
    await first.mounted(digest)
    first.folder.close()
    two = [Server(tmp_path, blobs, name) for name in ("one", "two")]
    folders = await asyncio.gather(*(server.mounted(digest) for server in two))
    assert [contents(folder) for folder in folders] == [FILES, FILES]
    assert len(set(folders)) == 2
    for server in two:
        server.folder.close()
    assert len([name for name in kept_names(tmp_path) if name.startswith(digest)]) == 1


async def test_what_is_a_sessions_own_does_not_stay(tmp_path: Path) -> None:
    blobs = CountingBlobs(tmp_path / "blobs")
    server = Server(tmp_path, blobs, "server")
    await server.mounted(await store_tree(blobs, FILES), outlives_server=False)
    server.folder.close()
    assert not (tmp_path / "run").exists()


async def test_only_the_newest_stay(tmp_path: Path) -> None:
    blobs = CountingBlobs(tmp_path / "blobs")
    server = Server(tmp_path, blobs, "server")
    digests = [await store_tree(blobs, {"n": str(number).encode()}) for number in range(KEPT_MAX + 2)]
    for digest in digests:
        await server.mounted(digest)
    server.folder.close()
    kept = {path.name.partition("-")[0] for path in (tmp_path / "run" / ".kept-mounts").iterdir()}
    assert kept == set(digests[-KEPT_MAX:])


def test_those_of_another_boot_and_old_ones_go_and_the_folder_with_the_last(tmp_path: Path) -> None:
    kept = tmp_path / ".kept-mounts"
    names = {"fresh": f"aa-{BOOT}", "old": f"bb-{BOOT}", "rebooted": "cc-another-boot", "half gone": "gone-1"}
    for name in names.values():
        (kept / name / "deep").mkdir(parents=True)
        (kept / name / "deep" / "file").write_text("x")
    long_ago = (kept / names["fresh"]).stat().st_mtime - KEPT_SECONDS - 1
    os.utime(kept / names["old"], (long_ago, long_ago))
    assert remove_old_mounts(tmp_path) == 3
    assert [path.name for path in kept.iterdir()] == [names["fresh"]]
    os.utime(kept / names["fresh"], (long_ago, long_ago))
    assert remove_old_mounts(tmp_path) == 1
    assert remove_old_mounts(tmp_path) == 0
    assert not kept.exists()


@pytest.mark.parametrize(
    ("paths", "free"),
    [
        (["/data/x", "/data/y"], ["/data/x", "/data/y"]),
        (["/usr/x", "/mnt/session/x", "/mnt"], []),
        (["/mnt/user-data/x", "/mnt/user/x"], ["/mnt/user-data/x"]),
        (["/data", "/data/x"], ["/data"]),
        (["data/x", "/data/../usr/x", "/data//x", "/data/x/"], []),
        (["/usrx", "/user"], ["/user", "/usrx"]),
    ],
)
def test_a_link_stands_neither_at_nor_above_nor_below_what_is_there(
    paths: list[str], free: list[str]
) -> None:
    taken = ("/usr", "/mnt/session", "/mnt/user")
    assert sorted(free_links(dict.fromkeys(paths, "/t"), taken)) == free
