"""Every blob store does what the contract says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.errors import TooLarge
from remit.interfaces import BlobStore
from remit.testing.blob_suite import BLOB_CHECKS, BlobCheck, run_blob_suite
from remit.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def make_directory() -> AsyncGenerator[BlobStore, None]:
    with tempfile.TemporaryDirectory() as folder:
        yield DirectoryBlobStore(Path(folder) / "blobs")


def name_of(function: Callable[..., object]) -> str:
    return function.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", BLOB_CHECKS, ids=name_of)
async def test_directory(check: BlobCheck) -> None:
    with anyio.fail_after(10):
        await check(make_directory)


async def test_the_whole_suite_runs_as_one_call() -> None:
    with anyio.fail_after(10):
        await run_blob_suite(make_directory)


async def test_nothing_half_written_stays_behind(tmp_path: Path) -> None:
    blobs = DirectoryBlobStore(tmp_path)
    with pytest.raises(TooLarge):
        await blobs.put(_one_piece(), size_bytes_max=2)
    await blobs.put(_one_piece())
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_leftovers_of_a_crash_are_removed_and_blobs_are_not(tmp_path: Path) -> None:
    blobs = DirectoryBlobStore(tmp_path)
    await blobs.remove_leftovers()
    digest = await blobs.put(b"kept")
    old, new = tmp_path / "tmp" / "tmpabc", tmp_path / "tmp" / "tmpdef"
    for leftover in (old, new):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    await blobs.remove_leftovers()
    assert list((tmp_path / "tmp").iterdir()) == [new]  # perhaps another process is writing it
    assert await blobs.read(digest) == b"kept"


async def test_what_a_killed_process_had_put_aside_comes_back(tmp_path: Path) -> None:
    clock = FakeClock()
    blobs = DirectoryBlobStore(tmp_path, clock)
    digest = await blobs.put(b"needed")
    aside = tmp_path / "aside" / digest
    aside.parent.mkdir()
    (tmp_path / digest[:2] / digest[2:]).rename(aside)
    assert await blobs.read(digest) == b"needed"
    assert await blobs.touch([digest]) == frozenset()
    clock.jump(40 * 365 * 86_400)  # the kernel's own time of the move is real
    assert [blob.digest async for some in blobs.walk() for blob in some] == [digest]
    assert await blobs.touch([digest]) == {digest}


async def _one_piece() -> AsyncGenerator[bytes, None]:
    yield b"piece"
