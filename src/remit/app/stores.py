"""The stores that the settings name: SQLite in the data folder, or a PostgreSQL database that several processes share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from remit.bus.memory import MemoryBus
from remit.bus.shared import SharedBus
from remit.clock import Clock
from remit.config import Settings
from remit.ids import Ids
from remit.interfaces import Catalog, LiveBus, SessionStore
from remit.orchestrator.worker import Positions
from remit.stores.sqlite.folder import open_sqlite
from remit.telemetry.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The open stores of a platform, and the tasks that keep them up."""

    sessions: SessionStore
    catalog: Catalog
    bus: LiveBus
    queued_writes: Callable[[], int]
    is_shared: bool
    """Other processes may be at work on them."""
    keep_up: Callable[[], Awaitable[None]] | None = None
    """To be run for as long as they are used."""
    positions: Positions | None = None
    """How far streams have come, where other processes append to them."""


async def open_stores(
    settings: Settings, clock: Clock, ids: Ids, metrics: Metrics, stack: AsyncExitStack
) -> Stores:
    """Open them; the stack closes them. Raises StoreUnavailable, InvalidRequest, with the mend."""
    if settings.database is not None:
        return await _open_postgres(settings, settings.database, clock, ids, metrics, stack)
    sessions, catalog = await open_sqlite(settings.data, clock, on_commit=metrics.committed)
    stack.push_async_callback(sessions.close)
    stack.push_async_callback(catalog.close)
    return Stores(
        sessions=sessions,
        catalog=catalog,
        bus=MemoryBus(),
        queued_writes=lambda: sessions.queued_writes + catalog.queued_writes,
        is_shared=False,
    )


async def _open_postgres(
    settings: Settings, url: str, clock: Clock, ids: Ids, metrics: Metrics, stack: AsyncExitStack
) -> Stores:
    # Loaded where a database is named: it is a twentieth of a second, and nobody else needs it.
    from remit.stores.postgres.server import open_postgres

    sessions, catalog = await open_postgres(
        url,
        clock,
        name=ids.new("server"),
        connections=settings.database_connections,
        is_pooled=settings.database_pooled,
        on_commit=metrics.committed,
    )
    stack.push_async_callback(sessions.close)
    stack.push_async_callback(catalog.close)
    bus = SharedBus(sessions, clock)
    return Stores(
        sessions=sessions,
        catalog=catalog,
        bus=bus,
        queued_writes=lambda: sessions.queued_writes,
        is_shared=True,
        keep_up=bus.run,
        positions=sessions.positions,
    )
