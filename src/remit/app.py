"""The composition root: the only module that names concrete adapters.

`assemble` puts a platform together from its parts (tests give it stores in memory); `open_platform` makes the parts of
an embedded one: the lock on the data folder, SQLite, the sandbox, the worker, the API on a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import uvicorn
from starlette.types import ASGIApp

from remit.blobs.directory import DirectoryBlobStore
from remit.bus.memory import MemoryBus
from remit.clock import Clock, SystemClock
from remit.config import Settings, load_settings
from remit.gateway.gateway import Gateway, RetrySettings
from remit.gateway.routing import Router, is_local_url
from remit.harness.loop import BuiltInLoop
from remit.ids import Ids
from remit.interfaces import (
    BlobStore,
    Catalog,
    Harness,
    LiveBus,
    ModelProvider,
    Prices,
    SandboxProvider,
    SessionStore,
    Verifier,
)
from remit.ledger.prices import PriceTable, parse_overrides
from remit.models.anthropic import AnthropicProvider
from remit.models.openai_chat import OpenAIChatProvider
from remit.models.scripted import ScriptedProvider, load_scripts
from remit.orchestrator.evaluation import Evaluation
from remit.orchestrator.held import HeldSandboxes
from remit.orchestrator.session_handler import SessionHandler
from remit.orchestrator.worker import Hints, Worker
from remit.remits.handler import RemitHandler
from remit.remits.working_session import SessionOpener
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.server.app import create_app
from remit.server.remit_routes import remit_routes
from remit.server.services import ServerSettings, Services
from remit.stores.sqlite.folder import open_sqlite
from remit.stores.sqlite.owner import SOCKET_FILE, DataFolderLock
from remit.toolsets.agent import AgentToolset
from remit.values import KeyRow
from remit.verifiers.command import CommandVerifier
from remit.verifiers.composition import Verifiers
from remit.verifiers.rubric import RubricVerifier

__all__ = ["Assembled", "Parts", "Platform", "assemble", "load_settings", "open_platform"]

logger = structlog.get_logger(__name__)

DEFAULT_WORKSPACE = "wrkspc_default"
KEY_FILE = "key"
SHUTDOWN_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The adapters a platform stands on."""

    settings: Settings
    clock: Clock
    ids: Ids
    sessions: SessionStore
    catalog: Catalog
    blobs: BlobStore
    bus: LiveBus
    sandboxes: SandboxProvider
    models: Mapping[str, ModelProvider]
    prices: Prices
    harnesses: Sequence[Harness] = (BuiltInLoop(),)
    retries: RetrySettings = field(default_factory=RetrySettings)


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """A platform put together; run `worker.run()` to make it live."""

    asgi: ASGIApp
    worker: Worker
    held: HeldSandboxes
    services: Services


def assemble(parts: Parts) -> Assembled:
    """Wire the parts. Starts nothing."""
    settings = parts.settings
    hints = Hints()
    router = Router(parts.models, aliases=settings.aliases)
    gateway = Gateway(
        router=router, prices=parts.prices, clock=parts.clock, ids=parts.ids, retries=parts.retries
    )
    by_type: dict[str, Verifier] = {
        "command": CommandVerifier(provider=parts.sandboxes, blobs=parts.blobs, ids=parts.ids),
        "rubric": RubricVerifier(gateway, parts.blobs, settings.model),
    }
    verifiers = Verifiers(by_type)
    held = HeldSandboxes(
        provider=parts.sandboxes,
        blobs=parts.blobs,
        catalog=parts.catalog,
        clock=parts.clock,
        idle_seconds=settings.sandbox_idle_seconds,
    )
    services = Services(
        clock=parts.clock,
        ids=parts.ids,
        sessions=parts.sessions,
        catalog=parts.catalog,
        blobs=parts.blobs,
        bus=parts.bus,
        dispatcher=hints,
        prices=parts.prices,
        verifiers=by_type,
        settings=ServerSettings(harnesses={one.name: one.version for one in parts.harnesses}),
    )
    session_handler = SessionHandler(
        store=parts.sessions,
        bus=parts.bus,
        blobs=parts.blobs,
        clock=parts.clock,
        ids=parts.ids,
        harnesses={one.name: one for one in parts.harnesses},
        gateway=gateway,
        toolset=AgentToolset(),
        sandboxes=held,
        evaluation=Evaluation(verifiers=verifiers, sandboxes=held, blobs=parts.blobs),
        reader_wait_seconds=settings.reader_wait_seconds,
    )
    remit_handler = RemitHandler(
        store=parts.sessions,
        catalog=parts.catalog,
        blobs=parts.blobs,
        bus=parts.bus,
        dispatcher=hints,
        sandboxes=parts.sandboxes,
        verifiers=verifiers,
        sessions=SessionOpener(
            store=parts.sessions,
            catalog=parts.catalog,
            agents=services.agents,
            environments=services.environments,
            clock=parts.clock,
            ids=parts.ids,
        ),
        clock=parts.clock,
        ids=parts.ids,
    )
    worker = Worker(
        name=parts.ids.new("worker"),
        store=parts.sessions,
        bus=parts.bus,
        clock=parts.clock,
        hints=hints,
        handlers=[session_handler, remit_handler],
    )
    routes = remit_routes(
        services, router=router, sandboxes=parts.sandboxes, verifiers=verifiers, data_folder=settings.data
    )
    return Assembled(
        asgi=create_app(services, extra_routes=routes), worker=worker, held=held, services=services
    )


# --------------------------------------------------------------------------------------------- embedded


@dataclass(frozen=True, kw_only=True)
class Platform:
    """An embedded platform of this process."""

    asgi: ASGIApp
    api_key: str
    socket_path: str


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncGenerator[Platform]:
    """Own the data folder and run a platform on it, also for others through its socket.

    Raises DataFolderBusy (another process owns the folder; use its socket), SandboxUnavailable, InvalidRequest.
    """
    async with AsyncExitStack() as stack:
        lock = DataFolderLock(settings.data)
        lock.acquire()
        stack.callback(lock.release)
        parts = await _embedded_parts(settings, stack)
        # Having the lock proves the former owner dead: its leases need not run out.
        await parts.sessions.raise_epochs()
        api_key = await _operator_key(settings.data, parts)
        assembled = assemble(parts)
        stack.push_async_callback(assembled.held.close)
        await stack.enter_async_context(_running(assembled.worker))
        socket_path = str(settings.data / SOCKET_FILE)
        await stack.enter_async_context(_serving(assembled.asgi, socket_path))
        yield Platform(asgi=assembled.asgi, api_key=api_key, socket_path=socket_path)


async def _embedded_parts(settings: Settings, stack: AsyncExitStack) -> Parts:
    clock = SystemClock()
    ids = Ids(clock)
    blobs = DirectoryBlobStore(settings.data / "blobs")
    await blobs.remove_leftovers()
    sessions, catalog = await open_sqlite(settings.data, clock)
    stack.push_async_callback(sessions.close)
    stack.push_async_callback(catalog.close)
    models = _model_providers(settings, clock)
    for provider in models.values():
        stack.push_async_callback(provider.close)
    sandboxes = _sandbox_provider(settings, blobs, ids)
    stack.push_async_callback(sandboxes.close)
    return Parts(
        settings=settings,
        clock=clock,
        ids=ids,
        sessions=sessions,
        catalog=catalog,
        blobs=blobs,
        bus=MemoryBus(),
        sandboxes=sandboxes,
        models=models,
        prices=PriceTable(parse_overrides(settings.prices), clock=clock),
    )


def _sandbox_provider(settings: Settings, blobs: BlobStore, ids: Ids) -> SandboxProvider:
    runtime = settings.runtime or _default_runtime(settings.data)
    if settings.unsafe_local:
        return LocalProvider(runtime, blobs, ids)
    return BubblewrapProvider(runtime, blobs, ids, secret_folders=[settings.data])


def _default_runtime(data: Path) -> Path:
    """Root's sandboxes run under other users, who cannot look into root's home; others keep theirs in the data folder."""
    return Path("/var/lib/remit") if os.geteuid() == 0 else data / "runtime"


def _model_providers(settings: Settings, clock: Clock) -> dict[str, ModelProvider]:
    scripts = load_scripts(settings.scripted) if settings.scripted is not None else {}
    providers: dict[str, ModelProvider] = {"scripted": ScriptedProvider(scripts, clock=clock)}
    if settings.anthropic_api_key:
        providers["anthropic"] = AnthropicProvider(
            api_key=settings.anthropic_api_key, base_url=settings.anthropic_base_url
        )
    base_url = settings.openai_base_url
    if base_url is not None and is_local_url(base_url):
        # A server on this machine costs nothing; a vendor's key is not sent to it.
        providers["local"] = OpenAIChatProvider(api_key=None, base_url=base_url, name="local")
    elif settings.openai_api_key or base_url is not None:
        providers["openai"] = OpenAIChatProvider(api_key=settings.openai_api_key, base_url=base_url)
    return providers


async def _operator_key(data: Path, parts: Parts) -> str:
    """The key of whoever can read the data folder; made once, kept readable by its owner only."""
    path = data / KEY_FILE
    key = path.read_text().strip() if path.exists() else ""
    if not key:  # the first start, or one that was killed before the key reached the disk
        key = f"rk_{secrets.token_urlsafe(32)}"
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(key + "\n")
        new.replace(path)
    digest = hashlib.sha256(key.encode()).hexdigest()
    if await parts.catalog.resolve_key(digest) is None:
        await parts.catalog.put_key(
            KeyRow(
                id=parts.ids.new("apikey"),
                sha256=digest,
                kind="api_key",
                name="operator",
                scopes=("*", "operator"),
                workspace_id=DEFAULT_WORKSPACE,
                created_at_us=parts.clock.now_us(),
            )
        )
    return key


@asynccontextmanager
async def _running(worker: Worker) -> AsyncGenerator[None]:
    """The worker, for as long as the platform is open. If it fails the platform fails with it."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(worker.run())
        try:
            yield
        finally:
            task.cancel()


class _SocketServer(uvicorn.Server):
    """Uvicorn without signal handlers: the program around it decides when to end."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


@asynccontextmanager
async def _serving(app: ASGIApp, path: str) -> AsyncGenerator[None]:
    """Serve on a Unix socket that only the owner of the folder can open."""
    listener = _listen(Path(path))
    server = _SocketServer(
        uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS
        )
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task
