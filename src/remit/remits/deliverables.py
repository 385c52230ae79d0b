"""Deliverables of a remit: the files that changed, and for a git input a patch and a bundle with a branch."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator

from remit.catalog.owned_blobs import BlobPuts
from remit.interfaces import BlobReader, SandboxProvider
from remit.remits.changes import Changes, changes_between
from remit.remits.events import ChangedFile, ChangedFolder, DeliverableFile
from remit.remits.git_files import GitInput, GitWork
from remit.values import Tree, Value


class Handover(Value, frozen=True, kw_only=True):
    """The deliverables that are listed in `remit.deliverables_ready`."""

    changed: tuple[ChangedFile, ...]
    folders: tuple[ChangedFolder, ...] = ()
    files: tuple[DeliverableFile, ...]
    notes: tuple[str, ...] = ()


async def hand_over(
    *,
    blobs: BlobReader,
    puts: BlobPuts,
    sandboxes: SandboxProvider,
    base: Tree,
    result: Tree,
    git: GitInput | None,
) -> Handover:
    """Compare, and store every deliverable as a blob of who keeps."""
    if git is None:
        return await _handed(blobs, puts, changes_between(base, result, frozenset()), result)
    work = GitWork(blobs, puts, git, base, result)
    try:
        changes = changes_between(base, result, await work.ignored(sandboxes))
        files, notes = await work.files(changes.files)
    finally:
        await work.close()
    return await _handed(blobs, puts, changes, result, files, notes)


async def _handed(
    blobs: BlobReader,
    puts: BlobPuts,
    changes: Changes,
    result: Tree,
    files: tuple[DeliverableFile, ...] = (),
    notes: tuple[str, ...] = (),
) -> Handover:
    sizes = {entry.path: entry.size for entry in result.entries}
    tar = await write_tar(blobs, puts, changes.files, sizes)
    return Handover(
        changed=changes.files,
        folders=changes.folders,
        files=(tar, *files),
        notes=(*notes, *changes.notes),
    )


async def write_tar(
    blobs: BlobReader, puts: BlobPuts, changed: tuple[ChangedFile, ...], sizes: dict[str, int]
) -> DeliverableFile:
    """Store `files.tar` of the added and modified files: the same changes always give the same bytes."""
    written = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal written
        async for piece in _tar_pieces(blobs, changed, sizes):
            written += len(piece)
            yield piece

    digest = await puts.put(counted())
    return DeliverableFile(name="files.tar", size_bytes=written, sha256=digest)


async def _tar_pieces(
    blobs: BlobReader, changed: tuple[ChangedFile, ...], sizes: dict[str, int]
) -> AsyncIterator[bytes]:
    for file in changed:
        if file.kind == "removed":
            continue
        header = tarfile.TarInfo(file.path)
        header.mode = file.mode or 0o644
        if file.target is not None:
            header.type = tarfile.SYMTYPE
            header.linkname = file.target
        else:
            header.size = sizes[file.path]
        yield header.tobuf(format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape")
        if file.target is None:
            assert file.sha256 is not None, "a regular file has a hash"
            async for piece in blobs.stream(file.sha256):
                yield piece
            yield b"\0" * (-header.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
