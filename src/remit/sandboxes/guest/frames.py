"""Frames on the control socket: two lengths, a JSON header, raw bytes. Used by both ends, so it imports nothing."""

from __future__ import annotations

HEADER_BYTES_MAX = 8 << 20
PAYLOAD_BYTES_MAX = 512 << 20
_LENGTHS = 12  # 4 bytes for the header's length, 8 for the payload's


class FrameError(Exception):
    """The peer does not speak the protocol; the connection is useless."""


def pack(header: bytes, payload: bytes = b"") -> bytes:
    """Encode one frame."""
    return len(header).to_bytes(4, "big") + len(payload).to_bytes(8, "big") + header + payload


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The (header, payload) pairs that these bytes complete. Raises FrameError."""
        self._buffer += data
        frames: list[tuple[bytes, bytes]] = []
        start = 0
        while len(self._buffer) - start >= _LENGTHS:
            header_end = start + _LENGTHS + int.from_bytes(self._buffer[start : start + 4], "big")
            payload_bytes = int.from_bytes(self._buffer[start + 4 : start + _LENGTHS], "big")
            if header_end - start - _LENGTHS > HEADER_BYTES_MAX or payload_bytes > PAYLOAD_BYTES_MAX:
                raise FrameError("a frame is larger than its limit")
            end = header_end + payload_bytes
            if len(self._buffer) < end:
                break
            view = memoryview(self._buffer)
            frames.append((bytes(view[start + _LENGTHS : header_end]), bytes(view[header_end:end])))
            view.release()
            start = end
        del self._buffer[:start]
        return frames
