"""Trees that are mounted read-only: written once per digest into the runtime folder, shared by its sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from weakref import WeakValueDictionary

from remit.catalog.trees import read_tree
from remit.errors import SandboxUnavailable
from remit.interfaces import BlobReader
from remit.sandboxes.folders import RuntimeFolder, remove_tree
from remit.sandboxes.restore import write_tree
from remit.values import ReadOnlyTree

HOSTED_WORKSPACE = "/mnt/user"
"""Where programs for hosted sandboxes keep what they work on: here another name for the working tree."""

UNUSED_MAX = 32
"""Trees that no sandbox uses now and that are kept as folders for the next one."""
KEPT_MAX = 8
KEPT_SECONDS = 7 * 86_400.0
"""Folders that stay for the next server, and for how long at most."""
_KEPT = ".kept-mounts"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def part_of(mount: ReadOnlyTree, folder: Path) -> Path:
    """Return the part of a tree's folder that is mounted. Raises SandboxUnavailable for a place that none can
    have, and for a part that leads out of the tree: what is bound is bound as the host sees it."""
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
    """Return the links that stand at, above and below none of the taken places, nor one another's."""
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
        folder.before_removal(self._put_aside)

    async def mounted(self, mount: ReadOnlyTree, *, user: Path) -> Path:
        """Return what is bound in the sandbox whose folder `user` is. Raises as `folder` and `part_of`."""
        found = await self.folder(mount.tree_digest, user=user, outlives_server=mount.outlives_server)
        return part_of(mount, found)

    async def folder(self, digest: str, *, user: Path, outlives_server: bool = False) -> Path:
        """The tree as a folder, which stays as long as the folder `user` (of a sandbox). Raises BlobMissing,
        SandboxUnavailable."""
        async with self._lock(digest):
            made = self._made.pop(digest, None)
            if made is None:
                taken = await asyncio.to_thread(self._take_up, digest) if outlives_server else None
                made = _Made(taken or await self._make(digest))
            made.outlives_server = made.outlives_server or outlives_server
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

    def _take_up(self, digest: str) -> Path | None:
        """The folder that another server has put aside, as ours; None: there is none. One server alone gets it."""
        own = self._folder.open()
        target = own / f"mount-{digest}"
        try:
            (own.parent / _KEPT / _kept_name(digest)).rename(target)
        except OSError:
            return None
        return target

    def _put_aside(self, top: Path, own: Path) -> None:
        """Leave the newest of what may stay for the next server; one that is killed leaves nothing. What might not have
        reached the disk before the machine stopped is told by the boot that it was made in."""
        kept = top / _KEPT
        digests = [digest for digest, made in self._made.items() if made.outlives_server]
        try:
            if digests:
                kept.mkdir(mode=0o711, exist_ok=True)
            for digest in digests[-KEPT_MAX:]:
                target = kept / _kept_name(digest)
                if not target.exists():
                    self._made[digest].folder.rename(target)
                os.utime(target)
            remove_old_mounts(top)
        except OSError:
            return  # it is made again

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
        self.outlives_server = False

    def is_used(self) -> bool:
        """A sandbox's folder goes with the sandbox."""
        self.users = [user for user in self.users if user.exists()]
        return bool(self.users)


def remove_old_mounts(top: Path) -> int:
    """Remove folders that servers have put aside below `top`: those of another boot, the old ones, and all
    but the newest few; return how many that were. Raises OSError."""
    kept = top / _KEPT
    if not kept.is_dir():
        return 0
    removed = 0
    now, boot = time.time(), _kept_name("")
    found = sorted(kept.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for count, path in enumerate(found):
        is_fresh = path.name.endswith(boot) and now - path.stat().st_mtime < KEPT_SECONDS
        if count >= KEPT_MAX or not is_fresh:
            gone = kept / f"gone-{uuid.uuid4().hex}"  # under this name no server takes up half of it
            path.rename(gone)
            remove_tree(gone)
            removed += 1
    with contextlib.suppress(OSError):  # some are left
        kept.rmdir()
    return removed


def _kept_name(digest: str) -> str:
    return f"{digest}-{_BOOT_ID.read_text().strip()}"


def _open_up(folder: Path) -> None:
    """The sandbox's user is a stranger here: what the owner could read, it must be able to read."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode & 0o755 | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
