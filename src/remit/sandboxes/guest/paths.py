"""Paths as the host names them, and where they really are.

In a bubblewrap sandbox both are the same. An unsafe-local sandbox has no mounts: there `/workspace` and
`/mnt/session/outputs` stand for folders elsewhere, and nothing outside the roots is touched by file operations.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Sequence


class RefusedRequest(Exception):
    """The request itself cannot be served; the text is for the model."""


class Paths:
    """Translates, and refuses what lies outside the roots."""

    def __init__(self, prefixes: Sequence[Sequence[str]], roots: Sequence[str]) -> None:
        self._prefixes = [(inside, os.path.realpath(real)) for inside, real in prefixes]
        self._roots = [os.path.realpath(root) for root in roots]
        self._kernel_devices = {
            os.stat(path).st_dev for path in ("/proc", "/dev", "/sys") if os.path.isdir(path)
        } - {os.stat("/").st_dev}

    def real(self, path: str) -> str:
        """The real path of an inside path, with symlinks resolved. Raises Refused."""
        if not path.startswith("/"):
            raise RefusedRequest(f"{path!r} is not an absolute path; paths start with /workspace")
        if "\0" in path:
            raise RefusedRequest("a path may not hold a NUL byte")
        translated = self._translated(os.path.normpath(path))
        try:
            os.stat(translated)
        except OSError as error:  # realpath would follow a chain of any length, one call inside another
            if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
                raise RefusedRequest(f"{path}: {os.strerror(error.errno)}") from None
        resolved = os.path.realpath(translated)
        if not any(_is_within(resolved, root) for root in self._roots):
            raise RefusedRequest(f"{path}: outside the roots of this sandbox")
        return resolved

    def unlinked(self, path: str) -> str | None:
        """The real path of an inside path, the same with and without links; None where a link leads there. Raises Refused."""
        translated = self._translated(os.path.normpath(path))
        return translated if self.real(path) == translated else None

    def inside(self, path: str) -> str:
        """Return the inside path of a real one, for results."""
        for inside, real in self._prefixes:
            if _is_within(path, real):
                return inside + path[len(real) :]
        return path

    def open_regular(self, path: str) -> tuple[int, os.stat_result]:
        """A descriptor of a regular file. Raises Refused for anything else (a fifo would block, /proc would leak)."""
        try:
            descriptor = os.open(self.real(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise RefusedRequest(f"{path}: no such file") from None
        except OSError as error:
            raise RefusedRequest(f"{path}: {os.strerror(error.errno or 0)}") from None
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_dev not in self._kernel_devices:
            return descriptor, found
        os.close(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise RefusedRequest(f"{path}: is a directory")
        raise RefusedRequest(f"{path}: not a regular file")

    def _translated(self, path: str) -> str:
        for inside, real in self._prefixes:
            if _is_within(path, inside):
                return real + path[len(inside) :]
        return path


def _is_within(path: str, root: str) -> bool:
    return path == root or root == "/" or path.startswith(root + "/")
