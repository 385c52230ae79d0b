"""The trees of a sandbox in memory."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Mapping

from remit.catalog.trees import read_tree
from remit.errors import BlobMissing, SandboxRefused
from remit.interfaces import BlobReader
from remit.values import GROUND_FILES, MEMORY, UPLOADS, TreeEntry

ROOTS = ("/workspace", "/mnt/session/outputs", UPLOADS, MEMORY, "/tmp")


async def restore(
    blobs: BlobReader, root: str, digest: str | None, files: dict[str, TreeEntry], contents: dict[str, bytes]
) -> None:
    """Put the files of a tree below `root`. Raises BlobMissing."""
    tree = await read_tree(blobs, digest)
    for entry in tree.entries:
        path = f"{root}/{entry.path}"
        files[path] = entry
        if entry.kind == "file":
            if entry.sha256 is None:
                raise BlobMissing(f"{entry.path!r} has no content")
            contents[path] = await blobs.read(entry.sha256)


async def replace(
    blobs: BlobReader, root: str, digest: str | None, files: dict[str, TreeEntry], contents: dict[str, bytes]
) -> None:
    """Have the files of this tree below `root`, and no others."""
    for path in [path for path in files if path.startswith(f"{root}/")]:
        files.pop(path)
        contents.pop(path, None)
    await restore(blobs, root, digest, files, contents)


def require_inside(path: str) -> None:
    """Raise SandboxRefused for a path that a sandbox's files cannot have."""
    if not path.startswith("/"):
        raise SandboxRefused(f"{path!r} is not absolute")
    roots = (*ROOTS, GROUND_FILES)
    if posixpath.normpath(path) != path or not any(path == r or path.startswith(f"{r}/") for r in roots):
        raise SandboxRefused(f"{path!r} is outside of {', '.join(ROOTS)}")


def inside(path: str) -> str:
    """Return the path as a tree of its root has it."""
    return next(path.removeprefix(f"{root}/") for root in ROOTS if path.startswith(f"{root}/"))


def folders_above(path: str) -> list[str]:
    """Return what lies between the root and the file."""
    folders, folder = list[str](), posixpath.dirname(path)
    while folder not in ROOTS and folder != "/":
        folders.append(folder)
        folder = posixpath.dirname(folder)
    return folders


def make_way(
    path: str, expected_sha256: str | None, files: dict[str, TreeEntry], contents: dict[str, bytes]
) -> bool:
    """Take the file away; return whether it was as expected (None: none, but perhaps empty folders)."""
    is_taken = any(one.startswith(f"{path}/") or path.startswith(f"{one}/") for one in contents)
    entry = files.get(path)
    if is_taken or (entry.sha256 if entry is not None else None) != expected_sha256:
        return False
    for one in [one for one in files if f"{one}/".startswith(f"{path}/")]:
        files.pop(one)
    return True


def matches(contents: Mapping[str, bytes], path: str, wanted: re.Pattern[str], include: str) -> list[str]:
    """Find the lines of text files at or below a path, as `path:number:line`, sorted."""
    found: list[str] = []
    for one, content in sorted(contents.items()):
        is_wanted = one == path or one.startswith(f"{path}/")
        if not is_wanted or b"\0" in content or not fnmatch.fnmatch(one, include):
            continue
        lines = content.decode(errors="replace").splitlines()
        found += [f"{one}:{number}:{line}" for number, line in enumerate(lines, 1) if wanted.search(line)]
    return found
