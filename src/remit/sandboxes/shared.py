"""Shared folders of sandboxes: the files that a session was given, and its memory stores. Each sandbox has its own copy.
Those that are read-only inside are changed from here while everything goes on; into one that can be written inside, nobody
reaches from here once a program could have put a link there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from remit.catalog.trees import read_tree
from remit.interfaces import BlobReader
from remit.sandboxes.restore import write_tree
from remit.sandboxes.threads import to_its_end
from remit.values import UPLOADS, SandboxSpec, SharedFolder


def shared_folders(spec: SandboxSpec) -> Sequence[SharedFolder]:
    """Return the folders that this sandbox shares; none where its ground is fixed."""
    if spec.ground is not None:
        return ()
    uploads = next((mount.tree_digest for mount in spec.mounts if mount.path == UPLOADS), None)
    return (SharedFolder(path=UPLOADS, tree_digest=uploads), *spec.shared)


def shared_at(folder: Path, path: str) -> Path:
    """Return where the files of a shared folder are, in the sandbox's folder."""
    return folder / path[1:]


async def lay_shared(
    blobs: BlobReader, shared: SharedFolder, folder: Path, owner: tuple[int, int] | None
) -> None:
    """Fill a shared folder before anything runs. Raises BlobMissing, SandboxUnavailable."""
    target = shared_at(folder, shared.path)
    await to_its_end(target.parent.mkdir, parents=True, exist_ok=True)
    if not shared.is_writable:
        await replace_files(blobs, shared.tree_digest, target)
        return
    await to_its_end(target.mkdir, mode=0o755)
    if shared.tree_digest is not None:
        await write_tree(blobs, await read_tree(blobs, shared.tree_digest), target, owner)
    if owner is not None:
        await to_its_end(os.chown, target, *owner)


async def replace_files(blobs: BlobReader, digest: str | None, folder: Path) -> None:
    """Have exactly the files of this tree in the folder; the folder itself, which is mounted, stays. A file is there whole
    or not yet. Raises BlobMissing."""
    staged = folder.with_name(f"{folder.name}.next")
    await to_its_end(_make_anew, staged)
    try:
        paths: list[str] = []
        if digest is not None:
            tree = await read_tree(blobs, digest)
            paths = [entry.path for entry in tree.entries if entry.kind == "file"]
            await write_tree(blobs, tree, staged, None)
        await to_its_end(_take_over, staged, folder, paths)
    finally:
        await to_its_end(shutil.rmtree, staged, ignore_errors=True)


def _make_anew(staged: Path) -> None:
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(mode=0o700)


def _take_over(staged: Path, folder: Path, paths: Sequence[str]) -> None:
    folder.mkdir(exist_ok=True)
    _set_folder_modes(folder, 0o755)
    wanted = set(paths)
    for at, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(at, name)
            if str(path.relative_to(folder)) not in wanted:
                path.unlink()
        if at != str(folder) and not os.listdir(at):
            os.rmdir(at)
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / path, target)
    _set_folder_modes(folder, 0o555)


def _set_folder_modes(folder: Path, mode: int) -> None:
    for at, _, _ in os.walk(folder, topdown=mode & 0o200 != 0):
        os.chmod(at, mode)
