"""`SessionStore` on PostgreSQL: appends go through the lanes, all else is a statement on a connection of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from remit.clock import Clock
from remit.stores.append_rules import referring, require_valid_append, require_valid_creation
from remit.stores.postgres import leases as lease_rows
from remit.stores.postgres.connection import PostgresConnection
from remit.stores.postgres.database import PostgresDatabase, SkewedClock
from remit.stores.postgres.lanes import Lanes, OnCommit, forget_lanes, unobserved
from remit.stores.postgres.rows import (
    ACCOUNTS,
    EVENT_COLUMNS,
    EVENTS,
    GRANTS,
    HEAD_COLUMNS,
    HEADS,
    HOLDS,
    account_of,
    event_of,
    event_row,
    grant_of,
    head_of,
    hold_of,
    stream_head,
)
from remit.stores.postgres.views import Order, no_such_stream, position_conflict
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

_THERE = "stream_id = $1 AND workspace_id = $2 AND deleted_at_us IS NULL"

# One row even where the stream has none after the position: it tells that there is a stream.
_READ = f"""
SELECT e.* FROM streams s LEFT JOIN LATERAL (
    SELECT {EVENT_COLUMNS} FROM (
        SELECT {EVENT_COLUMNS},
               sum(octet_length(body)) OVER (ORDER BY seq {{order}}) - octet_length(body) AS bytes_before
        FROM events
        WHERE stream_id = $1 AND seq {{sign}} $3 AND ($4::text IS NULL OR visibility = $4)
        ORDER BY seq {{order}} LIMIT $5) counted
    WHERE $6::bigint IS NULL OR bytes_before < $6) e ON true
WHERE s.stream_id = $1 AND s.workspace_id = $2 AND s.deleted_at_us IS NULL
ORDER BY e.seq {{order}}
"""
_READ_AFTER = _READ.format(sign=">", order="ASC")
_READ_BEFORE = _READ.format(sign="<", order="DESC")

_READ_STREAM = f"""
{HEADS} WHERE {_THERE}
UNION ALL
{ACCOUNTS} WHERE stream_id = $1
UNION ALL
SELECT what, stream_id, texts, numbers, body FROM (
    SELECT events.*, sum(octet_length(body)) OVER (ORDER BY numbers[1]) - octet_length(body) AS bytes_before FROM (
        SELECT * FROM ({EVENTS} WHERE stream_id = $1 AND seq > $3 ORDER BY seq LIMIT $4)
        AS limited (what, stream_id, texts, numbers, body)) events) counted
WHERE $5::bigint IS NULL OR bytes_before < $5
"""

_LEDGER_ROWS = """
SELECT found.* FROM streams s LEFT JOIN LATERAL ({rows}) AS found (what, stream_id, texts, numbers, bytes) ON true
WHERE s.stream_id = $1 AND s.workspace_id = $2
"""
_READ_ACCOUNTS = _LEDGER_ROWS.format(
    rows=f"{ACCOUNTS} WHERE stream_id = $1 AND ($3::text[] IS NULL OR purpose = ANY($3)) ORDER BY purpose, unit"
)
_READ_HOLDS = _LEDGER_ROWS.format(
    rows=f"{HOLDS} WHERE stream_id = $1 AND (NOT $3 OR state = 'open') ORDER BY position"
)
_READ_GRANTS = _LEDGER_ROWS.format(rows=f"{GRANTS} WHERE stream_id = $1 ORDER BY position")

_PUT_CHECKPOINT = f"""
INSERT INTO checkpoints (stream_id, workspace_id, seq, version, body)
SELECT stream_id, workspace_id, $3, $4, $5 FROM streams WHERE {_THERE}
ON CONFLICT (stream_id) DO UPDATE SET seq = excluded.seq, version = excluded.version, body = excluded.body
WHERE (checkpoints.version, checkpoints.seq) <= (excluded.version, excluded.seq)
"""


class PostgresSessionStore:
    """`SessionStore` in one PostgreSQL database. `skew_us`: how far its clock is before ours; what is compared between
    processes is told by it."""

    def __init__(
        self,
        database: PostgresDatabase,
        clock: Clock,
        *,
        name: str,
        skew_us: int = 0,
        on_commit: OnCommit = unobserved,
    ) -> None:
        self._database = database
        self._clock = SkewedClock(clock, skew_us) if skew_us else clock
        self._name = name
        self._lanes = Lanes(database, self._clock, name, on_commit=on_commit)

    @property
    def queued_writes(self) -> int:
        """Appends that wait for a transaction."""
        return self._lanes.queued

    # ------------------------------------------------------------------------------------------- appends

    async def create_stream(self, principal: Principal, stream: NewStream, append: Append) -> Appended:
        require_valid_creation(stream, append)
        return await self._lanes.write(
            Order(principal.workspace_id, append, stream), is_workers=principal.kind == "worker"
        )

    async def append(self, principal: Principal, append: Append) -> Appended:
        require_valid_append(append)
        return await self._lanes.write(
            Order(principal.workspace_id, append), is_workers=principal.kind == "worker"
        )

    async def delete_stream(self, principal: Principal, stream_id: str, *, expected_seq: int) -> None:
        async def run(connection: PostgresConnection) -> None:
            async with connection.transaction():
                row = await connection.fetchrow(
                    f"SELECT head_seq, parent_stream_id FROM streams WHERE {_THERE} FOR UPDATE",
                    stream_id,
                    principal.workspace_id,
                )
                if row is None:
                    raise no_such_stream(stream_id)
                if row[0] != expected_seq:
                    raise position_conflict(stream_id, row[0], expected_seq)
                await connection.execute(
                    "UPDATE streams SET deleted_at_us = $2, revision = revision + 1, owner = NULL, wake_at_us = NULL, "
                    "title = NULL, agent_id = NULL WHERE stream_id = $1",
                    stream_id,
                    self._clock.now_us(),
                )
                for table in ("events", "event_keys", "checkpoints"):
                    await connection.execute(f"DELETE FROM {table} WHERE stream_id = $1", stream_id)
                if row[1] is None:
                    await connection.execute(
                        "DELETE FROM holds WHERE stream_id = $1 AND state <> 'open'", stream_id
                    )

        await self._database.run(run, is_repeatable=False)

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
        workspace_id = principal.workspace_id
        found = await self._database.run(
            lambda connection: connection.fetch(
                statement, stream_id, workspace_id, seq, visibility, limit, bytes_max
            )
        )
        if not found:
            raise no_such_stream(stream_id)
        return [event_row(workspace_id, stream_id, row) for row in found if row[0] is not None]

    async def read_stream(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
    ) -> StreamRead:
        found = await self._database.run(
            lambda connection: connection.fetch(
                _READ_STREAM, stream_id, principal.workspace_id, after_seq, limit, bytes_max
            )
        )
        heads = [head_of(row) for row in found if row[0] == "head"]
        if not heads:
            raise no_such_stream(stream_id)
        rows = [event_of(row, principal.workspace_id) for row in found if row[0] == "event"]
        accounts = [account_of(row) for row in found if row[0] == "account"]
        return StreamRead(
            head=heads[0],
            rows=tuple(sorted(rows, key=lambda row: row.seq)),
            accounts=tuple(sorted(accounts, key=lambda account: (account.purpose, account.unit))),
        )

    async def find_events(self, principal: Principal, stream_id: str, event_id: str) -> Sequence[EventRow]:
        workspace_id = principal.workspace_id
        found = await self._database.run(
            lambda connection: connection.fetch(
                f"SELECT e.* FROM streams s LEFT JOIN LATERAL (SELECT {EVENT_COLUMNS} FROM events "
                "WHERE stream_id = $1 AND event_id = $3 ORDER BY seq) e ON true "
                "WHERE s.stream_id = $1 AND s.workspace_id = $2 AND s.deleted_at_us IS NULL ORDER BY e.seq",
                stream_id,
                workspace_id,
                event_id,
            )
        )
        if not found:
            raise no_such_stream(stream_id)
        return [event_row(workspace_id, stream_id, row) for row in found if row[0] is not None]

    async def head(self, principal: Principal, stream_id: str) -> StreamHead:
        row = await self._database.run(
            lambda connection: connection.fetchrow(
                f"SELECT {HEAD_COLUMNS} FROM streams WHERE {_THERE}", stream_id, principal.workspace_id
            )
        )
        if row is None:
            raise no_such_stream(stream_id)
        return stream_head(row)

    async def list_streams(
        self, principal: Principal, filter: StreamFilter, page: Page
    ) -> Sequence[StreamHead]:
        statement, values = _list_statement(principal, filter, page)
        found = await self._database.run(lambda connection: connection.fetch(statement, *values))
        return [stream_head(row) for row in found]

    async def accounts(
        self, principal: Principal, stream_id: str, *, purposes: Sequence[str] | None = None
    ) -> Sequence[Account]:
        asked = None if purposes is None else list(purposes)
        found = await self._ledger_rows(_READ_ACCOUNTS, principal, stream_id, asked)
        return [account_of(row) for row in found]

    async def holds(
        self, principal: Principal, stream_id: str, *, only_open: bool = False
    ) -> Sequence[HoldRow]:
        return [hold_of(row) for row in await self._ledger_rows(_READ_HOLDS, principal, stream_id, only_open)]

    async def grants(self, principal: Principal, stream_id: str) -> Sequence[GrantRow]:
        return [grant_of(row) for row in await self._ledger_rows(_READ_GRANTS, principal, stream_id)]

    async def _ledger_rows(
        self, statement: str, principal: Principal, stream_id: str, *values: object
    ) -> list[Sequence[object]]:
        found = await self._database.run(
            lambda connection: connection.fetch(statement, stream_id, principal.workspace_id, *values)
        )
        if not found:
            raise no_such_stream(stream_id)
        return [row for row in found if row[0] is not None]

    async def positions(self, stream_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the streams' positions, in any workspace; deleted ones are left out. See `bus.shared`."""
        found = await self._database.run(
            lambda connection: connection.fetch(
                "SELECT stream_id, head_seq FROM streams WHERE stream_id = ANY($1::text[]) AND deleted_at_us IS NULL",
                list(stream_ids),
            ),
            patience_seconds=0.0,
        )
        return {row[0]: row[1] for row in found}

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
        async def run(connection: PostgresConnection) -> list[Lease]:
            now_us = self._clock.now_us()
            return await lease_rows.claim(
                connection,
                owner,
                kinds=kinds,
                until_us=now_us + round(lease_seconds * 1_000_000),
                limit=limit,
                stream_id=stream_id,
                running=running or {},
                each_max=each_max,
                now_us=now_us,
            )

        return await self._database.run(run)

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        async def run(connection: PostgresConnection) -> list[str]:
            until_us = self._clock.now_us() + round(lease_seconds * 1_000_000)
            return await lease_rows.renew(connection, leases, until_us=until_us)

        return await self._database.run(run)

    async def release(
        self, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool = False
    ) -> None:
        await self._database.run(
            lambda connection: lease_rows.release(
                connection,
                lease,
                seen_seq=seen_seq,
                wake_at_us=wake_at_us,
                is_near=is_near,
                now_us=self._clock.now_us(),
            )
        )

    async def wake(self, principal: Principal, stream_id: str, *, at_us: int) -> None:
        await self._database.run(
            lambda connection: lease_rows.wake(connection, principal.workspace_id, stream_id, at_us=at_us)
        )

    async def next_wake_us(self, kinds: Sequence[str], *, owner: str | None = None) -> int | None:
        return await self._database.run(
            lambda connection: lease_rows.next_wake_us(
                connection, kinds, owner=owner, now_us=self._clock.now_us()
            )
        )

    async def raise_epochs(self) -> None:
        await self._database.run(
            lambda connection: lease_rows.raise_epochs(connection, now_us=self._clock.now_us()),
            is_repeatable=False,
        )

    # ------------------------------------------------------------------------------ outbox, checkpoints

    async def outbox_due(self, limit: int) -> Sequence[tuple[int, str, OutboxItem]]:
        found = await self._database.run(
            lambda connection: connection.fetch(
                "SELECT position, workspace_id, target_stream_id, event FROM outbox ORDER BY position LIMIT $1",
                limit,
            )
        )
        return [
            (position, workspace_id, OutboxItem(target_stream_id=target, event=_decode_event(event)))
            for position, workspace_id, target, event in found
        ]

    async def outbox_done(self, positions: Sequence[int]) -> None:
        await self._database.run(
            lambda connection: connection.execute(
                "DELETE FROM outbox WHERE position = ANY($1::bigint[])", list(positions)
            )
        )

    async def put_checkpoint(self, principal: Principal, checkpoint: Checkpoint) -> None:
        status = await self._database.run(
            lambda connection: connection.execute(
                _PUT_CHECKPOINT,
                checkpoint.stream_id,
                principal.workspace_id,
                checkpoint.seq,
                checkpoint.version,
                checkpoint.body,
            )
        )
        if status.endswith(" 0"):  # an older one than is there, or no stream
            await self.head(principal, checkpoint.stream_id)

    async def checkpoint(self, principal: Principal, stream_id: str) -> Checkpoint | None:
        row = await self._database.run(
            lambda connection: connection.fetchrow(
                "SELECT c.seq, c.version, c.body FROM streams s LEFT JOIN checkpoints c USING (stream_id) "
                "WHERE s.stream_id = $1 AND s.workspace_id = $2 AND s.deleted_at_us IS NULL",
                stream_id,
                principal.workspace_id,
            )
        )
        if row is None:
            raise no_such_stream(stream_id)
        if row[0] is None:
            return None
        return Checkpoint(stream_id=stream_id, seq=row[0], version=row[1], body=row[2])

    async def break_off(self) -> None:
        """End as a process that is killed does; what was under way may have been done."""
        self._database.break_off()
        await self._lanes.close()

    async def close(self) -> None:
        await self._lanes.close()
        await forget_lanes(self._database, self._name)
        await self._database.close()


def _list_statement(principal: Principal, filter: StreamFilter, page: Page) -> tuple[str, list[object]]:
    conditions = ["workspace_id = $1", "kind = $2", "deleted_at_us IS NULL"]
    values: list[object] = [principal.workspace_id, filter.kind]
    if not filter.include_archived:
        conditions.append("archived_at_us IS NULL")
    for condition, value in (
        ("status = ANY(?::text[])", list(filter.statuses) or None),
        ("agent_id = ?", filter.agent_id),
        ("agent_version = ?", filter.agent_version),
        ("parent_stream_id = ?", filter.parent_stream_id),
        ("(owner IS NOT NULL OR wake_at_us <= ?)", filter.due_by_us),
        ("strpos(refers_to, ?) > 0", referring([filter.refers_to]) if filter.refers_to is not None else None),
        ("created_at_us > ?", filter.created_after_us),
        ("created_at_us < ?", filter.created_before_us),
    ):
        if value is not None:
            values.append(value)
            conditions.append(condition.replace("?", f"${len(values)}"))
    if page.position is not None:
        values += page.position
        sign = ">" if page.is_ascending else "<"
        conditions.append(f"(created_at_us, stream_id) {sign} (${len(values) - 1}, ${len(values)})")
    direction = "ASC" if page.is_ascending else "DESC"
    values.append(page.limit)
    statement = (
        f"SELECT {HEAD_COLUMNS} FROM streams WHERE {' AND '.join(conditions)} "
        f"ORDER BY created_at_us {direction}, stream_id {direction} LIMIT ${len(values)}"
    )
    return statement, values


def _decode_event(encoded: bytes) -> NewEvent:
    return msgspec.msgpack.decode(encoded, type=NewEvent)
