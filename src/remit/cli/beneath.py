"""A folder seen through descriptors of the folders below it: no symlink is ever followed, so nothing that
stands in the folder, and nothing that is put there meanwhile, leads out of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Generator
from pathlib import Path

from remit.client.folders.changes import LINK

FOLDER = "a folder"
OTHER = "neither a file nor a symlink"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Obstacle(OSError):
    """A part of the path is no folder."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path!r} {what}")
        self.path = path
        self.what = what


class Beneath:
    """Looks at what is below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def parent(self, path: str) -> Generator[tuple[int, str]]:
        """The folder that holds a path, open, and the last name. Raises Obstacle, FileNotFoundError, OSError."""
        *folders, name = path.split("/")
        assert name not in ("", ".", ".."), "paths were checked when they were read"
        current = os.open(self.folder, _FOLDER_FLAGS)
        try:
            for number, folder in enumerate(folders):
                try:
                    below = os.open(folder, _FOLDER_FLAGS, dir_fd=current)
                except OSError:
                    self._explain(current, folder, "/".join(folders[: number + 1]))
                    raise
                os.close(current)
                current = below
            yield current, name
        finally:
            os.close(current)

    def _explain(self, folder: int, name: str, path: str) -> None:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)  # gone: that is the reason
        if stat.S_ISLNK(found.st_mode):
            raise Obstacle(path, "is a symlink here")
        if not stat.S_ISDIR(found.st_mode):
            raise Obstacle(path, "is not a folder here")

    def status(self, path: str) -> os.stat_result | None:
        """Return the status of an entry; None if there is none, or something above it is no folder."""
        try:
            with self.parent(path) as (folder, name):
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, Obstacle):
            return None

    def target(self, path: str) -> str | None:
        """Return the target of the symlink at a path; None if there is none."""
        try:
            with self.parent(path) as (folder, name):
                return os.readlink(name, dir_fd=folder)
        except OSError:
            return None

    def digest(self, path: str) -> str | None:
        """Return a digest of the entry at a path: a file's hash, a symlink's target after LINK, FOLDER or
        OTHER; None if there is none. Raises OSError: it cannot be read."""
        try:
            with self.parent(path) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    return LINK + os.readlink(name, dir_fd=folder)
                if not stat.S_ISREG(found.st_mode):
                    return FOLDER if stat.S_ISDIR(found.st_mode) else OTHER
                with os.fdopen(os.open(name, _FILE_FLAGS, dir_fd=folder), "rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, Obstacle):
            return None

    def names(self, path: str) -> list[str]:
        """List the names in the folder at a path."""
        with self.parent(path) as (folder, name):
            below = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
            try:
                return sorted(os.listdir(below))
            finally:
                os.close(below)
