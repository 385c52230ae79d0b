"""`SessionStore` on SQLite: every write is an operation of the writer, every read one of the readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from remit.clock import Clock
from remit.stores.append_rules import referring, require_valid_append, require_valid_creation
from remit.stores.read_rules import up_to
from remit.stores.sqlite import leases as lease_rows
from remit.stores.sqlite.appends import (
    append_to_stream,
    create_stream,
    no_such_stream,
    position_conflict,
)
from remit.stores.sqlite.cursor import Cursor
from remit.stores.sqlite.database import SqliteDatabase
from remit.stores.sqlite.ledger_rows import load_accounts, load_grants, load_holds
from remit.stores.sqlite.rows import EVENT_COLUMNS, HEAD_COLUMNS, event_row, stream_head
from remit.values import (
    Account,
    Append,
    Appended,
    Checkpoint,
    EventRow,
    GrantRow,
    HoldRow,
    Lease,
    NewEvent,
    NewStream,
    OutboxItem,
    Page,
    Principal,
    StreamFilter,
    StreamHead,
    StreamRead,
    Visibility,
)

ROWS_READ_AT_ONCE_MAX = 100
BYTES_READ_AT_ONCE_MAX = 1 << 20
"""So much is read on the caller's loop; what is beyond it is read in a thread."""

_READ_AFTER = f"""
SELECT {EVENT_COLUMNS} FROM events
WHERE stream_id = ?1 AND seq > ?2 AND (?3 IS NULL OR visibility = ?3) ORDER BY seq LIMIT ?4
"""

_READ_BEFORE = f"""
SELECT {EVENT_COLUMNS} FROM events
WHERE stream_id = ?1 AND seq < ?2 AND (?3 IS NULL OR visibility = ?3) ORDER BY seq DESC LIMIT ?4
"""

_PUT_CHECKPOINT = """
INSERT INTO checkpoints (stream_id, workspace_id, seq, version, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (stream_id) DO UPDATE SET seq = excluded.seq, version = excluded.version, body = excluded.body
WHERE (checkpoints.version, checkpoints.seq) <= (excluded.version, excluded.seq)
"""


class SqliteSessionStore:
    """`SessionStore` in one SQLite file."""

    def __init__(self, database: SqliteDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @property
    def queued_writes(self) -> int:
        """Writes that wait for a transaction."""
        return self._database.queued

    # ------------------------------------------------------------------------------------------- appends

    async def create_stream(self, principal: Principal, stream: NewStream, append: Append) -> Appended:
        require_valid_creation(stream, append)
        workspace_id = principal.workspace_id
        return await self._database.write(
            lambda cursor: create_stream(cursor, workspace_id, stream, append, self._clock.now_us())
        )

    async def append(self, principal: Principal, append: Append) -> Appended:
        require_valid_append(append)
        workspace_id = principal.workspace_id
        return await self._database.write(
            lambda cursor: append_to_stream(cursor, workspace_id, append, self._clock.now_us()),
            is_workers=principal.kind == "worker",
        )

    async def delete_stream(self, principal: Principal, stream_id: str, *, expected_seq: int) -> None:
        def run(cursor: Cursor) -> None:
            head = _head(cursor, principal, stream_id)
            if head.seq != expected_seq:
                raise position_conflict(stream_id, head.seq, expected_seq)
            cursor.execute(
                "UPDATE streams SET deleted_at_us = ?, owner = NULL, wake_at_us = NULL, title = NULL, agent_id = NULL "
                "WHERE stream_id = ?",
                (self._clock.now_us(), stream_id),
            )
            for table in ("events", "event_keys", "checkpoints"):
                cursor.execute(f"DELETE FROM {table} WHERE stream_id = ?", (stream_id,))
            cursor.execute(
                "DELETE FROM holds WHERE stream_id = ?1 AND state != 'open' AND EXISTS "
                "(SELECT 1 FROM streams WHERE stream_id = ?1 AND parent_stream_id IS NULL)",
                (stream_id,),
            )

        await self._database.write(run)

    # --------------------------------------------------------------------------------------------- reads

    async def read(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        return await self._read_rows(
            _READ_AFTER, principal, stream_id, after_seq, visibility, limit, bytes_max
        )

    async def read_stream(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
    ) -> StreamRead:
        def run(cursor: Cursor, limit: int, bytes_max: int | None) -> StreamRead:
            cursor.execute("BEGIN")  # one instant for the three
            try:
                head = _head(cursor, principal, stream_id)
                rows = list[EventRow]()
                if after_seq < head.seq:
                    found = cursor.execute(_READ_AFTER, (stream_id, after_seq, None, limit))
                    rows = up_to((event_row(head.workspace_id, stream_id, row) for row in found), bytes_max)
                return StreamRead(head=head, rows=tuple(rows), accounts=load_accounts(cursor, stream_id))
            finally:
                cursor.execute("COMMIT")

        first_max = min(limit, ROWS_READ_AT_ONCE_MAX)
        first = self._database.read(lambda cursor: run(cursor, first_max, BYTES_READ_AT_ONCE_MAX))
        size = sum(len(row.body) for row in first.rows)
        has_all = len(first.rows) < first_max or first_max == limit
        if has_all and size < min(BYTES_READ_AT_ONCE_MAX, bytes_max or BYTES_READ_AT_ONCE_MAX):
            return first
        return await self._database.read_in_thread(lambda cursor: run(cursor, limit, bytes_max))

    async def read_before(
        self,
        principal: Principal,
        stream_id: str,
        *,
        before_seq: int,
        limit: int,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        return await self._read_rows(
            _READ_BEFORE, principal, stream_id, before_seq, visibility, limit, bytes_max
        )

    async def _read_rows(
        self,
        statement: str,
        principal: Principal,
        stream_id: str,
        seq: int,
        visibility: Visibility | None,
        limit: int,
        bytes_max: int | None,
    ) -> list[EventRow]:
        def run(cursor: Cursor, from_seq: int, limit: int, bytes_max: int | None) -> list[EventRow]:
            head_seq = _require_stream(cursor, principal, stream_id)
            if statement is _READ_AFTER and from_seq >= head_seq:  # the usual answer to whoever catches up
                return []
            found = cursor.execute(statement, (stream_id, from_seq, visibility, limit))
            rows = (event_row(principal.workspace_id, stream_id, row) for row in found)
            return up_to(rows, bytes_max)

        first_max = min(limit, ROWS_READ_AT_ONCE_MAX)
        bytes_first_max = (
            BYTES_READ_AT_ONCE_MAX if bytes_max is None else min(bytes_max, BYTES_READ_AT_ONCE_MAX)
        )
        # Whoever asks for many mostly finds few: a worker that catches up several times in each turn.
        first = self._database.read(lambda cursor: run(cursor, seq, first_max, bytes_first_max))
        size = sum(len(row.body) for row in first)
        is_out = len(first) < first_max and size < bytes_first_max
        if is_out or len(first) == limit or (bytes_max is not None and size >= bytes_max):
            return first
        # A log only grows, so the two reads are one.
        last_seq, more = first[-1].seq, limit - len(first)
        bytes_left = None if bytes_max is None else bytes_max - size
        return first + await self._database.read_in_thread(
            lambda cursor: run(cursor, last_seq, more, bytes_left)
        )

    async def find_events(self, principal: Principal, stream_id: str, event_id: str) -> Sequence[EventRow]:
        def run(cursor: Cursor) -> list[EventRow]:
            _require_stream(cursor, principal, stream_id)
            found = cursor.execute(
                f"SELECT {EVENT_COLUMNS} FROM events WHERE stream_id = ? AND event_id = ? ORDER BY seq",
                (stream_id, event_id),
            )
            return [event_row(principal.workspace_id, stream_id, row) for row in found]

        return self._database.read(run)

    async def head(self, principal: Principal, stream_id: str) -> StreamHead:
        return self._database.read(lambda cursor: _head(cursor, principal, stream_id))

    async def list_streams(
        self, principal: Principal, filter: StreamFilter, page: Page
    ) -> Sequence[StreamHead]:
        statement, values = _list_statement(principal, filter, page)

        def run(cursor: Cursor) -> list[StreamHead]:
            return [stream_head(row) for row in cursor.execute(statement, values)]

        return await self._database.read_in_thread(run)

    async def accounts(
        self, principal: Principal, stream_id: str, *, purposes: Sequence[str] | None = None
    ) -> Sequence[Account]:
        def run(cursor: Cursor) -> Sequence[Account]:
            _require_stream(cursor, principal, stream_id, with_deleted=True)
            return load_accounts(cursor, stream_id, purposes)

        return self._database.read(run)

    async def holds(
        self, principal: Principal, stream_id: str, *, only_open: bool = False
    ) -> Sequence[HoldRow]:
        def run(cursor: Cursor) -> Sequence[HoldRow]:
            _require_stream(cursor, principal, stream_id, with_deleted=True)
            return load_holds(cursor, stream_id, only_open=only_open)

        if only_open:
            return self._database.read(run)
        return await self._database.read_in_thread(run)

    async def grants(self, principal: Principal, stream_id: str) -> Sequence[GrantRow]:
        def run(cursor: Cursor) -> Sequence[GrantRow]:
            _require_stream(cursor, principal, stream_id, with_deleted=True)
            return load_grants(cursor, stream_id)

        return await self._database.read_in_thread(run)

    # --------------------------------------------------------------------------------- wakes and leases

    async def claim(
        self,
        owner: str,
        *,
        kinds: Sequence[str],
        lease_seconds: float,
        limit: int,
        stream_id: str | None = None,
        running: Mapping[str, int] | None = None,
        each_max: int | None = None,
    ) -> Sequence[Lease]:
        def run(cursor: Cursor) -> list[Lease]:
            now_us = self._clock.now_us()
            return lease_rows.claim(
                cursor,
                owner,
                kinds=kinds,
                until_us=now_us + round(lease_seconds * 1_000_000),
                limit=limit,
                stream_id=stream_id,
                running=running or {},
                each_max=each_max,
                now_us=now_us,
            )

        return await self._database.write(run, is_workers=True)

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        def run(cursor: Cursor) -> list[str]:
            until_us = self._clock.now_us() + round(lease_seconds * 1_000_000)
            return lease_rows.renew(cursor, leases, until_us=until_us)

        return await self._database.write(run, is_workers=True)

    async def release(
        self, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool = False
    ) -> None:
        await self._database.write(
            lambda cursor: lease_rows.release(
                cursor,
                lease,
                seen_seq=seen_seq,
                wake_at_us=wake_at_us,
                is_near=is_near,
                now_us=self._clock.now_us(),
            ),
            is_workers=True,
        )

    async def wake(self, principal: Principal, stream_id: str, *, at_us: int) -> None:
        await self._database.write(
            lambda cursor: lease_rows.wake(cursor, principal.workspace_id, stream_id, at_us=at_us),
            is_workers=principal.kind == "worker",
        )

    async def next_wake_us(self, kinds: Sequence[str], *, owner: str | None = None) -> int | None:
        return self._database.read(
            lambda cursor: lease_rows.next_wake_us(cursor, kinds, owner=owner, now_us=self._clock.now_us())
        )

    async def raise_epochs(self) -> None:
        await self._database.write(
            lambda cursor: lease_rows.raise_epochs(cursor, now_us=self._clock.now_us())
        )

    # ------------------------------------------------------------------------------ outbox, checkpoints

    async def outbox_due(self, limit: int) -> Sequence[tuple[int, str, OutboxItem]]:
        def run(cursor: Cursor) -> list[tuple[int, str, OutboxItem]]:
            found = cursor.execute(
                "SELECT position, workspace_id, target_stream_id, event FROM outbox ORDER BY position LIMIT ?",
                (limit,),
            )
            return [
                (position, workspace_id, OutboxItem(target_stream_id=target, event=_decode_event(event)))
                for position, workspace_id, target, event in found
            ]

        return self._database.read(run)

    async def outbox_done(self, positions: Sequence[int]) -> None:
        def run(cursor: Cursor) -> None:
            for position in positions:
                cursor.execute("DELETE FROM outbox WHERE position = ?", (position,))

        await self._database.write(run, is_workers=True)

    async def put_checkpoint(self, principal: Principal, checkpoint: Checkpoint) -> None:
        def run(cursor: Cursor) -> None:
            _require_stream(cursor, principal, checkpoint.stream_id)
            cursor.execute(
                _PUT_CHECKPOINT,
                (
                    checkpoint.stream_id,
                    principal.workspace_id,
                    checkpoint.seq,
                    checkpoint.version,
                    checkpoint.body,
                ),
            )

        await self._database.write(run)

    async def checkpoint(self, principal: Principal, stream_id: str) -> Checkpoint | None:
        def run(cursor: Cursor) -> Checkpoint | None:
            _require_stream(cursor, principal, stream_id)
            row = cursor.execute(
                "SELECT seq, version, body FROM checkpoints WHERE stream_id = ?", (stream_id,)
            ).fetchone()
            if row is None:
                return None
            return Checkpoint(stream_id=stream_id, seq=row[0], version=row[1], body=row[2])

        return self._database.read(run)

    async def close(self) -> None:
        await self._database.close()


def _require_stream(
    cursor: Cursor, principal: Principal, stream_id: str, *, with_deleted: bool = False
) -> int:
    """Its head's position. Raises NotFound."""
    row = cursor.execute(
        "SELECT deleted_at_us, head_seq FROM streams WHERE stream_id = ? AND workspace_id = ?",
        (stream_id, principal.workspace_id),
    ).fetchone()
    if row is None or (row[0] is not None and not with_deleted):
        raise no_such_stream(stream_id)
    return row[1]


def _head(cursor: Cursor, principal: Principal, stream_id: str) -> StreamHead:
    row = cursor.execute(
        f"SELECT {HEAD_COLUMNS} FROM streams WHERE stream_id = ? AND workspace_id = ? AND deleted_at_us IS NULL",
        (stream_id, principal.workspace_id),
    ).fetchone()
    if row is None:
        raise no_such_stream(stream_id)
    return stream_head(row)


def _list_statement(
    principal: Principal, filter: StreamFilter, page: Page
) -> tuple[str, list[str | int | None]]:
    conditions = ["workspace_id = ?", "kind = ?", "deleted_at_us IS NULL"]
    values: list[str | int | None] = [principal.workspace_id, filter.kind]
    if filter.statuses:
        conditions.append(f"status IN ({', '.join('?' * len(filter.statuses))})")
        values.extend(filter.statuses)
    if not filter.include_archived:
        conditions.append("archived_at_us IS NULL")
    for condition, value in (
        ("agent_id = ?", filter.agent_id),
        ("agent_version = ?", filter.agent_version),
        ("parent_stream_id = ?", filter.parent_stream_id),
        ("(owner IS NOT NULL OR wake_at_us <= ?)", filter.due_by_us),
        ("instr(refers_to, ?) > 0", referring([filter.refers_to]) if filter.refers_to is not None else None),
        ("created_at_us > ?", filter.created_after_us),
        ("created_at_us < ?", filter.created_before_us),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if page.position is not None:
        conditions.append(f"(created_at_us, stream_id) {'>' if page.is_ascending else '<'} (?, ?)")
        values.extend(page.position)
    direction = "ASC" if page.is_ascending else "DESC"
    statement = (
        f"SELECT {HEAD_COLUMNS} FROM streams WHERE {' AND '.join(conditions)} "
        f"ORDER BY created_at_us {direction}, stream_id {direction} LIMIT ?"
    )
    return statement, [*values, page.limit]


def _decode_event(encoded: bytes) -> NewEvent:
    return msgspec.msgpack.decode(encoded, type=NewEvent)
