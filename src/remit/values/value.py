"""The base of every value, and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
else:
    JsonValue = Any  # msgspec cannot decode into a recursive alias, and values with JSON in them are decoded
JsonObject = dict[str, JsonValue]


class Value(msgspec.Struct, frozen=True):
    """Base of all values: immutable, keyword-only, encodable."""
