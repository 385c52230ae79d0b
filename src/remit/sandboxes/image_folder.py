"""Folders of images: made once, used by any number of servers, and removed when nobody does.

Who makes or uses one holds a shared lock on the folder itself, which ends with its process; who removes one takes the
exclusive lock first, without waiting. When it was last taken into use is its time of change.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from remit.sandboxes.folders import LEFTOVER_SECONDS, remove_tree
from remit.values import Collected

UNUSED_SECONDS = 14 * 86_400.0
"""An image that no server has taken into use for so long is removed."""


class ImageFolder:
    """Blocking, safe in any thread and in several processes at once."""

    def __init__(
        self,
        path: Path,
        *,
        unused_seconds: float = UNUSED_SECONDS,
        leftover_seconds: float = LEFTOVER_SECONDS,
    ) -> None:
        self.path = path
        self._unused_seconds = unused_seconds
        self._leftover_seconds = leftover_seconds
        self._locks: dict[str, int] = {}
        self._taking = threading.Lock()

    def use(self, name: str) -> Path | None:
        """The folder with this name, kept until `close`; None when there is none."""
        folder = self.path / name
        with self._taking:
            if name in self._locks:
                return folder
            try:
                lock = _locked(folder, fcntl.LOCK_SH)
            except FileNotFoundError:
                return None
            if not _is_at(lock, folder):  # it was being removed
                os.close(lock)
                return None
            os.utime(lock)
            self._locks[name] = lock
            return folder

    @contextmanager
    def making(self, name: str) -> Generator[Path]:
        """A new folder that gets this name at the end of the block, unless another process was first."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o755)
        new = self.path / f".new-{uuid.uuid4().hex}"
        new.mkdir(mode=0o755)
        lock = _locked(new, fcntl.LOCK_SH)
        try:
            yield new
            try:
                new.rename(self.path / name)
            except OSError:
                if not (self.path / name).exists():
                    raise
        finally:
            if new.exists():
                remove_tree(new)
            os.close(lock)

    def collect(self) -> Collected:
        """Remove what nobody uses and nobody has used for long, and what dead processes left half made."""
        count = size_bytes = 0
        for folder in self._folders():
            freed = self._remove_if_unused(folder)
            if freed is not None:
                count, size_bytes = count + 1, size_bytes + freed
        return Collected(what="images that nobody uses", count=count, size_bytes=size_bytes)

    def look(self) -> tuple[int, int]:
        """Return how many folders there are, and how large they are together."""
        sizes = [_size_of(folder) for folder in self._folders()]
        return len(sizes), sum(sizes)

    def close(self) -> None:
        """Use nothing any more."""
        with self._taking:
            for lock in self._locks.values():
                os.close(lock)
            self._locks.clear()

    def _folders(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.is_dir()] if self.path.is_dir() else []

    def _remove_if_unused(self, folder: Path) -> int | None:
        is_leftover = folder.name.startswith(".")
        try:
            found = folder.stat()
            age_seconds = time.time() - (found.st_ctime if is_leftover else found.st_mtime)
            if age_seconds < (self._leftover_seconds if is_leftover else self._unused_seconds):
                return None
            lock = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return None  # somebody else removed it, or uses it
        try:
            size_bytes = _size_of(folder)
            doomed = self.path / f".old-{uuid.uuid4().hex}"
            folder.rename(doomed)  # half of an image must not be found under its name, should we die here
            remove_tree(doomed)
            return size_bytes
        finally:
            os.close(lock)


def _locked(folder: Path, how: int) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_at(descriptor: int, folder: Path) -> bool:
    """Whether the folder with this name is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _size_of(folder: Path) -> int:
    return sum(
        os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(folder) for name in names
    )
