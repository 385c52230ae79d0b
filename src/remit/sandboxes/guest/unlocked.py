"""Opening files and folders of a tree whatever their permissions are, as their owner may.

Who lacks a permission on what is its own may give it to itself. It is taken back as soon as the descriptor is closed:
not before, for a folder without the execute bit can be opened and listed, but nothing in it can be looked up.
"""

from __future__ import annotations

import os
import stat

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HANDLE_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_NEEDS = 0o500
_FILE_NEEDS = 0o400


class Unlocked:
    """An open file or folder; closing it gives it its permissions back."""

    def __init__(self, name: str, flags: int, folder: int | None = None) -> None:
        """Raises OSError: gone, a symlink, or somebody else's and shut."""
        self._handle = -1
        self._lent = self._mode = 0
        if self._opens_as_it_is(name, flags, folder):
            return
        self._handle = os.open(name, _HANDLE_FLAGS, dir_fd=folder)
        try:
            found = os.fstat(self._handle)
            is_folder = stat.S_ISDIR(found.st_mode)
            if found.st_uid != os.geteuid() or not (is_folder or stat.S_ISREG(found.st_mode)):
                raise PermissionError(f"{name} may not be read")
            self._mode = found.st_mode & 0o7777
            self._lent = self._mode | (_FOLDER_NEEDS if is_folder else _FILE_NEEDS)
            os.chmod(f"/proc/self/fd/{self._handle}", self._lent)
            self.descriptor = os.open(name, flags, dir_fd=folder)
        except BaseException:
            self._give_back()
            raise

    def _opens_as_it_is(self, name: str, flags: int, folder: int | None) -> bool:
        try:
            self.descriptor = os.open(name, flags, dir_fd=folder)
        except PermissionError:
            return False
        if not flags & os.O_DIRECTORY or os.access(f"/proc/self/fd/{self.descriptor}", os.X_OK):
            return True
        os.close(self.descriptor)
        return False

    def close(self) -> None:
        """Close it. What was changed meanwhile by somebody else stays as they want it."""
        os.close(self.descriptor)
        self._give_back()

    def _give_back(self) -> None:
        if self._handle < 0:
            return
        try:
            if self._lent and os.fstat(self._handle).st_mode & 0o7777 == self._lent:
                os.chmod(f"/proc/self/fd/{self._handle}", self._mode)
        finally:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> int:
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        self.close()


def open_below(root: str, path: str, flags: int) -> Unlocked:
    """Open without following a symlink in any component; an empty path is the root itself. Raises OSError."""
    if not path:
        return Unlocked(root, flags)
    current = Unlocked(root, FOLDER_FLAGS)
    *folders, name = path.split("/")
    try:
        for part in (*folders, name):
            if part in ("", ".", ".."):
                raise OSError(f"{path!r} is not a relative path")
        for folder in folders:
            below = Unlocked(folder, FOLDER_FLAGS, current.descriptor)
            current.close()
            current = below
        return Unlocked(name, flags, current.descriptor)
    finally:
        current.close()
