"""Postgres: what a turn asks of the database. A turn's statements are its round trips: each is one of its own.

The database is REMIT_BENCH_DATABASE (an empty one), or the server that the tests start, where their tools are installed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from processes import Server
from sessions import SCRIPTS, WARM_TURNS, Times, make_agent, make_session
from table import Report, median_ms

STATISTICS_SECONDS = 1.5
"""PostgreSQL counts what a connection did at most a second late."""
IDLE_SECONDS = 5.0
TESTS = Path(__file__).parents[2] / "tests"


class Counts(NamedTuple):
    statements: int
    wal_bytes: int
    log_bytes: int


async def on_postgres(folder: Path, report: Report) -> None:
    """One turn with a tool after the other, in one session."""
    turns = max(10, int(200 * report.scale))
    async with _database() as url:
        if url is None:
            print("postgres: set REMIT_BENCH_DATABASE, or install the tests' tools (make test)", flush=True)
            return
        server = Server(folder, SCRIPTS, environment={"REMIT_DATABASE": url})
        looking = await asyncpg.connect(url)
        try:
            target = await server.start()
            await server.settle()
            connection = await target.connect()
            given = await make_agent(target, connection, "scripted/echo", has_tools=True)
            speaker = await make_session(target, connection, given)
            await speaker.attach()
            for _ in range(WARM_TURNS):
                await speaker.turn()
            before = await _counts(looking)
            await asyncio.sleep(IDLE_SECONDS)
            idle = (await _counts(looking)).statements - before.statements
            begun, times = await _counts(looking), Times()
            started = asyncio.get_running_loop().time()
            for _ in range(turns):
                await speaker.turn(times)
            seconds = asyncio.get_running_loop().time() - started
            done = await _counts(looking)
            speaker.detach()
        finally:
            await looking.close()
            server.stop()
    # What a server asks for at rest (what is due, what is new where somebody reads) is no part of a turn.
    at_rest = idle / (IDLE_SECONDS + STATISTICS_SECONDS) * (seconds + STATISTICS_SECONDS)
    report.add("store", "turn, p50", median_ms(times.whole), "ms")
    report.add(
        "store",
        "statements (= round trips) per turn",
        (done.statements - begun.statements - at_rest) / turns,
        "",
        note=f"{idle / (IDLE_SECONDS + STATISTICS_SECONDS):.0f}/s at rest with a reader",
    )
    report.add("store", "logged per turn", (done.log_bytes - begun.log_bytes) / turns, "bytes", aim=8_192)
    report.add("store", "write-ahead log per turn", (done.wal_bytes - begun.wal_bytes) / turns, "bytes")


async def _counts(connection: Any) -> Counts:  # Any: asyncpg has no types
    await asyncio.sleep(STATISTICS_SECONDS)
    row = await connection.fetchrow(
        "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()), "
        "pg_current_wal_lsn() - '0/0'::pg_lsn, (SELECT coalesce(sum(octet_length(body)), 0) FROM events)"
    )
    return Counts(*map(int, row))


@asynccontextmanager
async def _database() -> AsyncIterator[str | None]:
    if (url := os.environ.get("REMIT_BENCH_DATABASE")) is not None:
        yield url
        return
    sys.path.append(str(TESTS))
    try:
        from support.postgres_server import PostgresServer, new_database
    except ImportError:
        yield None
        return
    server = PostgresServer(is_durable=True)
    try:
        yield await new_database(server)
    finally:
        server.remove()
