"""Files of a sandbox as blobs: fetched and stored in batches, under one owner's name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remit.catalog.owned_blobs import BlobPuts
from remit.interfaces import Sandbox
from remit.values import LeftOut, Tree, Value

FETCH_BATCH_BYTES = 16 << 20


class StoredFile(Value, frozen=True, kw_only=True):
    """A file as it was fetched."""

    sha256: str
    size: int


class StoredTree(Value, frozen=True, kw_only=True):
    """A tree whose files are all stored, and how much of it was new."""

    tree: Tree
    size_bytes: int


async def store_files(
    puts: BlobPuts, sandbox: Sandbox, root: str, paths: Sequence[str]
) -> dict[str, StoredFile]:
    """Store files by relative path; one that vanished is left out."""
    stored: dict[str, StoredFile] = {}
    batch: list[tuple[str, bytes]] = []
    batch_bytes = 0

    async def flush() -> None:
        digests = await puts.put_many([content for _, content in batch])
        for (path, content), sha256 in zip(batch, digests, strict=True):
            stored[path] = StoredFile(sha256=sha256, size=len(content))

    async for path, content in sandbox.fetch(root, paths):
        batch.append((path, content))
        batch_bytes += len(content)
        if batch_bytes >= FETCH_BATCH_BYTES:
            await flush()
            batch, batch_bytes = [], 0
    if batch:
        await flush()
    return stored


async def store_changes(
    puts: BlobPuts, sandbox: Sandbox, root: str, tree: Tree, previous: Tree | None
) -> StoredTree:
    """Store what the last tree did not have. A file that changes while it is fetched is taken as fetched; one that
    vanishes is left out, and named where it was there before: it is not to be taken for removed."""
    known = {entry.sha256 for entry in previous.entries} if previous is not None else set[str | None]()
    wanted = {
        entry.path: entry for entry in tree.entries if entry.kind == "file" and entry.sha256 not in known
    }
    stored = await store_files(puts, sandbox, root, list(wanted))
    kept = [
        msgspec.structs.replace(entry, sha256=file.sha256, size=file.size, mtime_ns=0)
        if (file := stored.get(entry.path)) is not None and file.sha256 != entry.sha256
        else entry
        for entry in tree.entries
        if entry.path not in wanted or entry.path in stored
    ]
    before = {entry.path for entry in previous.entries} if previous is not None else wanted.keys()
    unread = tuple(
        LeftOut(path=path, why="it was gone, or shut, when it was to be read")
        for path in wanted
        if path not in stored and path in before
    )
    whole = msgspec.structs.replace(tree, entries=tuple(kept), left_out=(*tree.left_out, *unread))
    return StoredTree(tree=whole, size_bytes=sum(file.size for file in stored.values()))
