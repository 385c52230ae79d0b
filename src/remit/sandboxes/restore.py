"""Writing a tree from blobs into a fresh folder, before any process of the sandbox exists."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import anyio
import msgspec

from remit.errors import BlobMissing, SandboxUnavailable
from remit.interfaces import BlobReader
from remit.sandboxes.threads import to_its_end
from remit.values import ReadOnlyTree, Tree, TreeEntry

_BATCH_FILES = 256
_BATCH_BYTES = 16 << 20
_WRITERS = 3
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def without(tree: Tree, mounts: Sequence[ReadOnlyTree]) -> Tree:
    """The tree without what lies at or below a read-only mount: a planted symlink there could lead the mount astray.

    Raises SandboxUnavailable when a folder above the mount is something else.
    """
    entries = tree.entries
    for mount in mounts:
        if not mount.path.startswith("/workspace/"):
            continue
        inside = mount.path.removeprefix("/workspace/")
        above = _ancestors(inside)
        if any(entry.path in above and entry.kind != "dir" for entry in entries):
            raise SandboxUnavailable(f"nothing can be mounted at {mount.path!r}: a folder above it is none")
        entries = tuple(
            entry for entry in entries if entry.path != inside and not entry.path.startswith(inside + "/")
        )
    return msgspec.structs.replace(tree, entries=entries)


async def write_tree(blobs: BlobReader, tree: Tree, folder: Path, owner: tuple[int, int] | None) -> None:
    """Make the entries of `tree` below `folder` (empty, ours). With `owner` (uid, gid) everything is given to it.

    Raises BlobMissing, SandboxUnavailable (the disk is full, an entry's path is no relative path).
    """
    _check_paths(tree)
    links = _links(tree)
    others = {path for _, paths in links for path in paths}
    files = [entry for entry in tree.entries if entry.kind == "file" and entry.path not in others]
    try:
        await to_its_end(_write_folders, folder, tree.entries)
        batches = iter(_batches(files))
        try:
            # Not asyncio's: where a task of it fails it leaves the caller's own task marked as cancelled (Python 3.11 and
            # 3.12), and the caller's cancel scopes then take the error for a cancellation.
            async with anyio.create_task_group() as group:
                for _ in range(_WRITERS):
                    group.start_soon(_write_batches, blobs, folder, batches, owner)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        await to_its_end(_finish, folder, tree.entries, links, owner)
    except OSError as error:
        raise SandboxUnavailable(f"the working tree cannot be written: {error}") from error


def _links(tree: Tree) -> list[tuple[str, list[str]]]:
    """For each file with several names: its first path, and the others that are there and are the same."""
    if not tree.links:
        return []
    files = {entry.path: entry for entry in tree.entries if entry.kind == "file"}
    found: list[tuple[str, list[str]]] = []
    taken: set[str] = set()
    for paths in tree.links:
        present = [path for path in dict.fromkeys(paths) if path in files and path not in taken]
        if not present:
            continue
        first = files[present[0]]
        same = [
            path for path in present[1:] if msgspec.structs.replace(files[path], path=first.path) == first
        ]
        taken.update((first.path, *same))
        if same:
            found.append((first.path, same))
    return found


async def _write_batches(
    blobs: BlobReader, folder: Path, batches: Iterator[list[TreeEntry]], owner: tuple[int, int] | None
) -> None:
    """Take batches until there are none: one writer reads blobs while another's thread writes files."""
    for batch in batches:
        if len(batch) == 1 and batch[0].size > _BATCH_BYTES:
            await _write_large(blobs, folder, batch[0], owner)
            continue
        digests = list(dict.fromkeys(_digest(entry) for entry in batch))
        contents = await asyncio.gather(*(blobs.read(digest) for digest in digests))
        found = dict(zip(digests, contents, strict=True))
        await to_its_end(_write_files, folder, batch, found, owner)


def _check_paths(tree: Tree) -> None:
    for entry in tree.entries:
        if any(part in ("", ".", "..") for part in entry.path.split("/")) or "\0" in entry.path:
            raise SandboxUnavailable(f"the tree has the path {entry.path!r}, which is not a relative path")


def _batches(files: Sequence[TreeEntry]) -> list[list[TreeEntry]]:
    batches: list[list[TreeEntry]] = []
    size = 0
    for entry in files:
        if not batches or len(batches[-1]) >= _BATCH_FILES or size + entry.size > _BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(entry)
        size += entry.size
    return batches


def _digest(entry: TreeEntry) -> str:
    if entry.sha256 is None:
        raise BlobMissing(f"the tree's file {entry.path!r} has no digest")
    return entry.sha256


def _write_folders(folder: Path, entries: Sequence[TreeEntry]) -> None:
    for entry in entries:  # sorted, so parents come first
        if entry.kind == "dir":
            os.makedirs(folder / entry.path, mode=0o700, exist_ok=True)
        elif "/" in entry.path:
            os.makedirs((folder / entry.path).parent, mode=0o755, exist_ok=True)


class _Parents:
    """The descriptor of the parent folder at hand: entries come sorted, so neighbours share it.

    No symlink exists yet while files are written (they are made last), so no path can lead out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: str | None = None
        self._descriptor = -1

    def open(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        if parent != self._path:
            self.close()
            self._descriptor = os.open(self._folder / parent, _FOLDER_FLAGS)
            self._path = parent
        return self._descriptor, name

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._path = None


def _create(parents: _Parents, path: str) -> int:
    parent, name = parents.open(path)
    return os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
    )


def _seal(descriptor: int, entry: TreeEntry, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        os.fchown(descriptor, *owner)
    os.fchmod(descriptor, entry.mode & 0o777)
    os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))


def _write_files(
    folder: Path,
    entries: Sequence[TreeEntry],
    contents: Mapping[str, bytes],
    owner: tuple[int, int] | None,
) -> None:
    parents = _Parents(folder)
    try:
        for entry in entries:
            descriptor = _create(parents, entry.path)
            try:
                view = memoryview(contents[_digest(entry)])
                while view:
                    view = view[os.write(descriptor, view) :]
                _seal(descriptor, entry, owner)
            finally:
                os.close(descriptor)
    finally:
        parents.close()


async def _write_large(
    blobs: BlobReader, folder: Path, entry: TreeEntry, owner: tuple[int, int] | None
) -> None:
    parents = _Parents(folder)
    descriptor = await to_its_end(_create, parents, entry.path)
    try:
        async for piece in blobs.stream(_digest(entry)):
            await to_its_end(_write_all, descriptor, piece)
        _seal(descriptor, entry, owner)
    finally:
        os.close(descriptor)
        parents.close()


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _finish(
    folder: Path,
    entries: Sequence[TreeEntry],
    links: Sequence[tuple[str, Sequence[str]]],
    owner: tuple[int, int] | None,
) -> None:
    """Further names of files; symlinks, verbatim; then folders' owners, modes and times, children before parents."""
    for first, others in links:
        for other in others:
            os.link(folder / first, folder / other, follow_symlinks=False)
    parents = _Parents(folder)
    made = {""}
    try:
        for entry in entries:
            made.update(_ancestors(entry.path))
            if entry.kind != "symlink":
                continue
            assert entry.target is not None
            parent, name = parents.open(entry.path)
            os.symlink(entry.target, name, dir_fd=parent)
            if owner is not None:
                os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
    finally:
        parents.close()
    told = {entry.path: entry for entry in entries if entry.kind == "dir"}
    for path in sorted(made | told.keys(), reverse=True):
        descriptor = os.open(folder / path, _FOLDER_FLAGS)
        try:
            entry = told.get(path)
            if entry is not None:
                _seal(descriptor, entry, owner)
            elif owner is not None:
                os.fchown(descriptor, *owner)
        finally:
            os.close(descriptor)


def _ancestors(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
