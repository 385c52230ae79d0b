"""Database rows to values and back.

Where one statement answers with rows of several tables, each is (what, stream_id, texts, numbers, bytes): so a stream's
head, rows and accounts are of one instant and one round trip. The selections are beside the functions that read them.
"""

from __future__ import annotations

import msgspec

from remit.stores.postgres.connection import Row
from remit.values import (
    Account,
    EventRow,
    GrantRow,
    HoldRow,
    KeyRow,
    Resource,
    StreamHead,
    StreamSummary,
)

EVENT_COLUMNS = "seq, event_id, thread_id, type, visibility, schema_version, created_at_us, body"

HEAD_COLUMNS = (
    "workspace_id, stream_id, kind, parent_stream_id, head_seq, epoch, owner, lease_until_us, wake_at_us, "
    "created_at_us, status, title, agent_id, agent_version, archived_at_us"
)

RESOURCE_COLUMNS = (
    "workspace_id, kind, id, version, name, body, created_at_us, updated_at_us, archived_at_us, parent_id, "
    "unique_key, labels"
)

KEY_COLUMNS = "id, sha256, kind, name, scopes, workspace_id, created_at_us, expires_at_us, revoked_at_us"

HEADS = """
SELECT 'head'::text AS what, stream_id,
       ARRAY[workspace_id, kind, parent_stream_id, owner, status, agent_id] AS texts,
       ARRAY[head_seq, epoch, lease_until_us, wake_at_us, created_at_us, agent_version, archived_at_us] AS numbers,
       title AS bytes
FROM streams
"""

ACCOUNTS = """
SELECT 'account', stream_id, ARRAY[purpose, unit], ARRAY[cap, spent, held, granted, is_stopped::int], NULL
FROM accounts
"""

HOLDS = """
SELECT 'hold', stream_id, ARRAY[hold_id, unit, purpose, state],
       ARRAY[amount, settled, is_overrun::int, seq, created_at_us, settled_at_us], NULL
FROM holds
"""

GRANTS = """
SELECT 'grant', stream_id, ARRAY[grant_id, unit, purpose, direction, state, child_stream_id],
       ARRAY[amount, spent], NULL
FROM grants
"""

EVENTS = """
SELECT 'event', stream_id, ARRAY[event_id, thread_id, type, visibility],
       ARRAY[seq, schema_version, created_at_us], body
FROM events
"""


def head_of(row: Row) -> StreamHead:
    _, stream_id, texts, numbers, title = row
    return StreamHead(
        workspace_id=texts[0],
        stream_id=stream_id,
        kind=texts[1],
        parent_stream_id=texts[2],
        seq=numbers[0],
        epoch=numbers[1],
        owner=texts[3],
        lease_until_us=numbers[2],
        wake_at_us=numbers[3],
        created_at_us=numbers[4],
        summary=StreamSummary(
            status=texts[4],
            title=decoded(title),
            agent_id=texts[5],
            agent_version=numbers[5],
            archived_at_us=numbers[6],
        ),
    )


def account_of(row: Row) -> Account:
    _, stream_id, (purpose, unit), (cap, spent, held, granted, is_stopped), _ = row
    return Account(
        stream_id=stream_id,
        unit=unit,
        purpose=purpose,
        cap=cap,
        spent=spent,
        held=held,
        granted=granted,
        is_stopped=bool(is_stopped),
    )


def hold_of(row: Row) -> HoldRow:
    _, stream_id, (hold_id, unit, purpose, state), numbers, _ = row
    return HoldRow(
        stream_id=stream_id,
        hold_id=hold_id,
        unit=unit,
        purpose=purpose,
        amount=numbers[0],
        state=state,
        settled=numbers[1],
        is_overrun=bool(numbers[2]),
        seq=numbers[3],
        created_at_us=numbers[4],
        settled_at_us=numbers[5],
    )


def grant_of(row: Row) -> GrantRow:
    _, stream_id, (grant_id, unit, purpose, direction, state, child_stream_id), (amount, spent), _ = row
    return GrantRow(
        stream_id=stream_id,
        grant_id=grant_id,
        unit=unit,
        purpose=purpose,
        direction=direction,
        amount=amount,
        state=state,
        spent=spent,
        child_stream_id=child_stream_id,
    )


def event_of(row: Row, workspace_id: str) -> EventRow:
    _, stream_id, (event_id, thread_id, type, visibility), (seq, schema_version, created_at_us), body = row
    return EventRow(
        workspace_id=workspace_id,
        stream_id=stream_id,
        seq=seq,
        event_id=event_id,
        type=type,
        visibility=visibility,
        schema_version=schema_version,
        created_at_us=created_at_us,
        body=body,
        thread_id=thread_id,
    )


def event_row(workspace_id: str, stream_id: str, row: Row) -> EventRow:
    seq, event_id, thread_id, type, visibility, schema_version, created_at_us, body = row
    return EventRow(
        workspace_id=workspace_id,
        stream_id=stream_id,
        seq=seq,
        event_id=event_id,
        type=type,
        visibility=visibility,
        schema_version=schema_version,
        created_at_us=created_at_us,
        body=body,
        thread_id=thread_id,
    )


def stream_head(row: Row) -> StreamHead:
    return StreamHead(
        workspace_id=row[0],
        stream_id=row[1],
        kind=row[2],
        parent_stream_id=row[3],
        seq=row[4],
        epoch=row[5],
        owner=row[6],
        lease_until_us=row[7],
        wake_at_us=row[8],
        created_at_us=row[9],
        summary=StreamSummary(
            status=row[10],
            title=decoded(row[11]),
            agent_id=row[12],
            agent_version=row[13],
            archived_at_us=row[14],
        ),
    )


def resource(row: Row) -> Resource:
    return Resource(
        workspace_id=row[0],
        kind=row[1],
        id=row[2],
        version=row[3],
        name=decoded(row[4]),
        body=row[5],
        created_at_us=row[6],
        updated_at_us=row[7],
        archived_at_us=row[8],
        parent_id=row[9],
        unique_key=row[10],
        labels={} if row[11] == "{}" else msgspec.json.decode(row[11], type=dict[str, str]),
    )


def key(row: Row) -> KeyRow:
    return KeyRow(
        id=row[0],
        sha256=row[1],
        kind=row[2],
        name=row[3].decode(),
        scopes=msgspec.json.decode(row[4], type=tuple[str, ...]),
        workspace_id=row[5],
        created_at_us=row[6],
        expires_at_us=row[7],
        revoked_at_us=row[8],
    )


def encoded(text: str | None) -> bytes | None:
    """A text of people's as bytes: PostgreSQL's own has no NUL."""
    return None if text is None else text.encode()


def decoded(content: bytes | None) -> str | None:
    return None if content is None else content.decode()
