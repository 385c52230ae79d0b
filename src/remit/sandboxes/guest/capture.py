"""Output of a command, bounded: its head and its tail are kept, the middle is counted."""

from __future__ import annotations


class Capture:
    """Takes any amount of bytes and holds at most about `limit`."""

    def __init__(self, limit: int) -> None:
        self._head_max = limit - limit // 2
        self._tail_max = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """Take what was read."""
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
        """Whether anything was left out."""
        return self.total > self._head_max + self._tail_max

    def render(self) -> bytes:
        """Head, a note of how much is missing, tail."""
        if not self.is_truncated:
            return bytes(self._head + self._tail)
        left_out = self.total - self._head_max - self._tail_max
        tail = self._tail[len(self._tail) - self._tail_max :]
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % left_out + bytes(tail)
