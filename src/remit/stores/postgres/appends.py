"""A batch of appends: look, decide, write.

`look` reads what the appends of a batch depend on; `decide` carries them out on that, in memory, in the order of the
contract; `write` makes all of it durable in one statement, which is one transaction. Between look and write nothing is
locked: the fence is in the UPDATE that moves a stream, which takes effect only while epoch and revision are those
that were looked at, and the rows of a stream that did not move are not inserted. Who lost that race looks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from remit.ledger.accounts import (
    account_key,
    grant_key,
    hold_key,
    rows_needed,
)
from remit.stores.append_rules import referring
from remit.stores.postgres.connection import PostgresConnection
from remit.stores.postgres.rows import (
    ACCOUNTS,
    EVENTS,
    GRANTS,
    HOLDS,
    account_of,
    encoded,
    event_of,
    grant_of,
    hold_of,
)
from remit.stores.postgres.views import BatchedStream, Order
from remit.values import (
    Account,
    EventRow,
    GrantRow,
    HoldRow,
    NewStream,
    OutboxItem,
    StreamSummary,
)

# ------------------------------------------------------------------------------------------------------ look

_LOOK_STREAMS = """
SELECT 'stream'::text AS what, stream_id, ARRAY[workspace_id] AS texts,
       ARRAY[head_seq, created_seq, revision, epoch, (deleted_at_us IS NOT NULL)::int] AS numbers, NULL::bytea AS bytes
FROM streams WHERE stream_id = ANY($1::text[])
"""
_LOOK_KEYS = """
SELECT 'key', k.stream_id, ARRAY[k.key], ARRAY[k.first_seq, k.last_seq], NULL
FROM unnest($2::text[], $3::text[]) AS asked (stream_id, key) JOIN event_keys k USING (stream_id, key)
"""
_LOOK_IDS = """
SELECT 'id', e.stream_id, ARRAY[e.event_id], NULL, NULL
FROM unnest($4::text[], $5::text[]) AS asked (stream_id, event_id) JOIN events e USING (stream_id, event_id)
WHERE e.visibility = 'public'
"""
_LOOK_LEDGER = f"""
{ACCOUNTS} WHERE stream_id = ANY($6::text[])
UNION ALL
{HOLDS} WHERE (stream_id, hold_id) IN (SELECT * FROM unnest($7::text[], $8::text[]))
UNION ALL
{GRANTS} WHERE (stream_id, grant_id) IN (SELECT * FROM unnest($9::text[], $10::text[]))
"""
_LOOK = " UNION ALL ".join((_LOOK_STREAMS, _LOOK_KEYS, _LOOK_IDS))
_LOOK_WITH_LEDGER = f"{_LOOK} UNION ALL {_LOOK_LEDGER}"


async def look(connection: PostgresConnection, orders: Sequence[Order]) -> dict[str, BatchedStream]:
    """Read what these appends depend on, by stream, of one instant."""
    views = {order.stream_id: BatchedStream(order.stream_id, order.workspace_id) for order in orders}
    keys: list[tuple[str, str]] = []
    ids: list[tuple[str, str]] = []
    with_effects: dict[str, None] = {}
    holds: list[tuple[str, str]] = []
    grants: list[tuple[str, str]] = []
    for order in orders:
        stream_id = order.stream_id
        for event in order.append.events:
            if event.key is not None:
                keys.append((stream_id, event.key))
            if event.visibility == "public":
                ids.append((stream_id, event.event_id))
        if order.append.effects:
            with_effects[stream_id] = None
            needed = rows_needed(order.append.effects)
            holds += [(stream_id, hold.hold_id) for hold in needed.holds]
            grants += [(stream_id, grant.grant_id) for grant in needed.grants]
    values: list[object] = [list(views), *_columns(keys, 2), *_columns(ids, 2)]
    if with_effects:
        values += [list(with_effects), *_columns(holds, 2), *_columns(grants, 2)]
    for row in await connection.fetch(_LOOK_WITH_LEDGER if with_effects else _LOOK, *values):
        view = views[row[1]]
        match row[0]:
            case "stream":
                view.workspace_id = row[2][0]
                view.head_seq, view.created_seq, view.revision, view.epoch, is_deleted = row[3]
                view.is_there, view.is_deleted = True, bool(is_deleted)
            case "key":
                view.keys[row[2][0]] = (row[3][0], row[3][1])
            case "id":
                view.public_ids.add(row[2][0])
            case "account":
                account = account_of(row)
                view.accounts[account_key(account)] = account
            case "hold":
                hold = hold_of(row)
                view.holds[hold_key(hold)] = hold
            case _:
                grant = grant_of(row)
                view.grants[grant_key(grant)] = grant
    return views


# ----------------------------------------------------------------------------------------------------- write

# The rows of streams are locked in their order: two processes that write to the same ones wait, but not for each other.
_MOVED = """
asked AS (SELECT * FROM unnest($4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bool[], $9::text[], $10::bytea[],
    $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[]) AS asked (stream_id, head_seq, revision,
    epoch, has_summary, status, title, agent_id, agent_version, archived_at_us, wake_at_us, wake_while_leased_at_us)),
locked AS MATERIALIZED (
    SELECT s.stream_id FROM streams s JOIN asked USING (stream_id) ORDER BY s.stream_id FOR NO KEY UPDATE OF s),
moved AS (
    UPDATE streams s SET head_seq = asked.head_seq, revision = s.revision + 1,
        status = CASE WHEN has_summary THEN asked.status ELSE s.status END,
        title = CASE WHEN has_summary THEN asked.title ELSE s.title END,
        agent_id = CASE WHEN has_summary THEN asked.agent_id ELSE s.agent_id END,
        agent_version = CASE WHEN has_summary THEN asked.agent_version ELSE s.agent_version END,
        archived_at_us = CASE WHEN has_summary THEN asked.archived_at_us ELSE s.archived_at_us END,
        wake_at_us = least(
            s.wake_at_us, CASE WHEN s.owner IS NULL THEN asked.wake_at_us ELSE asked.wake_while_leased_at_us END)
    FROM asked JOIN locked USING (stream_id)
    WHERE s.stream_id = asked.stream_id AND s.revision = asked.revision AND s.deleted_at_us IS NULL
      AND (asked.epoch IS NULL OR s.epoch = asked.epoch)
    RETURNING s.stream_id)"""

_MADE = """
made AS (
    INSERT INTO streams (stream_id, workspace_id, kind, parent_stream_id, head_seq, created_seq, revision, epoch,
        lease_until_us, wake_at_us, created_at_us, refers_to, status, title, agent_id, agent_version, archived_at_us)
    SELECT stream_id, workspace_id, kind, parent_stream_id, head_seq, created_seq, 1, 0, 0, wake_at_us, created_at_us,
        refers_to, status, title, agent_id, agent_version, archived_at_us
    FROM unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[],
        ?::text[], ?::text[], ?::bytea[], ?::text[], ?::bigint[], ?::bigint[]) AS new (stream_id, workspace_id, kind,
        parent_stream_id, head_seq, created_seq, wake_at_us, created_at_us, refers_to, status, title, agent_id, agent_version,
        archived_at_us)
    ORDER BY stream_id
    ON CONFLICT DO NOTHING RETURNING stream_id)"""

_EVENTS = """
new_events AS (
    INSERT INTO events (stream_id, seq, workspace_id, event_id, thread_id, type, visibility, schema_version,
        created_at_us, body)
    SELECT new.* FROM unnest(?::text[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[],
        ?::bigint[], ?::bytea[]) AS new (stream_id, seq, workspace_id, event_id, thread_id, type, visibility,
        schema_version, created_at_us, body) JOIN changed USING (stream_id))"""

_KEYS = """
new_keys AS (
    INSERT INTO event_keys (stream_id, key, workspace_id, first_seq, last_seq)
    SELECT new.* FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[]) AS new (stream_id, key,
        workspace_id, first_seq, last_seq) JOIN changed USING (stream_id))"""

_ACCOUNTS = """
new_accounts AS (
    INSERT INTO accounts (stream_id, purpose, unit, workspace_id, cap, spent, held, granted, is_stopped)
    SELECT new.* FROM unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[],
        ?::bigint[], ?::bool[]) AS new (stream_id, purpose, unit, workspace_id, cap, spent, held, granted, is_stopped)
        JOIN changed USING (stream_id)
    ON CONFLICT (stream_id, purpose, unit) DO UPDATE SET cap = excluded.cap, spent = excluded.spent,
        held = excluded.held, granted = excluded.granted, is_stopped = excluded.is_stopped)"""

_HOLDS = """
new_holds AS (
    INSERT INTO holds (stream_id, hold_id, unit, workspace_id, purpose, amount, state, settled, is_overrun, seq,
        created_at_us, settled_at_us)
    SELECT stream_id, hold_id, unit, workspace_id, purpose, amount, state, settled, is_overrun, seq, created_at_us,
        settled_at_us
    FROM unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::bigint[], ?::bool[],
        ?::bigint[], ?::bigint[], ?::bigint[]) WITH ORDINALITY AS new (stream_id, hold_id, unit, workspace_id, purpose,
        amount, state, settled, is_overrun, seq, created_at_us, settled_at_us, number) JOIN changed USING (stream_id)
    ORDER BY number
    ON CONFLICT (stream_id, hold_id, unit) DO UPDATE SET state = excluded.state, settled = excluded.settled,
        is_overrun = excluded.is_overrun, settled_at_us = excluded.settled_at_us)"""

_GRANTS = """
new_grants AS (
    INSERT INTO grants (stream_id, grant_id, unit, purpose, direction, workspace_id, amount, state, spent,
        child_stream_id)
    SELECT stream_id, grant_id, unit, purpose, direction, workspace_id, amount, state, spent, child_stream_id
    FROM unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::bigint[],
        ?::text[]) WITH ORDINALITY AS new (stream_id, grant_id, unit, purpose, direction, workspace_id, amount, state,
        spent, child_stream_id, number) JOIN changed USING (stream_id)
    ORDER BY number
    ON CONFLICT (stream_id, grant_id, unit, purpose, direction) DO UPDATE SET state = excluded.state,
        spent = excluded.spent)"""

_OUTBOX = """
new_outbox AS (
    INSERT INTO outbox (workspace_id, target_stream_id, event)
    SELECT workspace_id, target_stream_id, event
    FROM unnest(?::text[], ?::text[], ?::text[], ?::bytea[]) WITH ORDINALITY AS new (stream_id, workspace_id,
        target_stream_id, event, number) JOIN changed USING (stream_id)
    ORDER BY number)"""

# Without its row the lane has been overtaken: the statement fails on the division, and nothing of it is done.
_LANE = """
lane AS (
    UPDATE lanes SET number = $2 + 1, at_us = $3, changed = ARRAY(SELECT stream_id FROM changed)
    WHERE lane_id = $1 AND number = $2 RETURNING lane_id)
SELECT array_agg(stream_id), 1 / (SELECT count(*) FROM lane) FROM changed"""


class Statement(NamedTuple):
    """All of a batch."""

    text: str
    values: list[object]
    streams: int


def write_statement(views: Sequence[BatchedStream]) -> Statement:
    """Make one statement that writes what changed; its first three values are the lane's."""
    moved = [view for view in views if view.new_stream is None]
    made = [view for view in views if view.new_stream is not None]
    parts = [_MOVED]
    values: list[object] = _columns([_moved(view) for view in moved], 12)
    if made:
        parts.append(_numbered(_MADE, 3 + len(values)))
        values += _columns([_made(view, view.new_stream) for view in made if view.new_stream], 14)
    changed = "SELECT stream_id FROM moved" + (" UNION ALL SELECT stream_id FROM made" if made else "")
    parts.append(f"changed AS ({changed})")
    for part, rows, width in (
        (_EVENTS, [_event(row) for view in views for row in view.rows], 10),
        (_KEYS, [_key(view, *one) for view in views for one in view.new_keys], 5),
        (_ACCOUNTS, [_account(view, view.accounts[k]) for view in views for k in view.changed_accounts], 9),
        (_HOLDS, [_hold(view, view.holds[key]) for view in views for key in view.changed_holds], 12),
        (_GRANTS, [_grant(view, view.grants[key]) for view in views for key in view.changed_grants], 10),
        (_OUTBOX, [_outbox(view, item) for view in views for item in view.outbox], 4),
    ):
        if rows:
            parts.append(_numbered(part, 3 + len(values)))
            values += _columns(rows, width)
    return Statement("WITH " + ",".join([*parts, _LANE]), values, len(views))


async def rows_between(
    connection: PostgresConnection, asked: Sequence[tuple[str, str, int, int]]
) -> dict[str, list[EventRow]]:
    """Read rows of former appends, by stream. `asked`: (stream, workspace, first seq, last seq)."""
    found: dict[str, list[EventRow]] = {}
    workspaces = {stream_id: workspace_id for stream_id, workspace_id, _, _ in asked}
    statement = (
        f"SELECT e.* FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS asked (stream_id, first_seq, last_seq), "
        f"LATERAL ({EVENTS} WHERE stream_id = asked.stream_id AND seq BETWEEN first_seq AND last_seq ORDER BY seq) e"
    )
    columns = _columns([(stream_id, first, last) for stream_id, _, first, last in asked], 3)
    for row in await connection.fetch(statement, *columns):
        found.setdefault(row[1], []).append(event_of(row, workspaces[row[1]]))
    return found


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[object]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _numbered(part: str, first: int) -> str:
    """The part with its question marks as the parameters after `first`."""
    pieces = part.split("?")
    return pieces[0] + "".join(f"${first + n}{piece}" for n, piece in enumerate(pieces[1:], start=1))


def _moved(view: BatchedStream) -> tuple[Any, ...]:
    summary = view.summary
    return (
        view.stream_id,
        view.head_seq,
        view.revision,
        view.epoch if view.is_fenced else None,
        summary is not None,
        *_summary(summary),
        view.wake_at_us,
        view.wake_while_leased_at_us,
    )


def _made(view: BatchedStream, new: NewStream) -> tuple[Any, ...]:
    return (
        view.stream_id,
        view.workspace_id,
        new.kind,
        new.parent_stream_id,
        view.head_seq,
        view.created_seq,
        view.wake_at_us,
        view.made_at_us,
        referring(new.refers_to),
        *_summary(view.summary),
    )


def _summary(summary: StreamSummary | None) -> tuple[Any, ...]:
    if summary is None:
        return (None,) * 5
    return (
        summary.status,
        encoded(summary.title),
        summary.agent_id,
        summary.agent_version,
        summary.archived_at_us,
    )


def _event(row: EventRow) -> tuple[Any, ...]:
    return (
        row.stream_id,
        row.seq,
        row.workspace_id,
        row.event_id,
        row.thread_id,
        row.type,
        row.visibility,
        row.schema_version,
        row.created_at_us,
        row.body,
    )


def _key(view: BatchedStream, key: str, first_seq: int, last_seq: int) -> tuple[Any, ...]:
    return view.stream_id, key, view.workspace_id, first_seq, last_seq


def _account(view: BatchedStream, row: Account) -> tuple[Any, ...]:
    return (
        row.stream_id,
        row.purpose,
        row.unit,
        view.workspace_id,
        row.cap,
        row.spent,
        row.held,
        row.granted,
        row.is_stopped,
    )


def _hold(view: BatchedStream, row: HoldRow) -> tuple[Any, ...]:
    return (
        row.stream_id,
        row.hold_id,
        row.unit,
        view.workspace_id,
        row.purpose,
        row.amount,
        row.state,
        row.settled,
        row.is_overrun,
        row.seq,
        row.created_at_us,
        row.settled_at_us,
    )


def _grant(view: BatchedStream, row: GrantRow) -> tuple[Any, ...]:
    return (
        row.stream_id,
        row.grant_id,
        row.unit,
        row.purpose,
        row.direction,
        view.workspace_id,
        row.amount,
        row.state,
        row.spent,
        row.child_stream_id,
    )


def _outbox(view: BatchedStream, item: OutboxItem) -> tuple[Any, ...]:
    return view.stream_id, view.workspace_id, item.target_stream_id, msgspec.msgpack.encode(item.event)
