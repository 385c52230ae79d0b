"""A disk for SQLite that keeps what `fsync` promises and nothing more.

A layer of files (an apsw VFS) over a folder. It remembers which writes were synced since, so that `survivor` can make
the disk as a new process finds it: after the death of a process all that was written, after a power loss what was
synced, and of the rest whatever the disk happened to get to, torn in the middle of a write perhaps. It can also be full,
and fail to sync. Nothing is ever really synced: that would cost time and prove nothing.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
from pathlib import Path

import apsw

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

_numbers = itertools.count()
_Write = tuple[int, bytes | None]
"""Where and what; None: everything from there on is cut off."""


class CrashDisk(apsw.VFS):
    """The file layer `name` over `folder`, which is made if need be. `unregister` it when its databases are closed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = f"crash-disk-{os.getpid()}-{next(_numbers)}"
        self.is_full = False
        """From now on nothing more can be written."""
        self.fails_to_sync = False
        """From now on no sync succeeds."""
        self.syncs = 0
        self._is_dead = False
        self._lock = threading.Lock()
        self._synced: dict[str, bytearray] = {}
        self._unsynced: dict[str, list[_Write]] = {}
        super().__init__(self.name, "")

    def die(self) -> None:
        """The process or the machine is dead: nothing it still tries reaches the disk."""
        with self._lock:
            self._is_dead = True

    def survivor(self, power_loss: random.Random | None = None) -> CrashDisk:
        """A new disk with what is left. With `power_loss`, that source decides what of the unsynced made it."""
        self.die()
        number = int(self.folder.name.rpartition("_")[2] or 0) + 1
        folder = self.folder.with_name(f"disk_{number}")
        left = CrashDisk(folder)
        with self._lock:
            for path, synced in self._synced.items():
                content = bytearray(synced)
                for write in self._reached(self._unsynced[path], power_loss):
                    _apply(content, write)
                (folder / Path(path).name).write_bytes(content)
        shutil.rmtree(self.folder)
        return left

    @staticmethod
    def _reached(writes: list[_Write], power_loss: random.Random | None) -> list[_Write]:
        if power_loss is None or not writes:
            return writes
        cut = power_loss.randrange(len(writes) + 1)
        # In any order, so some of the earlier ones may be missing as well.
        reached = [write for write in writes[:cut] if power_loss.random() < 0.8]
        if cut < len(writes):
            at, content = writes[cut]
            if content is not None:
                sectors = power_loss.randrange(len(content) // SECTOR_BYTES + 1)
                reached.append((at, content[: sectors * SECTOR_BYTES]))
        return reached

    # -------------------------------------------------------------------------------------------- for files

    def opened(self, path: str) -> None:
        """Called by a file: what is there counts as synced."""
        with self._lock:
            if path not in self._synced:
                file = Path(path)
                self._synced[path] = bytearray(file.read_bytes() if file.exists() else b"")
                self._unsynced[path] = []

    def written(self, path: str, write: _Write) -> None:
        """Called by a file before it writes. Raises what a disk raises."""
        with self._lock:
            self._require_alive()
            if self.is_full:
                raise apsw.FullError("no space left on device")
            self._unsynced[path].append(write)

    def synced(self, path: str) -> None:
        """Called by a file that shall be synced. After a failure nobody knows what of it is on the disk."""
        with self._lock:
            self._require_alive()
            if self.fails_to_sync:
                raise apsw.IOError("input/output error")
            self.syncs += 1
            for write in self._unsynced[path]:
                _apply(self._synced[path], write)
            self._unsynced[path].clear()

    def _require_alive(self) -> None:
        if self._is_dead:
            raise apsw.IOError("the process is dead")

    # --------------------------------------------------------------------------------------- as apsw calls it

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return apsw.VFSFile("", name, flags) if path is None else _File(self, name, path, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self._lock:
            if self._is_dead:
                return
            self._synced.pop(filename, None)
            self._unsynced.pop(filename, None)
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: CrashDisk, name: str | apsw.URIFilename | None, path: str, flags: list[int]
    ) -> None:
        self._disk = disk
        self._path = path
        super().__init__("", name, flags)
        disk.opened(path)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.written(self._path, (offset, bytes(data)))
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType] - a bare Buffer in apsw's stubs

    def xTruncate(self, newsize: int) -> None:
        self._disk.written(self._path, (newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.synced(self._path)


def _apply(content: bytearray, write: _Write) -> None:
    at, data = write
    if data is None:
        del content[at:]
        return
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data
