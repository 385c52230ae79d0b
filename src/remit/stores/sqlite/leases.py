"""Wakes and leases as SQL.

A stream is due at its wake; while it is leased, when the lease lapses. A claim takes the wake away, so that one that
comes while the holder works is a new one, and is kept when the holder releases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remit.stores.fair_turns import Due, in_turns
from remit.stores.sqlite.appends import no_such_stream
from remit.stores.sqlite.cursor import Cursor
from remit.values import NEAR_US, Lease

_DUE_WAKES = """
SELECT wake_at_us, stream_id, workspace_id FROM streams
WHERE wake_at_us <= ?1 AND owner IS NULL AND deleted_at_us IS NULL
  AND kind IN (SELECT value FROM json_each(?2)) AND (near IS NULL OR near = ?4 OR wake_at_us <= ?5)
ORDER BY wake_at_us, stream_id LIMIT ?3
"""

_DUE_WAKES_OF_ONE = """
SELECT wake_at_us, stream_id, workspace_id FROM streams
WHERE workspace_id = ?6 AND wake_at_us <= ?1 AND owner IS NULL AND deleted_at_us IS NULL
  AND kind IN (SELECT value FROM json_each(?2)) AND (near IS NULL OR near = ?4 OR wake_at_us <= ?5)
ORDER BY wake_at_us, stream_id LIMIT ?3
"""

_WAKING_WORKSPACES = """
WITH RECURSIVE waking (workspace_id) AS (
    SELECT min(workspace_id) FROM streams
    WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL
    UNION ALL
    SELECT (
        SELECT min(workspace_id) FROM streams
        WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL
          AND workspace_id > waking.workspace_id
    ) FROM waking WHERE workspace_id IS NOT NULL
)
SELECT workspace_id FROM waking WHERE workspace_id IS NOT NULL
"""

_LAPSED_LEASES = """
SELECT lease_until_us, stream_id, workspace_id FROM streams
WHERE lease_until_us <= ?1 AND owner IS NOT NULL AND deleted_at_us IS NULL
  AND kind IN (SELECT value FROM json_each(?2))
ORDER BY lease_until_us, stream_id LIMIT ?3
"""

_DUE_STREAM = """
SELECT 0, stream_id, workspace_id FROM streams
WHERE stream_id = ?3 AND deleted_at_us IS NULL AND kind IN (SELECT value FROM json_each(?2))
  AND CASE
    WHEN owner IS NOT NULL THEN lease_until_us <= ?1
    WHEN near IS NULL OR near = ?4 THEN wake_at_us <= ?1
    ELSE wake_at_us <= ?5 END
"""

_TAKE = """
UPDATE streams SET epoch = epoch + 1, owner = ?, lease_until_us = ?, wake_at_us = NULL, near = NULL
WHERE stream_id = ?
RETURNING workspace_id, kind, epoch
"""

_RENEW = """
UPDATE streams SET lease_until_us = ?
WHERE stream_id = ? AND epoch = ? AND owner = ? AND deleted_at_us IS NULL
RETURNING stream_id
"""

_RELEASE = """
UPDATE streams SET
    owner = NULL,
    lease_until_us = 0,
    near = CASE WHEN ?7 THEN owner END,
    wake_at_us = (
        SELECT min(at_us) FROM (
            SELECT wake_at_us AS at_us
            UNION ALL SELECT CASE WHEN head_seq > ?4 THEN ?5 ELSE ?6 END
        )
    )
WHERE stream_id = ?1 AND epoch = ?2 AND owner = ?3 AND deleted_at_us IS NULL
"""

_WAKE = """
UPDATE streams SET wake_at_us = min(ifnull(wake_at_us, ?3), ?3)
WHERE stream_id = ?1 AND workspace_id = ?2 AND deleted_at_us IS NULL
RETURNING stream_id
"""

_NEXT_WAKE = """
SELECT min(due_us) FROM (
    SELECT min(wake_at_us) AS due_us FROM streams
    WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL
      AND kind IN (SELECT value FROM json_each(?2)) AND (near IS NULL OR near = ?3)
    UNION ALL
    SELECT min(wake_at_us) + ?4 FROM streams
    WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL
      AND kind IN (SELECT value FROM json_each(?2)) AND near IS NOT NULL
    UNION ALL
    SELECT min(lease_until_us) FROM streams
    WHERE lease_until_us <= ?1 AND owner IS NOT NULL AND deleted_at_us IS NULL
      AND kind IN (SELECT value FROM json_each(?2))
)
"""

_RAISE_EPOCHS = """
UPDATE streams SET
    epoch = epoch + 1,
    owner = NULL,
    lease_until_us = 0,
    near = NULL,
    wake_at_us = CASE WHEN owner IS NULL AND wake_at_us IS NULL THEN NULL ELSE min(ifnull(wake_at_us, ?1), ?1) END
"""


def claim(
    cursor: Cursor,
    owner: str,
    *,
    kinds: Sequence[str],
    until_us: int,
    limit: int,
    stream_id: str | None,
    running: Mapping[str, int],
    each_max: int | None,
    now_us: int,
) -> list[Lease]:
    """Lease due streams, in turns of their workspaces."""
    if stream_id is None:
        due = _find_due(cursor, owner, now_us, _json_array(kinds), limit, running, each_max)
    else:
        asked = (now_us, _json_array(kinds), stream_id, owner, now_us - NEAR_US)
        due = _rows(cursor, _DUE_STREAM, asked)
    leases: list[Lease] = []
    for due_stream_id in in_turns(due, limit=limit, running=running, each_max=each_max):
        ((workspace_id, kind, epoch),) = cursor.execute(_TAKE, (owner, until_us, due_stream_id)).fetchall()
        leases.append(
            Lease(
                workspace_id=workspace_id,
                stream_id=due_stream_id,
                kind=kind,
                epoch=epoch,
                owner=owner,
                until_us=until_us,
            )
        )
    return leases


def _find_due(
    cursor: Cursor,
    owner: str,
    now_us: int,
    kinds: str,
    limit: int,
    running: Mapping[str, int],
    each_max: int | None,
) -> list[Due]:
    """All there are, or, when more are due than may be taken, enough of each workspace's."""
    wakes = _rows(cursor, _DUE_WAKES, (now_us, kinds, limit + 1, owner, now_us - NEAR_US))
    if len(wakes) > limit:
        wakes = list[Due]()
        for (workspace_id,) in cursor.execute(_WAKING_WORKSPACES).fetchall():
            room = limit if each_max is None else min(limit, each_max - running.get(workspace_id, 0))
            if room > 0:
                asked = (now_us, kinds, room, owner, now_us - NEAR_US, workspace_id)
                wakes += _rows(cursor, _DUE_WAKES_OF_ONE, asked)
    return wakes + _rows(cursor, _LAPSED_LEASES, (now_us, kinds, limit))


def _rows(cursor: Cursor, statement: str, values: tuple[str | int, ...]) -> list[Due]:
    return [
        Due(due_us, stream_id, workspace_id)
        for due_us, stream_id, workspace_id in cursor.execute(statement, values)
    ]


def renew(cursor: Cursor, leases: Sequence[Lease], *, until_us: int) -> list[str]:
    """Extend leases; the ids of those that are lost."""
    return [
        lease.stream_id
        for lease in leases
        if not cursor.execute(_RENEW, (until_us, lease.stream_id, lease.epoch, lease.owner)).fetchall()
    ]


def release(
    cursor: Cursor, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool, now_us: int
) -> None:
    """End a lease, if it still stands."""
    cursor.execute(
        _RELEASE, (lease.stream_id, lease.epoch, lease.owner, seen_seq, now_us, wake_at_us, is_near)
    )


def wake(cursor: Cursor, workspace_id: str, stream_id: str, *, at_us: int) -> None:
    """Make due at this time or earlier. Raises NotFound."""
    if not cursor.execute(_WAKE, (stream_id, workspace_id, at_us)).fetchall():
        raise no_such_stream(stream_id)


def next_wake_us(cursor: Cursor, kinds: Sequence[str], *, owner: str | None, now_us: int) -> int | None:
    """The earliest time at which something can be claimed, live leases left out."""
    row = cursor.execute(_NEXT_WAKE, (now_us, _json_array(kinds), owner, NEAR_US)).fetchone()
    assert row is not None
    return row[0]


def raise_epochs(cursor: Cursor, *, now_us: int) -> None:
    """Fence off every former holder."""
    cursor.execute(_RAISE_EPOCHS, (now_us,))


def _json_array(kinds: Sequence[str]) -> str:
    return "[" + ",".join(f'"{kind}"' for kind in kinds) + "]"
