"""The part of an asyncpg connection that we use, with types, and what its errors mean."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import asyncpg

from remit.errors import InvalidRequest, RemitError, StoreAway, StoreUnavailable

Row = Sequence[Any]  # values as asyncpg decodes them: their types are those of the schema

OUT_OF_DATE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
"""Nothing was done, and doing it again at once helps: another transaction, or a migration, came between."""

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of a statement
    asyncpg.OperatorInterventionError,  # shut down, starting up, a statement that was cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, a full disk
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is about to take over
)
"""The server is not there, or not able to; it may be in a moment."""


class PostgresConnection(Protocol):
    """Runs statements on one connection."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...

    async def executemany(self, command: str, args: Sequence[Sequence[object]]) -> None: ...

    async def fetch(self, query: str, *args: object) -> list[Row]: ...

    async def fetchrow(self, query: str, *args: object) -> Row | None: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...  # one value of a row

    def terminate(self) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[object]: ...


def translated(error: Exception, where: str) -> RemitError:
    """Translate a failed statement's error. `where` names the database without its password."""
    if isinstance(error, AWAY):
        return StoreAway(
            f"The database {where} does not answer ({_reason(error)}). Try again; look whether it runs."
        )
    if isinstance(error, asyncpg.DivisionByZeroError):  # of `appends._LANE`
        return StoreUnavailable(
            f"Another process writes to {where} under this one's name. Nothing of this was kept."
        )
    if isinstance(error, asyncpg.DataError):
        return InvalidRequest(f"A text cannot be kept by the database: {_reason(error)}.")
    return StoreUnavailable(f"The database {where} refuses ({_reason(error)}). Nothing of this was kept.")


def start_failure(error: Exception, where: str, user: str, database: str) -> RemitError:
    """Explain why a server cannot be used at a start, with the mend."""
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return InvalidRequest(
            f"The database {where} does not let user {user!r} in ({_reason(error)}). Correct the name or password in "
            "REMIT_DATABASE, or set PGPASSWORD."
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return InvalidRequest(f"There is no database {database!r} at {where}. Make it: createdb {database}")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return InvalidRequest(
            f"User {user!r} may not make tables in the database {where} ({_reason(error)}). As its owner: "
            f"GRANT CREATE, USAGE ON SCHEMA public TO {user};"
        )
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return StoreAway(
            f"The database {where} takes no more connections. Raise its max_connections, or lower REMIT_DATABASE_CONNECTIONS."
        )
    if isinstance(error, AWAY):
        return StoreAway(
            f"No PostgreSQL answers at {where} ({_reason(error)}). Start it, or correct --database (REMIT_DATABASE)."
        )
    return StoreUnavailable(f"The database {where} cannot be used: {_reason(error)}.")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
