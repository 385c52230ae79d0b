"""Server-sent events, read piece by piece."""

from __future__ import annotations

from remit.values import Value

EVENT_BYTES_MAX = 32 << 20


class SseEvent(Value, frozen=True, gc=False):
    """One event of a stream."""

    event: str
    data: bytes
    """In UTF-8 that is valid."""


class SseTooLarge(Exception):
    """An event without an end: what sends it does not speak the protocol."""


class SseParser:
    """Feed bytes as they come; complete events come out. What stands unfinished at the end is dropped, as the
    standard says."""

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []
        """Pieces of a line whose end has not come."""
        self._event = b""
        self._data: list[bytes] = []
        self._bytes = 0
        """Of the unfinished line and the data."""

    @property
    def unfinished_bytes(self) -> int:
        """Of an event that has begun and not ended."""
        return self._bytes

    def feed(self, piece: bytes) -> list[SseEvent]:
        """Events that this piece completes. Raises SseTooLarge."""
        if self._bytes + len(piece) > EVENT_BYTES_MAX:
            raise SseTooLarge
        if b"\n" not in piece:
            self._unfinished.append(piece)
            self._bytes += len(piece)
            return []
        text = b"".join((*self._unfinished, piece)) if self._unfinished else piece
        *lines, rest = text.split(b"\n")
        events: list[SseEvent] = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if line.startswith(b"data:"):
                self._data.append(_value(line, 5))
            elif line.startswith(b"event:"):
                self._event = _value(line, 6)
            elif not line:
                if self._data:
                    events.append(_complete(self._event, self._data))
                self._event, self._data = b"", []
            elif line == b"data":
                self._data.append(b"")
        self._unfinished = [rest] if rest else []
        self._bytes = len(rest) + sum(map(len, self._data))
        return events


def _value(line: bytes, start: int) -> bytes:
    return line[start + 1 :] if line[start : start + 1] == b" " else line[start:]


def _complete(event: bytes, lines: list[bytes]) -> SseEvent:
    data = b"\n".join(lines)
    if not data.isascii():
        data = data.decode("utf-8", errors="replace").encode()
    return SseEvent(event.decode("utf-8", errors="replace") or "message", data)
