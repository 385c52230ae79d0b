"""Lists: `{data, next_page}`, and `prev_page` where both directions exist."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
EVENTS_LIMIT_DEFAULT = 1000
EVENTS_LIMIT_MAX = 1000


def encode_list(items: Sequence[bytes], next_page: str | None) -> bytes:
    """A page of items that are already encoded: their bytes are copied, not made again."""
    return b'{"data":[' + b",".join(items) + b'],"next_page":' + msgspec.json.encode(next_page) + b"}"


def encode_list_both_ways(items: Sequence[bytes], next_page: str | None, prev_page: str | None) -> bytes:
    """A page that can also be turned back."""
    return encode_list(items, next_page)[:-1] + b',"prev_page":' + msgspec.json.encode(prev_page) + b"}"
