"""Database rows to values and back. Columns are listed once, in the order the functions expect."""

from __future__ import annotations

import msgspec

from remit.stores.sqlite.cursor import Row
from remit.values import Account, EventRow, GrantRow, HoldRow, KeyRow, Resource, StreamHead, StreamSummary

EVENT_COLUMNS = "seq, event_id, thread_id, type, visibility, schema_version, created_at_us, body"

HEAD_COLUMNS = (
    "workspace_id, stream_id, kind, parent_stream_id, head_seq, epoch, owner, lease_until_us, wake_at_us, "
    "created_at_us, status, title, agent_id, agent_version, archived_at_us"
)

ACCOUNT_COLUMNS = "unit, purpose, cap, spent, held, granted, is_stopped"

HOLD_COLUMNS = "hold_id, unit, purpose, amount, state, settled, is_overrun, seq, created_at_us, settled_at_us"

GRANT_COLUMNS = "grant_id, unit, purpose, direction, amount, state, spent, child_stream_id"

RESOURCE_COLUMNS = (
    "workspace_id, kind, id, version, name, body, created_at_us, updated_at_us, archived_at_us, parent_id, "
    "unique_key, labels"
)

KEY_COLUMNS = "id, sha256, kind, name, scopes, workspace_id, created_at_us, expires_at_us, revoked_at_us"


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
            title=row[11],
            agent_id=row[12],
            agent_version=row[13],
            archived_at_us=row[14],
        ),
    )


def account(stream_id: str, row: Row) -> Account:
    unit, purpose, cap, spent, held, granted, is_stopped = row
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


def hold(stream_id: str, row: Row) -> HoldRow:
    return HoldRow(
        stream_id=stream_id,
        hold_id=row[0],
        unit=row[1],
        purpose=row[2],
        amount=row[3],
        state=row[4],
        settled=row[5],
        is_overrun=bool(row[6]),
        seq=row[7],
        created_at_us=row[8],
        settled_at_us=row[9],
    )


def grant(stream_id: str, row: Row) -> GrantRow:
    return GrantRow(
        stream_id=stream_id,
        grant_id=row[0],
        unit=row[1],
        purpose=row[2],
        direction=row[3],
        amount=row[4],
        state=row[5],
        spent=row[6],
        child_stream_id=row[7],
    )


def resource(row: Row) -> Resource:
    return Resource(
        workspace_id=row[0],
        kind=row[1],
        id=row[2],
        version=row[3],
        name=row[4],
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
        name=row[3],
        scopes=msgspec.json.decode(row[4], type=tuple[str, ...]),
        workspace_id=row[5],
        created_at_us=row[6],
        expires_at_us=row[7],
        revoked_at_us=row[8],
    )
