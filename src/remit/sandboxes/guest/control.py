"""The daemon's end of the control socket: requests in, answers out, never blocking."""

from __future__ import annotations

import os

from . import jsons
from .frames import FrameReader, pack

TYPE_CHECKING = False  # importing typing costs 10 ms of start-up
if TYPE_CHECKING:
    from typing import Any

_PIECE_BYTES = 1 << 20


class Control:
    """Buffers both directions. `is_open` turns false when the host has gone."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.is_open = True
        self._reader = FrameReader()
        self._outgoing = bytearray()

    def receive(self) -> list[tuple[dict[str, Any], bytes]]:
        """The requests that have arrived."""
        try:
            data = os.read(self.descriptor, _PIECE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.is_open = False
            return []
        return [(jsons.loads(header), payload) for header, payload in self._reader.feed(data)]

    def answer(self, number: int, header: dict[str, Any], payload: bytes = b"") -> None:
        """Put an answer into the buffer."""
        self._outgoing += pack(jsons.dumps({"id": number} | header), payload)

    def flush(self) -> bool:
        """Write what the socket takes; True while there is more."""
        try:
            while self._outgoing:
                sent = os.write(self.descriptor, memoryview(self._outgoing)[:_PIECE_BYTES])
                del self._outgoing[:sent]
        except BlockingIOError:
            return True
        except OSError:
            self.is_open = False
        return False
