"""A platform of this process, on a data folder that it owns."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import ASGIApp

from remit.app.assembly import Assembled, assemble
from remit.app.parts import Parts
from remit.app.presence import Presence
from remit.app.stores import open_stores
from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SteadyClock, SystemClock
from remit.config import Settings
from remit.console.app import Console
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.errors import InvalidRequest
from remit.gateway.workspace_stream import wake_workspace
from remit.ids import Ids
from remit.interfaces import (
    BlobStore,
    SandboxProvider,
)
from remit.ledger.prices import PriceTable, load_price_list, parse_overrides
from remit.models.configured import model_providers
from remit.ownership import SOCKET_FILE, OwnerKind, record_of, remove_record, write_record
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.cgroups import Cgroups
from remit.sandboxes.local import LocalProvider
from remit.server.edge.access_log import AccessLog
from remit.server.edge.listening import (
    CONNECTIONS_MAX,
    listen_on_file,
    listen_on_port,
    raise_open_files,
    refuse_long_path,
    serving,
    url_of,
)
from remit.server.operator_key import DEFAULT_WORKSPACE, KeyOrigin, operator_key
from remit.stores.sqlite.owner import DataFolderLock
from remit.telemetry.metrics import Metrics
from remit.telemetry.spans import installed_tracer

LET_GO_SECONDS = 3.0
"""How long sandboxes at rest may take to keep their files when the platform closes."""
Extend = Callable[[Parts], Parts]
"""Makes the parts of a platform out of those that it would have had: the place of all that comes from outside."""
LISTED_PROVIDERS = frozenset({"anthropic", "openai"})
"""Who has an operator's key here is soon asked, at listed prices."""


def as_they_are(parts: Parts) -> Parts:
    """Return the parts as they are: nothing comes from outside."""
    return parts


@dataclass(frozen=True, kw_only=True)
class Platform:
    """An embedded platform of this process."""

    asgi: ASGIApp
    api_key: str = field(repr=False)
    key_origin: KeyOrigin
    socket_path: str
    url: str | None = None
    """Where it is served over TCP, if it is."""
    presence: Presence | None = None
    """None: nothing is served and nothing works; it was opened to look."""


@asynccontextmanager
async def open_platform(
    settings: Settings, *, kind: OwnerKind = "foreground", extend: Extend = as_they_are
) -> AsyncGenerator[Platform]:
    """Own the data folder and run a platform on it, also for others through its socket; as `up` over TCP too, with the
    pages for people. What `extend` returns is what the platform is made of (docs/extending.md).

    Raises DataFolderBusy (another process owns the folder; use its socket), SandboxUnavailable, InvalidRequest.
    """
    async with AsyncExitStack() as stack:
        with _trouble_of(settings.data):
            platform = await _opened(settings, kind, extend, stack)
        yield platform


async def _opened(settings: Settings, kind: OwnerKind, extend: Extend, stack: AsyncExitStack) -> Platform:
    lock = DataFolderLock(settings.data)
    lock.acquire()
    stack.callback(lock.release)
    # Before anything runs: a path that no socket can have must not cost a start.
    refuse_long_path(settings.data / SOCKET_FILE)
    connections_max = min(CONNECTIONS_MAX, raise_open_files() // 2)
    # Before anything runs: a port that is taken must not cost a start.
    tcp = stack.enter_context(listen_on_port(settings.host, settings.port)) if kind == "up" else None
    url = None if tcp is None else url_of(settings.host, tcp)
    parts = await _embedded_parts(settings, extend, stack)
    if not parts.is_shared:
        # Having the lock proves the former owner dead: its leases need not run out.
        await parts.sessions.raise_epochs()
    await wake_workspace(parts.sessions, DEFAULT_WORKSPACE, now_us=parts.clock.now_us())
    key = await operator_key(settings, parts.catalog, parts.clock, parts.ids)
    assembled = assemble(parts, public_url=(settings.public_url and settings.public_url.rstrip("/")) or url)
    stack.push_async_callback(assembled.held.close)
    stack.push_async_callback(assembled.tools.close)
    await stack.enter_async_context(_running(assembled, parts.keep_up))
    presence = Presence(
        assembled.edge,
        worker=assembled.worker,
        held=assembled.held,
        clock=parts.clock,
        is_folder_there=lock.is_of_the_folder,
    )
    socket_path = str(settings.data / SOCKET_FILE)
    # Before the socket: whoever reaches it finds who it is.
    write_record(settings.data, record_of(settings, kind))
    stack.callback(_leave_no_trace, settings.data, lock)
    own = listen_on_file(Path(socket_path))
    await stack.enter_async_context(serving(presence, own, connections_max=connections_max))
    if tcp is not None:
        pages = Console(assembled.edge, parts.clock)
        await stack.enter_async_context(
            serving(AccessLog(pages, parts.clock), tcp, connections_max=connections_max)
        )
    if LISTED_PROVIDERS & parts.models.keys():
        await stack.enter_async_context(_reading_prices())
    return Platform(
        asgi=assembled.edge,
        api_key=key.secret,
        key_origin=key.origin,
        socket_path=socket_path,
        url=url,
        presence=presence,
    )


@asynccontextmanager
async def look_into_platform(settings: Settings) -> AsyncGenerator[Platform]:
    """Own the data folder for a moment, to read what is there: no worker runs, nobody is served, nothing is begun.

    Raises as `open_platform` does.
    """
    async with AsyncExitStack() as stack:
        with _trouble_of(settings.data):
            lock = DataFolderLock(settings.data)
            lock.acquire()
            stack.callback(lock.release)
            parts = await _embedded_parts(settings, as_they_are, stack)
            key = await operator_key(settings, parts.catalog, parts.clock, parts.ids)
        assembled = assemble(parts)
        stack.push_async_callback(assembled.held.close)
        stack.push_async_callback(assembled.tools.close)
        yield Platform(
            asgi=assembled.edge,
            api_key=key.secret,
            key_origin=key.origin,
            socket_path=str(settings.data / SOCKET_FILE),
        )


@contextmanager
def _trouble_of(data: Path) -> Generator[None]:
    """What the machine refuses while a folder is opened is said of that folder."""
    try:
        yield
    except OSError as error:
        raise InvalidRequest(
            f"The data folder {str(data)!r} cannot be used: {error.strerror or error}. Give another with --data."
        ) from error


def _leave_no_trace(data: Path, lock: DataFolderLock) -> None:
    """Of an owner that ends in order; in a folder that took this one's place, another's stay."""
    if lock.is_of_the_folder():
        remove_record(data)
        (data / SOCKET_FILE).unlink(missing_ok=True)


async def _embedded_parts(settings: Settings, extend: Extend, stack: AsyncExitStack) -> Parts:
    clock = SteadyClock(SystemClock())
    ids = Ids(clock)
    blobs = DirectoryBlobStore(settings.blobs or settings.data / "blobs", clock)
    await blobs.remove_leftovers()
    metrics = Metrics()
    stores = await open_stores(settings, clock, ids, metrics, stack)
    egress = ProxiedEgress(
        EgressSettings(
            ports=settings.egress_ports,
            private_hosts=settings.egress_private_hosts,
            unredacted_hosts=settings.egress_unredacted_hosts,
            registries=settings.registry_hosts,
            registry_urls=(settings.pip_index_url, settings.npm_registry),
        ),
        on_death=metrics.egress_proxy_died,
    )
    stack.push_async_callback(egress.close)
    sandboxes = _sandbox_provider(settings, blobs, ids, egress, on_spawner_death=metrics.spawner_died)
    stack.push_async_callback(sandboxes.close)
    parts = Parts(
        settings=settings,
        clock=clock,
        ids=ids,
        sessions=stores.sessions,
        catalog=stores.catalog,
        queued_writes=stores.queued_writes,
        is_shared=stores.is_shared,
        keep_up=stores.keep_up,
        positions=stores.positions,
        blobs=blobs,
        bus=stores.bus,
        sandboxes=sandboxes,
        models=model_providers(settings, clock),
        prices=PriceTable(parse_overrides(settings.prices), clock=clock),
        metrics=metrics,
        tracer=installed_tracer(),
    )
    parts = extend(parts)
    for provider in parts.models.values():
        stack.push_async_callback(provider.close)
    return parts


def _sandbox_provider(
    settings: Settings,
    blobs: BlobStore,
    ids: Ids,
    egress: ProxiedEgress,
    *,
    on_spawner_death: Callable[[], None],
) -> SandboxProvider:
    runtime = settings.runtime or _default_runtime(settings.data)
    if settings.unsafe_local:
        return LocalProvider(runtime, blobs, ids, on_spawner_death=on_spawner_death)
    return BubblewrapProvider(
        runtime,
        blobs,
        ids,
        secret_folders=[settings.data, *([settings.blobs] if settings.blobs is not None else [])],
        egress=egress,
        cgroups=Cgroups.find(),
        on_spawner_death=on_spawner_death,
    )


def _default_runtime(data: Path) -> Path:
    """Root's sandboxes run under other users, who cannot look into root's home; others keep theirs in the data folder."""
    return Path("/var/lib/remit") if os.geteuid() == 0 else data / "runtime"


@asynccontextmanager
async def _reading_prices() -> AsyncGenerator[None]:
    """Beside the first requests, in a thread: on the event loop the first priced call would stop every stream."""
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(load_price_list))
        yield


async def _run(keep_up: Callable[[], Awaitable[None]]) -> None:
    await keep_up()


async def _work(assembled: Assembled) -> None:
    await assembled.attendance.take_over()
    await assembled.worker.run()


@asynccontextmanager
async def _running(
    assembled: Assembled, keep_up: Callable[[], Awaitable[None]] | None
) -> AsyncGenerator[None]:
    """The worker and the collection, for as long as the platform is open. If one fails the platform fails with it."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            *([] if keep_up is None else [group.create_task(_run(keep_up))]),
            group.create_task(assembled.attendance.run()),
            group.create_task(_work(assembled)),
            group.create_task(assembled.collection.run()),
        ]
        try:
            yield
            # What rests is left whole: a sandbox that only ended with its server would be told as lost.
            with suppress(TimeoutError):
                async with asyncio.timeout(LET_GO_SECONDS):
                    await assembled.held.let_go()
        finally:
            for task in tasks:
                task.cancel()
