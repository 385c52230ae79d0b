"""Exclusive ownership of a data folder, proven by an OS lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from remit.errors import DataFolderBusy, InvalidRequest
from remit.ownership import LOCK_FILE, SOCKET_FILE


class DataFolderLock:
    """Whoever holds it knows that the former owner is dead, however it died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Make the folder if need be (readable by its owner only) and lock it. Raises DataFolderBusy,
        InvalidRequest where that cannot be."""
        assert self._descriptor is None, "acquired already"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidRequest(
                f"The data folder {str(self._folder)!r} cannot be used: {error.strerror}. Give another with --data."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Said for people who look for the owner; that it lives, the lock alone proves, on a full disk too.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except BlockingIOError as error:
            pid = _owner(descriptor)
            os.close(descriptor)
            raise DataFolderBusy(
                f"Another process{f' (pid {pid})' if pid else ''} owns the data folder {str(self._folder)!r}. Use its "
                f"API at {str(self._folder / SOCKET_FILE)!r}, or stop it first.",
                socket_path=str(self._folder / SOCKET_FILE),
                pid=pid,
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def is_of_the_folder(self) -> bool:
        """Return whether the folder is still there, and is the one that was locked."""
        assert self._descriptor is not None, "held"
        try:
            there = (self._folder / LOCK_FILE).stat()
        except OSError:
            return False
        held = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def release(self) -> None:
        """Let go. Without effect when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> DataFolderLock:
        self.acquire()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _owner(descriptor: int) -> int | None:
    """The process that wrote itself into the lock's file; None when it is only just starting."""
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else None
