"""What a bubblewrap sandbox costs: cold start, a held shell, snapshot and restore of 10,000 files (200 MB).

python scripts/bench_sandbox.py [--local]
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.values import SandboxSpec, ShellRequest, Tree, TreeEntry

STARTS = 40
COMMANDS = 300
FOLDERS, FILES_EACH, FILE_BYTES = 100, 100, 20_000


class MemoryBlobs:
    """A blob store without a disk: shows what the sandbox itself costs."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, content: bytes | AsyncIterator[bytes], *, size_bytes_max: int | None = None) -> str:
        del size_bytes_max
        assert isinstance(content, bytes)
        digest = hashlib.sha256(content).hexdigest()
        self._blobs[digest] = content
        return digest

    async def read(self, digest: str) -> bytes:
        return self._blobs[digest]

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        yield self._blobs[digest]

    async def has(self, digests: Sequence[str]) -> frozenset[str]:
        return frozenset(digests) & self._blobs.keys()

    async def remove(self, digests: Sequence[str]) -> None:
        for digest in digests:
            self._blobs.pop(digest, None)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await measure(Path(folder))


async def measure(folder: Path) -> None:
    ids = Ids(SystemClock())
    memory, disk = MemoryBlobs(), DirectoryBlobStore(folder / "blobs")
    make = LocalProvider if "--local" in sys.argv else BubblewrapProvider
    async with make(folder / "run", memory, ids) as provider:
        print((await provider.image()).description)
        starts: list[float] = []
        for number in range(STARTS):
            began = time.perf_counter()
            sandbox = await provider.create(SandboxSpec(key=f"start-{number}", epoch=1))
            await sandbox.shell(ShellRequest(call_id="first", epoch=1, command="echo hi"))
            starts.append(time.perf_counter() - began)
            await sandbox.destroy()
        tell("cold start to first output", starts)
        sandbox = await provider.create(SandboxSpec(key="held", epoch=1))
        for command in ("echo hi", "ls -l / | wc -l"):
            held: list[float] = []
            for number in range(COMMANDS):
                began = time.perf_counter()
                await sandbox.shell(ShellRequest(call_id=f"{command}{number}", epoch=1, command=command))
                held.append(time.perf_counter() - began)
            tell(f"held shell, {command!r}", held)
        await sandbox.destroy()
        digest = await fill(memory)
        began = time.perf_counter()
        sandbox = await provider.create(SandboxSpec(key="tree", epoch=1, tree_digest=digest))
        tell("restore of 10,000 files, 200 MB, from memory", [time.perf_counter() - began])
        previous = Tree(entries=())
        for what in ("first tree, hashing everything", "tree, nothing changed", "tree, one file changed"):
            if "one file" in what:
                command = "echo changed > d7/f7"
                await sandbox.shell(ShellRequest(call_id="change", epoch=1, command=command))
            began = time.perf_counter()
            previous = await sandbox.tree()
            tell(what, [time.perf_counter() - began])
        began = time.perf_counter()
        count = 0
        async for _ in sandbox.fetch("/workspace", [e.path for e in previous.entries if e.kind == "file"]):
            count += 1
        tell(f"fetch of {count} files", [time.perf_counter() - began])
        await sandbox.destroy()
    async with make(folder / "run", disk, ids) as provider:
        digest = await fill(disk)
        began = time.perf_counter()
        sandbox = await provider.create(SandboxSpec(key="tree", epoch=1, tree_digest=digest))
        tell("restore of 10,000 files, 200 MB, from blobs on disk", [time.perf_counter() - began])
        before = Tree(entries=())
        began = time.perf_counter()
        before = await sandbox.tree()
        before_seconds = time.perf_counter() - began
        await sandbox.destroy()
        sandbox = await provider.create(SandboxSpec(key="again", epoch=1, tree_digest=digest))
        began = time.perf_counter()
        await sandbox.tree(previous=before)
        tell("first tree with `previous`", [time.perf_counter() - began])
        tell("(without)", [before_seconds])
        await sandbox.destroy()


async def fill(blobs: MemoryBlobs | DirectoryBlobStore) -> str:
    """A tree of 10,000 different files."""
    entries: list[TreeEntry] = []
    for folder in range(FOLDERS):
        entries.append(TreeEntry(path=f"d{folder}", kind="dir", mode=0o755, mtime_ns=10**18))
        contents = [os.urandom(FILE_BYTES) for _ in range(FILES_EACH)]
        digests = await asyncio.gather(*(blobs.put(content) for content in contents))
        entries += [
            TreeEntry(
                path=f"d{folder}/f{number}",
                kind="file",
                size=FILE_BYTES,
                mtime_ns=10**18,
                sha256=digest,
            )
            for number, digest in enumerate(digests)
        ]
    return await blobs.put(Tree(entries=tuple(sorted(entries, key=lambda entry: entry.path))).encode())


def tell(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    p95 = ordered[int(len(ordered) * 0.95)] if len(ordered) > 1 else ordered[0]
    print(f"{what:55} p50 {statistics.median(ordered) * 1000:9.2f} ms   p95 {p95 * 1000:9.2f} ms")


if __name__ == "__main__":
    asyncio.run(main())
