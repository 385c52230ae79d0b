"""Database rows to values and back. Most tables have the fields of a value for columns."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from remit.stores.sqlite.cursor import Row
from remit.values import EventRow, KeyRow, Resource, StreamHead, StreamSummary, Value

V = TypeVar("V", bound=Value)

EVENT_COLUMNS = "seq, event_id, thread_id, type, visibility, schema_version, created_at_us, body"

HEAD_COLUMNS = (
    "workspace_id, stream_id, kind, parent_stream_id, head_seq, epoch, owner, lease_until_us, wake_at_us, "
    "created_at_us, status, title, agent_id, agent_version, archived_at_us"
)


def columns_of(kind: type[Value]) -> str:
    """The fields of a value, as the columns of its table."""
    return ", ".join(kind.__struct_fields__)


def bindings_of(kind: type[Value]) -> str:
    """The same, as names in place of the values."""
    return ", ".join(f":{name}" for name in kind.__struct_fields__)


RESOURCE_COLUMNS, KEY_COLUMNS = columns_of(Resource), columns_of(KeyRow)


def value_of(kind: type[V], row: Row, **fields: object) -> V:
    """The value in a row with all its columns; `fields` are those that stand there encoded."""
    found = dict(zip(kind.__struct_fields__, row, strict=True))
    return msgspec.convert({**found, **fields}, kind, strict=False)  # SQLite has no truth values


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


def resource(row: Row) -> Resource:
    labels = row[-1]
    return value_of(Resource, row, labels={} if labels == "{}" else msgspec.json.decode(labels))


def key(row: Row) -> KeyRow:
    return value_of(KeyRow, row, scopes=msgspec.json.decode(row[4]))
