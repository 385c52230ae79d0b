"""Output of a command, bounded: its head and its tail are kept, the middle is counted; a file may have it whole."""

from __future__ import annotations

import os

KEEP_FROM_BYTES = 100_000
"""Shorter output needs no file."""
KEPT_BYTES_MAX = 64 << 20
"""Of one command's output: the beginning. A sandbox's /tmp holds some of these."""


class KeptOutput:
    """A file that gets all of the output, once it is long, up to a limit."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self.size = 0

    @property
    def has_begun(self) -> bool:
        """Return whether output was given to the file."""
        return self._descriptor != -1

    def begin(self, data: bytes) -> None:
        """Make the file of what came so far."""
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, 0o644)
        except OSError:
            self._descriptor = -2  # its size says that nothing is there
        self.take(data)

    def take(self, data: bytes) -> None:
        """Write what there is room for. On a full disk the file stays as it is."""
        view = memoryview(data)[: KEPT_BYTES_MAX - self.size]
        try:
            while view and self._descriptor >= 0:
                written = os.write(self._descriptor, view)
                self.size += written
                view = view[written:]
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file: no more output comes."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -2


class Capture:
    """Takes any amount of bytes and holds at most about `limit`."""

    def __init__(self, limit: int, kept: KeptOutput | None = None) -> None:
        self.kept = kept
        self._keep_from = min(limit, KEEP_FROM_BYTES)
        self._head_max = limit - limit // 2
        self._tail_max = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """Take what was read."""
        if self.kept is not None:
            if self.kept.has_begun:
                self.kept.take(data)
            elif self.total + len(data) > self._keep_from:
                self.kept.begin(bytes(self._head + self._tail) + data)
        self.total += len(data)
        room = self._head_max - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail += data
        if len(self._tail) > 2 * self._tail_max + 65_536:
            del self._tail[: len(self._tail) - self._tail_max]

    @property
    def is_truncated(self) -> bool:
        """Return whether anything was left out."""
        return self.total > self._head_max + self._tail_max

    def render(self) -> bytes:
        """Head, a note of how much is missing, tail."""
        if not self.is_truncated:
            return bytes(self._head + self._tail)
        left_out = self.total - self._head_max - self._tail_max
        tail = self._tail[len(self._tail) - self._tail_max :]
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % left_out + bytes(tail)
