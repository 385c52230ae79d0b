"""Bounds of a read, the same in every store."""

from __future__ import annotations

from collections.abc import Iterable

from remit.values import EventRow


def up_to(rows: Iterable[EventRow], bytes_max: int | None) -> list[EventRow]:
    """Return the rows up to the one whose body fills `bytes_max`; at least one if there is one. None: all."""
    if bytes_max is None:
        return list(rows)
    taken: list[EventRow] = []
    size = 0
    for row in rows:
        taken.append(row)
        size += len(row.body)
        if size >= bytes_max:
            break
    return taken
