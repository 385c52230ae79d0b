"""Metadata: sixteen pairs of strings that belong to the caller."""

from __future__ import annotations

from collections.abc import Mapping

from remit.errors import InvalidRequest
from remit.schema.wire import METADATA_PAIRS_MAX


def merge_metadata(
    current: Mapping[str, str], patch: Mapping[str, str | None] | None, *, empty_deletes: bool = False
) -> dict[str, str]:
    """Per key: a string sets, null deletes (an empty string too, where `empty_deletes`). A null patch clears all."""
    if patch is None:
        return {}
    merged = dict(current)
    for key, value in patch.items():
        if value is None or (empty_deletes and not value):
            merged.pop(key, None)
        else:
            merged[key] = value
    if len(merged) > METADATA_PAIRS_MAX:
        raise InvalidRequest(
            f"`metadata`: {len(merged)} pairs after the update; at most {METADATA_PAIRS_MAX}. Delete some with null.",
            code="invalid_metadata",
        )
    return merged
