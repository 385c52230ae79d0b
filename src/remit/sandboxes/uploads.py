"""The files that a session was given, in a folder of each sandbox's own: read-only inside, and changed from outside while
everything in the sandbox goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from remit.interfaces import BlobReader
from remit.sandboxes.restore import read_tree, write_tree
from remit.sandboxes.threads import to_its_end
from remit.values import UPLOADS, ReadOnlyTree


def uploads_of(mounts: Sequence[ReadOnlyTree]) -> str | None:
    """The digest of the tree that is to stand there."""
    return next((mount.tree_digest for mount in mounts if mount.path == UPLOADS), None)


async def fill_uploads(blobs: BlobReader, digest: str | None, folder: Path) -> None:
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
