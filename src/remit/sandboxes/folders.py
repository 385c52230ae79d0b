"""The runtime folder: one folder per live server (locked), in it one per sandbox. Folders of dead servers are removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from remit.values import Collected

_LOCK = "lock"
_NEW = ".new-"
_OLD = ".old-"
LEFTOVER_SECONDS = 3_600.0
"""What is half made and not locked (its maker died) is removed when it is so old; younger, it may not be locked yet."""


class RuntimeFolder:
    """Makes and removes sandbox folders below `path`; blocking, so call it in a thread."""

    def __init__(self, path: Path, owner: str, *, leftover_seconds: float = LEFTOVER_SECONDS) -> None:
        self._leftover_seconds = leftover_seconds
        self._path = path
        self._owner = owner
        self._lock: int | None = None
        self._opening = threading.Lock()
        self._before_removal: list[Callable[[Path, Path], None]] = []

    def open(self) -> Path:
        """Take a folder of our own, and remove those that no live server has locked. Idempotent, from any thread."""
        with self._opening:
            return self._open()

    def _open(self) -> Path:
        own = self._path / self._owner
        if self._lock is not None:
            return own
        self._path.mkdir(parents=True, exist_ok=True, mode=0o711)
        new = self._path / (_NEW + self._owner)
        new.mkdir(mode=0o711)
        new.chmod(0o711)  # a sandbox's own user must be able to pass, and to list nothing
        self._lock = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        new.rename(own)
        self.collect()
        return own

    def collect(self) -> Collected:
        """Remove the folders of dead servers, and what is left of one that was removed or made when its process died."""
        found = list(self._path.iterdir()) if self._path.is_dir() else []
        count = sum(
            _remove_if_dead(folder) or _remove_if_left_over(folder, self._leftover_seconds)
            for folder in found
            if folder.name != self._owner
        )
        return Collected(what="sandbox folders of dead servers", count=count, size_bytes=0)

    def before_removal(self, put_aside: Callable[[Path, Path], None]) -> None:
        """Have this called when our folder is about to go, with the folder of all servers and ours."""
        self._before_removal.append(put_aside)

    def close(self) -> None:
        """Remove our folder and give up the lock."""
        if self._lock is not None:
            for put_aside in self._before_removal:
                put_aside(self._path, self._path / self._owner)
            remove_tree(self._path / self._owner)
            os.close(self._lock)
            self._lock = None
            with contextlib.suppress(OSError):  # others are there
                self._path.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a folder whatever is in it: no symlink is followed, no depth is too deep, no mode shuts us out."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove_below(parent, path.name)
    finally:
        os.close(parent)


def _remove_below(parent: int, name: str) -> None:
    """Empty and remove one folder. Folders found on the way are first moved up beside it, so that depth stays one."""
    waiting = [name]
    while waiting:
        current = waiting.pop()
        try:
            folder = _open_folder(parent, current)
        except FileNotFoundError:
            continue
        try:
            for entry in os.listdir(folder):
                found = os.stat(entry, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISDIR(found.st_mode):
                    os.unlink(entry, dir_fd=folder)
                    continue
                try:
                    os.rmdir(entry, dir_fd=folder)
                except OSError:
                    # A name that nobody has had: what an interrupted removal left must not be in the way.
                    moved = f"{_OLD}{uuid.uuid4().hex}"
                    _make_writable(folder, entry, found)
                    os.rename(entry, moved, src_dir_fd=folder, dst_dir_fd=parent)
                    waiting.append(moved)
        finally:
            os.close(folder)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(current, dir_fd=parent)


def _open_folder(parent: int, name: str) -> int:
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    _make_writable(parent, name, found)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _make_writable(parent: int, name: str, found: os.stat_result) -> None:
    if found.st_mode & 0o700 != 0o700 and found.st_uid == os.geteuid():
        # Nothing runs in the sandbox any more, so the name is still what was looked at.
        os.chmod(name, 0o700, dir_fd=parent)


def _remove_if_dead(folder: Path) -> bool:
    if folder.name.startswith("."):
        return False
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # not one of ours
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        remove_tree(folder)
        return True
    finally:
        os.close(lock)


def _remove_if_left_over(folder: Path, age_seconds: float) -> bool:
    """Half made, or half removed: either takes moments, not an hour."""
    is_half = folder.name.startswith((_NEW, _OLD))
    if not is_half or time.time() - folder.lstat().st_ctime < age_seconds:
        return False
    remove_tree(folder)
    return True
