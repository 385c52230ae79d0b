"""Server-sent events, read piece by piece, and what servers send in their place: one JSON document, or JSON line by
line."""

from __future__ import annotations

from typing import Literal

import msgspec

from remit.models.http.json_text import read_loose_json
from remit.values import Value

EVENT_BYTES_MAX = 32 << 20
STRAY_BYTES_MAX = 500
"""What is remembered of lines that are no part of the format: a server that has failed may say so in plain words."""
DONE = b"[DONE]"
"""How streams of OpenAI's form end."""
_BOM = b"\xef\xbb\xbf"
_FIRST_OF_FIELDS = b"deir:"
"""How a line of an event stream can begin: data, event, id, retry, a comment."""
_FIELDS = (b":", b"data", b"event", b"id", b"retry")


class SseEvent(Value, frozen=True, gc=False):
    """One event of a stream."""

    event: str
    data: bytes
    """In UTF-8 that is valid."""


class SseTooLarge(Exception):
    """An event without an end: what sends it does not speak the protocol."""


class SseParser:
    """Feed bytes as they come; complete events come out. An event whose end has not come is dropped, as the standard says,
    unless `end` finds it whole."""

    def __init__(self) -> None:
        self._form: Literal["unknown", "events", "plain"] = "unknown"
        self._unfinished: list[bytes] = []
        """Pieces of a line whose end has not come; of all, where it is no event stream."""
        self._event = b""
        self._data: list[bytes] = []
        self._bytes = 0
        """Of the unfinished line and the data."""
        self._stray = b""

    @property
    def stray(self) -> str:
        """The beginning of what is no event."""
        return self._stray.decode("utf-8", errors="replace").strip()

    @property
    def unfinished_bytes(self) -> int:
        """Return the bytes of an event that has begun and not ended."""
        return self._bytes

    def feed(self, piece: bytes) -> list[SseEvent]:
        """Events that this piece completes. Raises SseTooLarge."""
        if self._bytes + len(piece) > EVENT_BYTES_MAX:
            raise SseTooLarge
        if self._form == "unknown":
            piece = self._begin(piece)
        if self._form != "events" or b"\n" not in piece:
            if piece:
                self._unfinished.append(piece)
            self._bytes += len(piece)
            return []
        text = b"".join((*self._unfinished, piece)) if self._unfinished else piece
        *lines, rest = text.split(b"\n")
        events: list[SseEvent] = []
        for line in lines:
            self._take(line, events)
        self._unfinished = [rest] if rest else []
        self._bytes = len(rest) + sum(map(len, self._data))
        return events

    def end(self) -> list[SseEvent]:
        """End the stream. What stands unfinished there comes out where it is whole all the same: servers
        forget the last blank line, or never sent events at all."""
        rest = b"".join(self._unfinished)
        self._unfinished = []
        if self._form == "plain":
            return self._documents(rest)
        events: list[SseEvent] = []
        # A lone carriage return ends a line too; who writes them writes nothing else.
        for line in rest.split(b"\r") if b"\r" in rest.strip() else [rest]:
            self._take(line, events)
        before = len(events)
        self._take(b"", events)
        return [event for n, event in enumerate(events) if n < before or _is_whole(event.data)]

    def _begin(self, piece: bytes) -> bytes:
        """Tell what it is by its first byte; nothing while that is not known. One byte order mark may come first."""
        text = b"".join((*self._unfinished, piece))
        if _BOM.startswith(text):  # not yet more than a part of it
            return piece
        text = text.removeprefix(_BOM)
        if not text.strip():
            return piece
        self._form = "events" if text.strip()[0] in _FIRST_OF_FIELDS else "plain"
        self._unfinished, self._bytes = [], 0
        return text

    def _take(self, line: bytes, events: list[SseEvent]) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if line.startswith(b"data:"):
            data = _value(line, 5)
            if self._data and _begins_anew(self._data[-1], data):  # the blank line between them is missing
                self._close(events)
            self._data.append(data)
        elif line.startswith(b"event:"):
            self._event = _value(line, 6)
        elif not line:
            self._close(events)
            self._event = b""
        elif line == b"data":
            self._data.append(b"")
        elif line.startswith(b"error:"):  # llama.cpp, until September 2025
            self._close(events)
            events.append(_complete(b"error", _value(line, 6)))
        elif not line.startswith(_FIELDS) and not any(field.startswith(line) for field in _FIELDS):
            self._keep_stray(line)

    def _close(self, events: list[SseEvent]) -> None:
        if self._data:
            data = b"\n".join(self._data)
            if data.strip():  # a heartbeat has none
                events.append(_complete(self._event, data))
        self._data = []

    def _documents(self, text: bytes) -> list[SseEvent]:
        """One document, or one a line; or events behind a line that is none of them."""
        if _is_whole(text):
            return [_complete(b"", text.strip())]
        if b"\ndata:" in text:
            self._form = "events"
            return [*self.feed(text), *self.end()]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        events = [_complete(b"", line) for line in lines if _is_whole(line)]
        if not events:
            self._keep_stray(text)
        return events

    def _keep_stray(self, line: bytes) -> None:
        if len(self._stray) < STRAY_BYTES_MAX:
            self._stray = (self._stray + b" " + line)[:STRAY_BYTES_MAX]


def _value(line: bytes, start: int) -> bytes:
    return line[start + 1 :] if line[start : start + 1] == b" " else line[start:]


def _begins_anew(before: bytes, data: bytes) -> bool:
    """Nothing in JSON goes on like that: the line before was the end of an event."""
    return before.endswith(b"}") and (data.startswith(b"{") or data.strip() == DONE)


def _is_whole(data: bytes) -> bool:
    if data.strip() == DONE:
        return True
    try:
        return isinstance(read_loose_json(data), dict | list)
    except msgspec.DecodeError:
        return False


def _complete(event: bytes, data: bytes) -> SseEvent:
    if not data.isascii():
        data = data.decode("utf-8", errors="replace").encode()
    return SseEvent(event.decode("utf-8", errors="replace") or "message", data)
