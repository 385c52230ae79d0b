"""Server-sent events, read piece by piece."""

from __future__ import annotations

from typing import NamedTuple

EVENT_BYTES_MAX = 32 << 20


class SseEvent(NamedTuple):
    """One event of a stream."""

    event: str
    data: str


class SseTooLarge(Exception):
    """An event without an end: what sends it does not speak the protocol."""


class SseParser:
    """Feed bytes as they come; complete events come out. What stands unfinished at the end is dropped, as the
    standard says."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._event = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, piece: bytes) -> list[SseEvent]:
        """Events that this piece completes. Raises SseTooLarge."""
        self._buffer += piece
        if len(self._buffer) + self._data_bytes > EVENT_BYTES_MAX:
            raise SseTooLarge
        if b"\n" not in piece:
            return []
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        taken = [self._take_line(bytes(line.rstrip(b"\r"))) for line in lines]
        return [event for event in taken if event is not None]

    def _take_line(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.decode("utf-8", errors="replace").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._event = value
        elif field == "data":
            self._data.append(value)
            self._data_bytes += len(line)
        return None

    def _dispatch(self) -> SseEvent | None:
        event = SseEvent(self._event or "message", "\n".join(self._data)) if self._data else None
        self._event, self._data, self._data_bytes = "", [], 0
        return event
