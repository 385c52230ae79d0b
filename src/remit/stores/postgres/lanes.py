"""Lanes that write, with group commit.

Each stream's appends go through one lane, in their order; what arrives while a batch is under way shares the next one:
two round trips and one commit for all of them. Nobody hears of success before the commit is durable.

When a connection breaks while a batch is written, nobody knows whether it was. The lane asks for its own row, which the
batch would have changed, and raises its number in the same statement: a batch that is still on its way then fails.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

import structlog

from remit.clock import Clock
from remit.errors import Overloaded, RemitError, StoreAway, StoreUnavailable
from remit.stores.postgres.appends import look, rows_between, write_statement
from remit.stores.postgres.connection import PostgresConnection
from remit.stores.postgres.database import PostgresDatabase
from remit.stores.postgres.views import BatchedStream, Decided, Order, Repeated
from remit.values import Appended

LANES = 3
QUEUED_MAX = 20_000
QUEUE_FULL_RETRY_SECONDS = 2.0
BATCH_MAX = 500
ATTEMPTS_MAX = 1_000
"""Of a batch whose streams others write to at the same time: each time somebody's append goes through."""

_UNUSED_DAYS = 7
_DAY_US = 86_400_000_000

_log = structlog.get_logger(__name__)

OnCommit = Callable[[int, float], None]
"""Told of each transaction: how many appends it had and how many seconds it took."""


def unobserved(operations: int, seconds: float) -> None:
    """Do nothing: nobody wants to know."""


@dataclass
class _Waiting:
    order: Order
    future: asyncio.Future[Appended]


class Lanes:
    """The writers of one process."""

    def __init__(
        self,
        database: PostgresDatabase,
        clock: Clock,
        name: str,
        *,
        on_commit: OnCommit = unobserved,
        count: int = LANES,
    ) -> None:
        self._database = database
        self._lanes = [_Lane(database, clock, f"{name}/{n}", on_commit) for n in range(count)]
        self._is_closed = False

    @property
    def queued(self) -> int:
        """Appends that wait for a transaction."""
        return sum(len(lane.waiting) for lane in self._lanes)

    async def write(self, order: Order, *, is_workers: bool) -> Appended:
        """Carry it out; returns when it is durable. What a worker writes under its leases is not refused for a full
        queue: the worker bounds it. Raises what the append is refused with, Overloaded, StoreAway."""
        self._database.require_open()
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        lane = self._lanes[crc32(order.stream_id.encode()) % len(self._lanes)]
        if len(lane.waiting) >= QUEUED_MAX and not is_workers:
            raise Overloaded(
                f"{QUEUED_MAX} writes are waiting for the database; try again.",
                retry_after_seconds=QUEUE_FULL_RETRY_SECONDS,
            )
        return await lane.put(order)

    async def close(self) -> None:
        """Finish what was accepted. Twice is once."""
        self._is_closed = True
        for lane in self._lanes:
            await lane.close()


class _Lane:
    def __init__(self, database: PostgresDatabase, clock: Clock, lane_id: str, on_commit: OnCommit) -> None:
        self.waiting: deque[_Waiting] = deque()
        self._database = database
        self._clock = clock
        self._id = lane_id
        self._on_commit = on_commit
        self._number: int | None = None
        """Of the last batch; None before the lane has its row."""
        self._task: asyncio.Task[None] | None = None

    async def put(self, order: Order) -> Appended:
        one = _Waiting(order, asyncio.get_running_loop().create_future())
        self.waiting.append(one)
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await one.future

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        """Until nothing waits: no task runs for a lane at rest."""
        try:
            while self.waiting:
                await asyncio.sleep(0)  # what the same moment brings shares the batch
                batch = [self.waiting.popleft() for _ in range(min(BATCH_MAX, len(self.waiting)))]
                try:
                    await self._carry_out(batch)
                except Exception as error:  # the top of the task: a bug that each caller should see
                    _fail(batch, error)
        finally:
            self._task = None

    async def _carry_out(self, batch: Sequence[_Waiting]) -> None:
        started_at = time.perf_counter()
        left = list(batch)
        for _ in range(ATTEMPTS_MAX):
            try:
                views, decided = await self._decide(left)
                changed = [view for view in views.values() if view.is_changed]
                written = await self._write(changed) if changed else frozenset[str]()
            except RemitError as error:
                if len(left) == 1 or isinstance(error, StoreAway):
                    raise
                # What spoils a batch (a text that the database cannot keep) fails alone. Nothing of this one was written.
                for one in left:
                    try:
                        await self._carry_out([one])
                    except RemitError as refusal:
                        _fail([one], refusal)
                return
            lost = {view.stream_id for view in changed} - written
            kept = [number for number, one in enumerate(left) if one.order.stream_id not in lost]
            await self._tell([(left[number], decided[number]) for number in kept], views)
            left = [one for one in left if one.order.stream_id in lost]
            if not left:
                self._on_commit(len(batch), time.perf_counter() - started_at)
                return
        raise StoreUnavailable(f"Others write to {left[0].order.stream_id!r} all the time; try again.")

    async def _decide(self, batch: Sequence[_Waiting]) -> tuple[dict[str, BatchedStream], list[Decided]]:
        orders = [one.order for one in batch]
        views = await self._database.run(lambda connection: look(connection, orders))
        now_us = self._clock.now_us()
        return views, [views[order.stream_id].decide(order, now_us) for order in orders]

    async def _write(self, views: Sequence[BatchedStream]) -> frozenset[str]:
        """Write these streams; those that were written, the others moved on since they were looked at."""
        if self._number is None:
            self._number = await self._database.run(self._register)
        number, at_us = self._number, self._clock.now_us()
        statement = write_statement(views)

        async def run(connection: PostgresConnection) -> frozenset[str]:
            row = await connection.fetchrow(statement.text, self._id, number, at_us, *statement.values)
            assert row is not None  # an aggregate has one row
            return frozenset(row[0] or ())

        try:
            written = await self._database.run(run, is_repeatable=False)
        except StoreAway:
            self._number = None
            return await self._database.run(lambda connection: self._find_out(connection, number))
        except StoreUnavailable:
            self._number = None  # perhaps the row is gone: a lane that was silent for a week
            raise
        self._number = number + 1
        return written

    async def _register(self, connection: PostgresConnection) -> int:
        await connection.execute(
            "DELETE FROM lanes WHERE at_us < $1 AND lane_id <> $2",
            self._clock.now_us() - _UNUSED_DAYS * _DAY_US,
            self._id,
        )
        return await connection.fetchval(
            "INSERT INTO lanes (lane_id, number, changed, at_us) VALUES ($1, 0, '{}', $2) "
            "ON CONFLICT (lane_id) DO UPDATE SET number = lanes.number + 1 RETURNING number",
            self._id,
            self._clock.now_us(),
        )

    async def _find_out(self, connection: PostgresConnection, number: int) -> frozenset[str]:
        """What came of batch `number`, whose connection broke. It cannot be done any more afterwards. Twice is once."""
        await connection.execute(
            "UPDATE lanes SET number = $2 + 2 WHERE lane_id = $1 AND number = $2", self._id, number
        )
        row = await connection.fetchrow("SELECT number, changed FROM lanes WHERE lane_id = $1", self._id)
        is_done = row is not None and row[0] == number + 1
        return frozenset(row[1]) if is_done and row is not None else frozenset()

    async def _tell(self, told: Sequence[tuple[_Waiting, Decided]], views: dict[str, BatchedStream]) -> None:
        repeated = list(
            dict.fromkeys(
                (one.order.stream_id, views[one.order.stream_id].workspace_id, it.first_seq, it.last_seq)
                for one, it in told
                if isinstance(it, Repeated)
            )
        )
        earlier = (
            await self._database.run(lambda connection: rows_between(connection, repeated))
            if repeated
            else {}
        )
        for one, it in told:
            if one.future.done():  # cancelled meanwhile: it may have happened, as contracts say
                continue
            if isinstance(it, RemitError):
                one.future.set_exception(it)
            elif isinstance(it, Repeated):
                rows = [
                    row
                    for row in earlier.get(one.order.stream_id, ())
                    if it.first_seq <= row.seq <= it.last_seq
                ]
                one.future.set_result(Appended(rows=tuple(rows), head_seq=it.head_seq, is_duplicate=True))
            else:
                one.future.set_result(it)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    if not isinstance(error, RemitError):
        _log.exception("store.batch_failed", appends=len(batch), exc_info=error)
    for one in batch:
        if not one.future.done():
            one.future.set_exception(error)


async def forget_lanes(database: PostgresDatabase, name: str) -> None:
    """Forget the lanes of a process that ends in order."""
    with suppress(RemitError):
        await database.run(
            lambda connection: connection.execute(
                "DELETE FROM lanes WHERE starts_with(lane_id, $1)", f"{name}/"
            ),
            patience_seconds=0.0,
        )
