"""Trees that are mounted read-only: written once per digest into the runtime folder, shared by its sandboxes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from weakref import WeakValueDictionary

from remit.errors import SandboxUnavailable
from remit.interfaces import BlobReader
from remit.sandboxes.folders import RuntimeFolder, remove_tree
from remit.sandboxes.restore import read_tree, write_tree
from remit.values import ReadOnlyTree

HOSTED_WORKSPACE = "/mnt/user"
"""Where programs for hosted sandboxes keep what they work on: here another name for the working tree."""
UPLOADS = "/mnt/session/uploads"
"""Where the files of a session stand: a folder in every sandbox, with files or without."""

UNUSED_MAX = 32
"""Trees that no sandbox uses now and that are kept as folders for the next one."""


def part_of(mount: ReadOnlyTree, folder: Path) -> Path:
    """What of a tree's folder is mounted. Raises SandboxUnavailable for a place that none can have, and for a part that
    leads out of the tree: what is bound is bound as the host sees it."""
    path = mount.path
    if os.path.normpath(path) != path or not path.startswith(("/workspace/", "/mnt/")):
        raise SandboxUnavailable(f"a read-only tree goes below /workspace or /mnt, not to {path!r}")
    for name in mount.scratch:
        if os.path.normpath(name) != name or name.startswith(("/", "..")):
            raise SandboxUnavailable(f"{name!r} is no folder of the read-only tree at {path!r}")
    if mount.part is None:
        return folder
    found = folder / mount.part
    if not found.exists() or os.path.realpath(found) != os.path.join(os.path.realpath(folder), mount.part):
        raise SandboxUnavailable(f"{mount.part!r} is no plain file or folder of the tree for {path!r}")
    return found


def free_links(links: Mapping[str, str], taken: Iterable[str]) -> dict[str, str]:
    """Those links that stand at, above and below none of the places that are taken already, nor at one another's."""
    found: dict[str, str] = {}
    occupied = list(taken)
    for path, target in sorted(links.items()):
        is_plain = path.startswith("/") and os.path.normpath(path) == path
        if is_plain and not any(_meet(path, one) for one in occupied):
            found[path] = target
            occupied.append(path)
    return found


def _meet(path: str, other: str) -> bool:
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


class MountCache:
    """Folders by tree digest. The sandboxes' user cannot write to them: the mount is read-only, and root's if it is."""

    def __init__(self, folder: RuntimeFolder, blobs: BlobReader, *, is_shared: bool) -> None:
        self._folder = folder
        self._blobs = blobs
        self._is_shared = is_shared
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._made: dict[str, _Made] = {}
        """The one that was asked for last stands last."""

    async def folder(self, digest: str, *, user: Path) -> Path:
        """The tree as a folder, which stays as long as the folder `user` (of a sandbox). Raises BlobMissing,
        SandboxUnavailable."""
        async with self._lock(digest):
            made = self._made.pop(digest, None)
            if made is None:
                made = _Made(await self._make(digest))
            made.users.append(user)
            self._made[digest] = made
        await self._remove_unused()
        return made.folder

    def _lock(self, digest: str) -> asyncio.Lock:
        return self._making.setdefault(digest, asyncio.Lock())

    async def _make(self, digest: str) -> Path:
        own = await asyncio.to_thread(self._folder.open)
        target = own / f"mount-{digest}"
        await asyncio.to_thread(target.mkdir, 0o755)
        try:
            await write_tree(self._blobs, await read_tree(self._blobs, digest), target, None)
            if self._is_shared:
                await asyncio.to_thread(_open_up, target)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(remove_tree, target))
            raise
        return target

    async def _remove_unused(self) -> None:
        """All but the last few that no sandbox uses."""
        unused = [digest for digest, made in self._made.items() if not made.is_used()]
        for digest in unused[:-UNUSED_MAX]:
            async with self._lock(digest):
                made = self._made.get(digest)
                if made is not None and not made.is_used():
                    del self._made[digest]
                    await asyncio.shield(asyncio.to_thread(remove_tree, made.folder))


class _Made:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.users: list[Path] = []

    def is_used(self) -> bool:
        """A sandbox's folder goes with the sandbox."""
        self.users = [user for user in self.users if user.exists()]
        return bool(self.users)


def _open_up(folder: Path) -> None:
    """The sandbox's user is a stranger here: what the owner could read, it must be able to read."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode & 0o755 | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
