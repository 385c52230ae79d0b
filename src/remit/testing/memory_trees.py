"""The trees of a sandbox in memory."""

from __future__ import annotations

import posixpath

import msgspec

from remit.errors import BlobMissing
from remit.interfaces import BlobReader
from remit.values import UPLOADS, Tree, TreeEntry

ROOTS = ("/workspace", "/mnt/session/outputs", UPLOADS, "/tmp")


async def restore(
    blobs: BlobReader, root: str, digest: str | None, files: dict[str, TreeEntry], contents: dict[str, bytes]
) -> None:
    """Put the files of a tree below `root`. Raises BlobMissing."""
    if digest is None:
        return
    tree = msgspec.json.decode(await blobs.read(digest), type=Tree)
    for entry in tree.entries:
        path = f"{root}/{entry.path}"
        files[path] = entry
        if entry.kind == "file":
            if entry.sha256 is None:
                raise BlobMissing(f"{entry.path!r} has no content")
            contents[path] = await blobs.read(entry.sha256)


async def replace_uploads(
    blobs: BlobReader, digest: str | None, files: dict[str, TreeEntry], contents: dict[str, bytes]
) -> None:
    """Have the files of this tree at UPLOADS, and no others."""
    for path in [path for path in files if path.startswith(f"{UPLOADS}/")]:
        files.pop(path)
        contents.pop(path, None)
    await restore(blobs, UPLOADS, digest, files, contents)


def path_inside(path: str) -> str:
    """Relative to the root that it is below."""
    return next(path.removeprefix(f"{root}/") for root in ROOTS if path.startswith(f"{root}/"))


def folders_above(path: str) -> list[str]:
    """Between the root and the file."""
    folders, folder = list[str](), posixpath.dirname(path)
    while folder not in ROOTS and folder != "/":
        folders.append(folder)
        folder = posixpath.dirname(folder)
    return folders
