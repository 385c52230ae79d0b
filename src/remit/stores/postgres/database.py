"""One PostgreSQL database: its connections, its schema, and what happens while it is away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog

from remit.clock import Clock
from remit.errors import InvalidRequest, RemitError, StoreUnavailable
from remit.stores.postgres.connection import AWAY, OUT_OF_DATE, PostgresConnection, start_failure, translated

SERVER_VERSION_MIN = 14
CONNECTIONS = 10
STATEMENT_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5.0
PATIENCE_SECONDS = 5.0
"""How long a call waits for a server that is away: a restart passes unnoticed, and a lease is lost by then anyway."""
PAUSE_SECONDS = 0.1
AGAIN_MAX = 20
MIGRATION_LOCK = 7_266_871
"""Of the advisory locks: who starts first brings the schema up to date, others wait for it."""

_log = structlog.get_logger(__name__)

Result = TypeVar("Result")

_create_pool = cast("Callable[..., Awaitable[Any]]", asyncpg.create_pool)  # pyright: ignore[reportUnknownMemberType] -- it has no types


class PostgresDatabase:
    """Runs work on connections of a pool. Everything here is for one statement each, or for a transaction of its own: a
    pooler in transaction mode may stand in between."""

    def __init__(self, pool: Any, clock: Clock, where: str) -> None:  # Any: asyncpg has no types of its own
        self._pool = pool
        self._clock = clock
        self.where = where
        self._is_closed = False

    @classmethod
    async def open(
        cls, url: str, clock: Clock, *, connections: int = CONNECTIONS, is_pooled: bool = False
    ) -> PostgresDatabase:
        """Connect, and bring the schema up to date. `is_pooled`: a pooler in transaction mode is between, so no
        statement is kept prepared. Raises StoreAway, StoreUnavailable, InvalidRequest, with the mend."""
        where, user, name = _names(url)
        try:
            pool = await _create_pool(
                url,
                min_size=0,
                max_size=connections,
                command_timeout=STATEMENT_SECONDS_MAX,
                timeout=CONNECT_SECONDS_MAX,
                statement_cache_size=0 if is_pooled else 256,
                reset=_nothing_to_reset,
                server_settings={} if is_pooled else {"application_name": "remit"},
            )
        except ValueError as error:  # what asyncpg says of an address it cannot read
            raise InvalidRequest(f"`database`: {error}. Write postgresql://USER@HOST:PORT/NAME.") from error
        except (*AWAY, asyncpg.PostgresError) as error:
            _log.warning("store.open_failed", database=where, error=repr(error))
            raise start_failure(error, where, user, name) from error
        database = cls(pool, clock, where)
        try:
            async with pool.acquire() as connection:
                await _require_server(connection, where)
                await migrate(connection)
        except (*AWAY, asyncpg.PostgresError) as error:
            await pool.close()
            raise start_failure(error, where, user, name) from error
        except BaseException:
            await pool.close()
            raise
        return database

    async def run(
        self,
        work: Callable[[PostgresConnection], Awaitable[Result]],
        *,
        is_repeatable: bool = True,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Result:
        """Do this on a connection. What lost a race is done again; while the server is away it is waited for, and what
        is repeatable is done again then. Raises StoreAway when that takes too long (what is not repeatable may have
        been done), StoreUnavailable."""
        until = self._clock.monotonic() + patience_seconds
        again = 0
        while True:
            self.require_open()
            has_begun = False
            try:
                async with self._pool.acquire(timeout=CONNECT_SECONDS_MAX) as connection:
                    has_begun = True
                    return await _whole(work, cast("PostgresConnection", connection))
            except RemitError:
                raise
            except OUT_OF_DATE as error:
                again += 1
                if again == AGAIN_MAX:
                    raise translated(error, self.where) from error
            except AWAY as error:
                self.require_open()
                if (has_begun and not is_repeatable) or self._clock.monotonic() >= until:
                    _log.warning("store.away", database=self.where, error=repr(error))
                    raise translated(error, self.where) from error
                await asyncio.sleep(PAUSE_SECONDS)
            except asyncpg.PostgresError as error:
                _log.exception("store.statement_failed", database=self.where)
                raise translated(error, self.where) from error

    def require_open(self) -> None:
        """Raise StoreUnavailable when closed."""
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")

    def stop_accepting(self) -> None:
        """Refuse every call from now on."""
        self._is_closed = True

    def break_off(self) -> None:
        """Let go of every connection at once, as a process that is killed does."""
        self.stop_accepting()
        self._pool.terminate()

    async def close(self) -> None:
        """Close every connection; what is being done is waited for, not for long. Twice is once."""
        self.stop_accepting()
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS_MAX)
        except TimeoutError:
            self._pool.terminate()


def migrations() -> list[str]:
    """The scripts, oldest first; script n brings a schema from version n-1 to n."""
    folder = resources.files("remit.stores.postgres").joinpath("migrations")
    scripts = sorted((one for one in folder.iterdir() if one.name.endswith(".sql")), key=lambda one: one.name)
    return [script.read_text("utf-8") for script in scripts]


async def migrate(connection: PostgresConnection, scripts: list[str] | None = None) -> None:
    """Bring the schema to the newest version, once, whoever else starts. Raises StoreUnavailable when it is of a newer
    Remit."""
    scripts = migrations() if scripts is None else scripts
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})", timeout=None)
        await connection.execute("CREATE TABLE IF NOT EXISTS remit_schema (version BIGINT NOT NULL)")
        version = await connection.fetchval("SELECT max(version) FROM remit_schema") or 0
        if version > len(scripts):
            raise StoreUnavailable(
                f"The database has schema version {version}, but this Remit knows only {len(scripts)}: start the newer "
                "Remit that wrote it."
            )
        for number, script in enumerate(scripts[version:], start=version + 1):
            await connection.execute(script, timeout=None)
            await connection.execute(f"INSERT INTO remit_schema (version) VALUES ({number})")


async def _whole(
    work: Callable[[PostgresConnection], Awaitable[Result]], connection: PostgresConnection
) -> Result:
    """Nobody gets a connection that broke."""
    try:
        return await work(connection)
    except AWAY:
        connection.terminate()
        raise


async def _require_server(connection: Any, where: str) -> None:
    version = connection.get_server_version()
    require_version(version.major, where)
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        raise InvalidRequest(
            f"The database {where} answers before a commit is on its disk (synchronous_commit = off), so a crash could "
            "lose what Remit has promised. Turn it on: ALTER DATABASE … SET synchronous_commit = on;"
        )


def require_version(major: int, where: str) -> None:
    """Raise InvalidRequest when the server is too old."""
    if major < SERVER_VERSION_MIN:
        raise InvalidRequest(
            f"The database {where} is PostgreSQL {major}; Remit needs {SERVER_VERSION_MIN} or newer. Upgrade it, or name "
            "another with --database."
        )


async def _nothing_to_reset(connection: object) -> None:
    """Nothing of a session is ever set, and a pooler would reset another one."""


def _names(url: str) -> tuple[str, str, str]:
    """Where it is, without its password; the user; the database."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError as error:
        raise InvalidRequest(f"`database`: {error}. Write postgresql://USER@HOST:PORT/NAME.") from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise InvalidRequest("`database`: expected postgresql://USER@HOST:PORT/NAME.")
    user = unquote(parts.username or "") or "(yours)"
    name = unquote(parts.path.lstrip("/")) or user
    host = parts.hostname or (found[1] if (found := re.search(r"[?&]host=([^&]+)", url)) else "localhost")
    return f"{unquote(host)}:{port}/{name}", user, name


async def skew_us(database: PostgresDatabase, clock: Clock) -> int:
    """Return the lead of the database's clock; 0 within the time of asking. Leases are compared by it."""
    asked_us = clock.now_us()
    theirs_us = await database.run(
        lambda connection: connection.fetchval(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        )
    )
    answered_us = clock.now_us()
    skew = int(theirs_us) - (asked_us + answered_us) // 2
    return 0 if abs(skew) <= answered_us - asked_us else skew


class SkewedClock:
    """The database's time, by ours."""

    def __init__(self, clock: Clock, skew_us: int) -> None:
        self._clock = clock
        self._skew_us = skew_us

    def now_us(self) -> int:
        return self._clock.now_us() + self._skew_us

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
