"""JSON that somebody else wrote: a provider, or a model."""

from __future__ import annotations

import json

import msgspec

from remit.values import JsonValue


def read_json(text: str | bytes | bytearray) -> JsonValue:
    """Raises msgspec.DecodeError, also for what is nested more deeply than it can be read."""
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise msgspec.DecodeError("JSON is nested too deeply") from error


def read_loose_json(text: bytes) -> JsonValue:
    """Read what servers write that is nearly JSON: `NaN`, `Infinity`, half of an emoji, line breaks inside of
    texts. Raises msgspec.DecodeError."""
    try:
        return read_json(text)
    except msgspec.DecodeError as strict:
        try:
            decoded: JsonValue = json.loads(text, strict=False, parse_constant=_no_number)
            # Half an emoji is no character: it becomes the sign that stands for one.
            whole = json.dumps(decoded, ensure_ascii=False).encode("utf-16", "surrogatepass")
            return read_json(whole.decode("utf-16", "replace"))
        except (ValueError, RecursionError) as error:
            raise strict from error


def _no_number(name: str) -> None:
    """What `NaN` and the infinities are read as: nothing is counted or paid by them."""
    del name
