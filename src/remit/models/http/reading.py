"""Reading of what an event holds, the same way in every driver."""

from __future__ import annotations

import re

import msgspec

from remit.errors import ModelCallFailed
from remit.models.http.endpoint import Endpoint
from remit.models.http.json_text import read_loose_json
from remit.models.http.sse import DONE, SseEvent
from remit.values import JsonObject, JsonValue

_PREFIX = b"data:"
_ERROR_IN_WORDS = re.compile(rb"\W{0,2}error\b", re.IGNORECASE)


def is_done(event: SseEvent) -> bool:
    """Return whether the event is the word that nothing follows."""
    return event.data[:1] != b"{" and _plain(event.data) == DONE


def document_of(endpoint: Endpoint, event: SseEvent) -> JsonObject | None:
    """The object that an event holds; None for a heartbeat (words that are no JSON) and for the last word. An error in plain
    words becomes one. Raises ModelCallFailed."""
    data = event.data
    if data[:1] != b"{" and ((data := _plain(data))[:1] not in (b"{", b"[") or data == DONE):
        if data != DONE and (event.event == "error" or _ERROR_IN_WORDS.match(data)):
            return {"type": "error", "error": {"message": data.decode()}}
        return None
    try:
        decoded: JsonValue = read_loose_json(data)
    except msgspec.DecodeError as error:
        decoded = _said_last(data)  # of an event that was broken off for it
        if decoded is None:
            raise garbage(endpoint, "an event that is no JSON") from error
    if isinstance(decoded, list) and decoded:  # some doors put an error into a list
        decoded = decoded[0]
    if not isinstance(decoded, dict):
        raise garbage(endpoint, "an event that is no object")
    return decoded


def _said_last(data: bytes) -> JsonValue:
    """The error in the last line; None where there is none."""
    last = data.rpartition(b"\n")[2]
    try:
        decoded = read_loose_json(last)
    except msgspec.DecodeError:
        return None
    return decoded if isinstance(decoded, dict) and decoded.get("error") else None


def garbage(endpoint: Endpoint, what: str) -> ModelCallFailed:
    """The failure that nonsense stands for."""
    return endpoint.failure(f"sent {what}", reason="garbage", billed="unknown")


def _plain(data: bytes) -> bytes:
    """Without blanks around, and without the prefix that a relay has put before that of the server."""
    data = data.strip()
    while data.startswith(_PREFIX):
        data = data[len(_PREFIX) :].strip()
    return data
