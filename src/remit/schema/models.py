"""Models on the wire: the only list of this API that is paged by ids."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

MODELS_LIMIT_DEFAULT = 20
MODELS_LIMIT_MAX = 1_000
LIFECYCLES = ("active", "deprecated", "retired")


def encode_list_by_id(items: Sequence[bytes], ids: Sequence[str], *, has_more: bool) -> bytes:
    """A page with the ids at its ends."""
    ends = {
        "has_more": has_more,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }
    return b'{"data":[' + b",".join(items) + b"]," + msgspec.json.encode(ends)[1:]
