"""The host's end of a sandbox's channel: sockets that were made inside come out here."""

from __future__ import annotations

import contextlib
import os
import socket

from remit.errors import SandboxLost, SandboxRefused

_TAG_BYTES_MAX = 32
_UNCLAIMED_MAX = 64
"""Sockets whose caller was cancelled; the oldest are closed."""


class SocketChannel:
    """Call `tag`, ask execd for a socket under it, then `take` it: it arrives before the answer does."""

    def __init__(self, sandbox_id: str, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._sandbox_id = sandbox_id
        self._channel = channel
        self._last = 0
        self._came: dict[int, int] = {}

    def tag(self) -> int:
        """Return a fresh tag."""
        self._last += 1
        return self._last

    def take(self, tag: int) -> socket.socket:
        """The socket that came under this tag. Raises SandboxLost, SandboxRefused."""
        self._receive()
        descriptor = self._came.pop(tag, None)
        if descriptor is None:
            raise SandboxLost(f"sandbox {self._sandbox_id!r} did not hand over the socket it spoke of")
        try:
            taken = socket.socket(fileno=descriptor)
        except OSError as error:
            os.close(descriptor)
            raise SandboxRefused(f"sandbox {self._sandbox_id!r} handed over what is no socket") from error
        taken.setblocking(False)
        return taken

    def close(self) -> None:
        """Close it and what nobody took. Idempotent."""
        if self._channel.fileno() >= 0:
            with contextlib.suppress(SandboxLost):
                self._receive()
            self._channel.close()
        while self._came:
            os.close(self._came.popitem()[1])

    def _receive(self) -> None:
        while True:
            try:
                data, descriptors, _flags, _address = socket.recv_fds(self._channel, _TAG_BYTES_MAX, 1)
            except BlockingIOError:
                return
            except OSError as error:
                raise SandboxLost(f"sandbox {self._sandbox_id!r} has died") from error
            if not data:
                return
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
                former = self._came.pop(int(data), None) if data.isdigit() else descriptor
                if former is not None:
                    os.close(former)
                if data.isdigit():
                    self._came[int(data)] = descriptor
            while len(self._came) > _UNCLAIMED_MAX:
                os.close(self._came.pop(next(iter(self._came))))


def channel_pair() -> tuple[socket.socket, int]:
    """Our end, and the descriptor to hand over (and close)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ours, theirs.detach()
