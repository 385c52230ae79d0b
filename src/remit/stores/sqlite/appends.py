"""The append as SQL: what runs inside one savepoint of the writer's transaction."""

from __future__ import annotations

import apsw
import msgspec

from remit.errors import Conflict, LeaseLost, NotFound, SequenceConflict
from remit.stores.append_rules import referring
from remit.stores.sqlite.cursor import Cursor
from remit.stores.sqlite.ledger_rows import apply_effects_in
from remit.stores.sqlite.rows import EVENT_COLUMNS, event_row
from remit.values import Append, Appended, EventRow, NewStream, StreamSummary

_INSERT_STREAM = """
INSERT INTO streams (stream_id, workspace_id, kind, parent_stream_id, head_seq, created_seq, epoch, lease_until_us,
                     created_at_us, refers_to, status, title, agent_id, agent_version, archived_at_us)
VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?)
"""

# The fence is in the statement that moves the head: a stale epoch cannot pass between a check and a write.
_MOVE_HEAD = """
UPDATE streams SET head_seq = head_seq + ?1
WHERE stream_id = ?2 AND workspace_id = ?3 AND deleted_at_us IS NULL
  AND (?4 IS NULL OR epoch = ?4) AND (?5 IS NULL OR head_seq = ?5)
RETURNING head_seq
"""

_WHY_NOT_MOVED = """
SELECT epoch, head_seq FROM streams WHERE stream_id = ? AND workspace_id = ? AND deleted_at_us IS NULL
"""

_FIND_KEY = """
SELECT s.head_seq, k.first_seq, k.last_seq
FROM streams s LEFT JOIN event_keys k ON k.stream_id = s.stream_id AND k.key = ?3
WHERE s.stream_id = ?1 AND s.workspace_id = ?2 AND s.deleted_at_us IS NULL
"""

_INSERT_EVENT = """
INSERT INTO events (stream_id, seq, workspace_id, event_id, thread_id, type, visibility, schema_version,
                    created_at_us, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_INSERT_KEY = (
    "INSERT INTO event_keys (stream_id, key, workspace_id, first_seq, last_seq) VALUES (?, ?, ?, ?, ?)"
)

# While a stream is leased, `release` learns of new rows by their positions; a wake for now would only cause a useless
# turn when the holder has seen them already.
_SET_WAKE = """
UPDATE streams SET wake_at_us = ?2
WHERE stream_id = ?1 AND (wake_at_us IS NULL OR wake_at_us > ?2)
  AND NOT (owner IS NOT NULL AND ?3 > 0 AND ?2 <= ?4)
"""

_SET_SUMMARY = """
UPDATE streams SET status = ?, title = ?, agent_id = ?, agent_version = ?, archived_at_us = ? WHERE stream_id = ?
"""

_INSERT_OUTBOX = "INSERT INTO outbox (workspace_id, target_stream_id, event) VALUES (?, ?, ?)"


def create_stream(
    cursor: Cursor, workspace_id: str, stream: NewStream, append: Append, now_us: int
) -> Appended:
    """Make the stream with its first append, or say that it exists."""
    existing = cursor.execute(
        "SELECT workspace_id, head_seq, created_seq, deleted_at_us FROM streams WHERE stream_id = ?",
        (stream.stream_id,),
    ).fetchone()
    if existing is not None:
        its_workspace_id, head_seq, created_seq, deleted_at_us = existing
        if its_workspace_id != workspace_id or deleted_at_us is not None:
            raise no_such_stream(stream.stream_id)
        return _duplicate(cursor, workspace_id, stream.stream_id, head_seq, 1, created_seq)
    summary = append.summary or stream.summary
    seq = len(append.events)
    cursor.execute(
        _INSERT_STREAM,
        (
            stream.stream_id,
            workspace_id,
            stream.kind,
            stream.parent_stream_id,
            seq,
            seq,
            now_us,
            referring(stream.refers_to),
            *_summary_values(summary),
        ),
    )
    return _carry_out(cursor, workspace_id, append, head_seq=seq, now_us=now_us)


def append_to_stream(cursor: Cursor, workspace_id: str, append: Append, now_us: int) -> Appended:
    """Carry out one append, with all its checks, in the order of the contract."""
    if append.events and append.events[0].key is not None:
        known = cursor.execute(_FIND_KEY, (append.stream_id, workspace_id, append.events[0].key)).fetchone()
        if known is None:
            raise no_such_stream(append.stream_id)
        if known[1] is not None:
            return _duplicate(cursor, workspace_id, append.stream_id, *known)
    moved = cursor.execute(
        _MOVE_HEAD,
        (len(append.events), append.stream_id, workspace_id, append.epoch, append.expected_seq),
    ).fetchall()
    if not moved:
        raise _refusal(cursor, workspace_id, append)
    if append.summary is not None:
        cursor.execute(_SET_SUMMARY, (*_summary_values(append.summary), append.stream_id))
    return _carry_out(cursor, workspace_id, append, head_seq=moved[0][0], now_us=now_us)


def no_such_stream(stream_id: str) -> NotFound:
    """The same answer for an unknown stream, a deleted one, and another workspace's."""
    return NotFound(f"No stream {stream_id!r} in this workspace.")


def position_conflict(stream_id: str, head_seq: int, expected_seq: int) -> SequenceConflict:
    """The stream has moved on."""
    return SequenceConflict(f"{stream_id!r} is at position {head_seq}, not {expected_seq}: read it again.")


def _carry_out(cursor: Cursor, workspace_id: str, append: Append, *, head_seq: int, now_us: int) -> Appended:
    rows = _insert_events(cursor, workspace_id, append, head_seq=head_seq, now_us=now_us)
    if append.effects:
        apply_effects_in(cursor, workspace_id, append.stream_id, append.effects, seq=head_seq, now_us=now_us)
    for item in append.outbox:
        cursor.execute(
            _INSERT_OUTBOX, (workspace_id, item.target_stream_id, msgspec.msgpack.encode(item.event))
        )
    if append.wake_at_us is not None:
        cursor.execute(_SET_WAKE, (append.stream_id, append.wake_at_us, len(append.events), now_us))
    return Appended(rows=rows, head_seq=head_seq)


def _insert_events(
    cursor: Cursor, workspace_id: str, append: Append, *, head_seq: int, now_us: int
) -> tuple[EventRow, ...]:
    stream_id = append.stream_id
    first_seq = head_seq - len(append.events) + 1
    created_at_us = append.at_us if append.at_us is not None else now_us
    rows: list[EventRow] = []
    for seq, event in enumerate(append.events, start=first_seq):
        if event.key is not None:
            try:
                cursor.execute(_INSERT_KEY, (stream_id, event.key, workspace_id, first_seq, head_seq))
            except apsw.ConstraintError as error:
                raise Conflict(f"Key {event.key!r} is used already in {stream_id!r}.") from error
        values = (
            event.event_id,
            event.thread_id,
            event.type,
            event.visibility,
            event.schema_version,
            created_at_us,
            event.body,
        )
        try:
            cursor.execute(_INSERT_EVENT, (stream_id, seq, workspace_id, *values))
        except apsw.ConstraintError as error:
            raise Conflict(f"{stream_id!r} has a public event {event.event_id!r} already.") from error
        rows.append(event_row(workspace_id, stream_id, (seq, *values)))
    return tuple(rows)


def _duplicate(
    cursor: Cursor, workspace_id: str, stream_id: str, head_seq: int, first_seq: int, last_seq: int
) -> Appended:
    found = cursor.execute(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE stream_id = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        (stream_id, first_seq, last_seq),
    )
    rows = tuple(event_row(workspace_id, stream_id, row) for row in found)
    return Appended(rows=rows, head_seq=head_seq, is_duplicate=True)


def _refusal(cursor: Cursor, workspace_id: str, append: Append) -> NotFound | LeaseLost | SequenceConflict:
    row = cursor.execute(_WHY_NOT_MOVED, (append.stream_id, workspace_id)).fetchone()
    if row is None:
        return no_such_stream(append.stream_id)
    epoch, head_seq = row
    if append.epoch is not None and append.epoch != epoch:
        return LeaseLost(
            f"{append.stream_id!r} is at epoch {epoch}, not {append.epoch}: another worker owns it."
        )
    assert append.expected_seq is not None  # nothing else is in the statement's condition
    return position_conflict(append.stream_id, head_seq, append.expected_seq)


def _summary_values(summary: StreamSummary) -> tuple[str, str | None, str | None, int | None, int | None]:
    return (
        summary.status,
        summary.title,
        summary.agent_id,
        summary.agent_version,
        summary.archived_at_us,
    )
