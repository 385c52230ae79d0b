"""Wakes and leases as SQL.

A stream is due at its wake; while it is leased, when the lease lapses. A claim takes the wake away, so that one that
comes while the holder works is a new one, and is kept when the holder releases. Several processes claim at once: who is
chosen is looked up without locks, and taken only if it is still due in the statement that takes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from remit.stores.fair_turns import Due, in_turns
from remit.stores.postgres.connection import PostgresConnection
from remit.stores.postgres.views import no_such_stream
from remit.values import NEAR_US, Lease

_DUE_WAKES = """
SELECT wake_at_us, stream_id, workspace_id, true AS is_wake FROM streams
WHERE wake_at_us <= $1 AND owner IS NULL AND deleted_at_us IS NULL AND kind = ANY($2::text[])
  AND (near IS NULL OR near = $4 OR wake_at_us <= $5)
ORDER BY wake_at_us, stream_id LIMIT $3
"""

_DUE_WAKES_OF_ONE = """
SELECT wake_at_us, stream_id, workspace_id FROM streams
WHERE workspace_id = $6 AND wake_at_us <= $1 AND owner IS NULL AND deleted_at_us IS NULL AND kind = ANY($2::text[])
  AND (near IS NULL OR near = $4 OR wake_at_us <= $5)
ORDER BY wake_at_us, stream_id LIMIT $3
"""

_WAKING_WORKSPACES = """
WITH RECURSIVE waking (workspace_id) AS (
    (SELECT workspace_id FROM streams WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL
     ORDER BY workspace_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT s.workspace_id FROM streams s
        WHERE s.wake_at_us IS NOT NULL AND s.owner IS NULL AND s.deleted_at_us IS NULL
          AND s.workspace_id > waking.workspace_id
        ORDER BY s.workspace_id LIMIT 1
    ) FROM waking WHERE workspace_id IS NOT NULL
)
SELECT workspace_id FROM waking WHERE workspace_id IS NOT NULL
"""

_LAPSED_LEASES = """
SELECT lease_until_us, stream_id, workspace_id, false FROM streams
WHERE lease_until_us <= $1 AND owner IS NOT NULL AND deleted_at_us IS NULL AND kind = ANY($2::text[])
ORDER BY lease_until_us, stream_id LIMIT $3
"""

_DUE = f"({_DUE_WAKES}) UNION ALL ({_LAPSED_LEASES.replace('$3', '$6')})"
"""Wakes in their order, then lapsed leases, in one round trip."""

_DUE_STREAM = """
SELECT 0::bigint, stream_id, workspace_id FROM streams
WHERE stream_id = $3 AND deleted_at_us IS NULL AND kind = ANY($2::text[])
  AND CASE
    WHEN owner IS NOT NULL THEN lease_until_us <= $1
    WHEN near IS NULL OR near = $4 THEN wake_at_us <= $1
    ELSE wake_at_us <= $5 END
"""

_TAKE = """
UPDATE streams SET epoch = epoch + 1, owner = $2, lease_until_us = $3, wake_at_us = NULL, near = NULL
WHERE stream_id = ANY($4::text[]) AND deleted_at_us IS NULL
  AND (CASE WHEN owner IS NULL THEN wake_at_us ELSE lease_until_us END) <= $1
RETURNING stream_id, workspace_id, kind, epoch
"""

_RENEW = """
UPDATE streams s SET lease_until_us = $1
FROM unnest($2::text[], $3::bigint[], $4::text[]) AS held (stream_id, epoch, owner)
WHERE s.stream_id = held.stream_id AND s.epoch = held.epoch AND s.owner = held.owner AND s.deleted_at_us IS NULL
RETURNING s.stream_id, s.epoch, s.owner
"""

_RELEASE = """
UPDATE streams SET
    owner = NULL,
    lease_until_us = 0,
    near = CASE WHEN $7 THEN owner END,
    wake_at_us = least(wake_at_us, CASE WHEN head_seq > $4 THEN $5::bigint ELSE $6::bigint END)
WHERE stream_id = $1 AND epoch = $2 AND owner = $3 AND deleted_at_us IS NULL
"""

_WAKE = """
UPDATE streams SET wake_at_us = least(wake_at_us, $3::bigint)
WHERE stream_id = $1 AND workspace_id = $2 AND deleted_at_us IS NULL
RETURNING stream_id
"""

_NEXT_WAKE = """
SELECT least(
    (SELECT min(wake_at_us) FROM streams
     WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL AND kind = ANY($2::text[])
       AND (near IS NULL OR near = $3)),
    (SELECT min(wake_at_us) + $4 FROM streams
     WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL AND kind = ANY($2::text[])
       AND near IS NOT NULL),
    (SELECT min(lease_until_us) FROM streams
     WHERE lease_until_us <= $1 AND owner IS NOT NULL AND deleted_at_us IS NULL AND kind = ANY($2::text[])))
"""

_RAISE_EPOCHS = """
UPDATE streams SET
    epoch = epoch + 1,
    owner = NULL,
    lease_until_us = 0,
    near = NULL,
    wake_at_us = CASE WHEN owner IS NULL AND wake_at_us IS NULL THEN NULL ELSE least(wake_at_us, $1::bigint) END
"""


async def claim(
    connection: PostgresConnection,
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
    leases: list[Lease] = []
    taken_of = Counter(running)
    while len(leases) < limit:
        room = limit - len(leases)
        if stream_id is None:
            due = await _find_due(connection, owner, now_us, list(kinds), room, taken_of, each_max)
        else:
            due = await _rows(
                connection, _DUE_STREAM, now_us, list(kinds), stream_id, owner, now_us - NEAR_US
            )
        chosen = in_turns(due, limit=room, running=taken_of, each_max=each_max)
        if not chosen:
            break
        taken = {row[0]: row for row in await connection.fetch(_TAKE, now_us, owner, until_us, chosen)}
        for id in chosen:
            if (row := taken.get(id)) is not None:
                taken_of[row[1]] += 1
                leases.append(
                    Lease(
                        workspace_id=row[1],
                        stream_id=row[0],
                        kind=row[2],
                        epoch=row[3],
                        owner=owner,
                        until_us=until_us,
                    )
                )
        if len(taken) == len(chosen):
            break
        # Another process was quicker with the rest: there may be more.
    return leases


async def _find_due(
    connection: PostgresConnection,
    owner: str,
    now_us: int,
    kinds: list[str],
    limit: int,
    running: Mapping[str, int],
    each_max: int | None,
) -> list[Due]:
    """All there are, or, when more are due than may be taken, enough of each workspace's."""
    since_us = now_us - NEAR_US
    found = await connection.fetch(_DUE, now_us, kinds, limit + 1, owner, since_us, limit)
    wakes = [Due(*row[:3]) for row in found if row[3]]
    lapsed = [Due(*row[:3]) for row in found if not row[3]]
    if len(wakes) > limit:
        wakes = list[Due]()
        for (workspace_id,) in await connection.fetch(_WAKING_WORKSPACES):
            room = limit if each_max is None else min(limit, each_max - running.get(workspace_id, 0))
            if room > 0:
                asked = (now_us, kinds, room, owner, since_us, workspace_id)
                wakes += await _rows(connection, _DUE_WAKES_OF_ONE, *asked)
    return wakes + lapsed


async def _rows(connection: PostgresConnection, statement: str, *values: object) -> list[Due]:
    return [
        Due(due_us, stream_id, workspace_id)
        for due_us, stream_id, workspace_id in await connection.fetch(statement, *values)
    ]


async def renew(connection: PostgresConnection, leases: Sequence[Lease], *, until_us: int) -> list[str]:
    """Extend leases; the ids of those that are lost."""
    held = await connection.fetch(
        _RENEW,
        until_us,
        [lease.stream_id for lease in leases],
        [lease.epoch for lease in leases],
        [lease.owner for lease in leases],
    )
    kept = {tuple(row) for row in held}
    return [lease.stream_id for lease in leases if (lease.stream_id, lease.epoch, lease.owner) not in kept]


async def release(
    connection: PostgresConnection,
    lease: Lease,
    *,
    seen_seq: int,
    wake_at_us: int | None,
    is_near: bool,
    now_us: int,
) -> None:
    """End a lease, if it still stands."""
    await connection.execute(
        _RELEASE, lease.stream_id, lease.epoch, lease.owner, seen_seq, now_us, wake_at_us, is_near
    )


async def wake(connection: PostgresConnection, workspace_id: str, stream_id: str, *, at_us: int) -> None:
    """Make due at this time or earlier. Raises NotFound."""
    if await connection.fetchrow(_WAKE, stream_id, workspace_id, at_us) is None:
        raise no_such_stream(stream_id)


async def next_wake_us(
    connection: PostgresConnection, kinds: Sequence[str], *, owner: str | None, now_us: int
) -> int | None:
    """The earliest time at which something can be claimed, live leases left out."""
    return await connection.fetchval(_NEXT_WAKE, now_us, list(kinds), owner, NEAR_US)


async def raise_epochs(connection: PostgresConnection, *, now_us: int) -> None:
    """Fence off every former holder."""
    await connection.execute(_RAISE_EPOCHS, now_us)
