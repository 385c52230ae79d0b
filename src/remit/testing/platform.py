"""A whole platform for tests, in three sizes: in this process, over HTTP on a real socket, in a process of its own.

    async with platform(scripts={"fixer": {"steps": [{"text": "Done."}]}}) as here, here.client() as client:
        made = await client.remits.create(outcome="…", model="scripted/fixer", budget={"tokens": 10_000})

Everything is real but what is given in its place; without more, what is kept is kept in memory, models play scripts, and
**commands of agents run without isolation** (`sandboxes=BubblewrapProvider` isolates them).
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast, get_type_hints, overload

import httpx2
import msgspec
from anyio import to_thread
from opentelemetry.trace import Tracer
from starlette.types import ASGIApp

from remit.app import Parts, assemble
from remit.app.parts import MoreStreams
from remit.blobs.directory import DirectoryBlobStore
from remit.bus.memory import MemoryBus
from remit.client.asgi import StreamingASGITransport
from remit.client.client import IN_PROCESS_URL, AsyncClient
from remit.clock import Clock, SystemClock
from remit.config import load_settings
from remit.gateway.retry_plan import RetrySettings
from remit.ids import Ids
from remit.interfaces import (
    BlobStore,
    Catalog,
    Harness,
    LiveBus,
    ModelProvider,
    SandboxProvider,
    SessionStore,
    ToolSource,
    Verifier,
)
from remit.ledger.prices import PriceTable, parse_overrides
from remit.models.drivers.scripted import ScriptedProvider, parse_script
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.worker import Worker
from remit.sandboxes.local import LocalProvider
from remit.server.edge.listening import listen_on_port, serving, url_of
from remit.server.operations.services import Services
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.telemetry.metrics import Metrics
from remit.testing.messages_rules import StrictModel
from remit.testing.up_process import UpProcess
from remit.values import KeyRow, Principal, Value

Json = Mapping[str, Any]  # Any: JSON as tests write it


class GivenKey(Value, frozen=True, kw_only=True):
    """A key that opens a platform: its secret is `rk_NAME`, its id `apikey_NAME`."""

    name: str
    workspace_id: str = "wrkspc_one"
    scopes: tuple[str, ...] = ("*",)

    @property
    def secret(self) -> str:
        """Return the secret that is sent with a request."""
        return f"rk_{self.name}"

    @property
    def principal(self) -> Principal:
        """Return the principal that asks with the key."""
        return Principal(workspace_id=self.workspace_id, actor=f"apikey_{self.name}", scopes=self.scopes)

    def row(self, created_at_us: int = 1) -> KeyRow:
        """Return the row that the catalog keeps of the key."""
        return KeyRow(
            id=f"apikey_{self.name}",
            sha256=hashlib.sha256(self.secret.encode()).hexdigest(),
            kind="api_key",
            name=self.name,
            scopes=self.scopes,
            workspace_id=self.workspace_id,
            created_at_us=created_at_us,
        )


ONE = GivenKey(name="one")
TWO = GivenKey(name="two", workspace_id="wrkspc_two")
OPERATOR = GivenKey(name="operator", scopes=("*", "operator"))


def _secret(key: GivenKey | str) -> str:
    return key if isinstance(key, str) else key.secret


class MoreParts(TypedDict, total=False):
    """Of `app.Parts`, as they are."""

    bus: LiveBus
    harnesses: Sequence[Harness]
    verifiers: Sequence[Verifier]
    tools: Sequence[ToolSource]
    more_streams: Sequence[MoreStreams]
    more_routes: Sequence[Callable[[Services], object]]
    retries: RetrySettings
    evaluation_heartbeat_seconds: float
    metrics: Metrics
    tracer: Tracer


class PartOptions(MoreParts, total=False):
    """What a platform stands on, where it is not as usual."""

    scripts: Mapping[str, Json]
    """Served as the models `scripted/NAME`; `scripted/inline` plays the script in the first message of a session."""
    is_strict: bool
    """No call of a scripted model may break a rule of the Messages API: it is refused, and told at the end. True if absent."""
    models: Mapping[str, ModelProvider]
    """By the name of the provider, beside `scripted` or instead of it. Whoever made them closes them."""
    prices: Mapping[str, Mapping[str, float]]
    """By model, as in the settings; scripted models cost nothing otherwise."""
    sandboxes: Callable[[Path, BlobStore, Ids], SandboxProvider]
    """Makes the provider, of a folder for live sandboxes."""
    clock: Clock
    ids: Ids
    store: SessionStore
    catalog: Catalog
    """Both in memory otherwise. Whoever made them closes them."""
    blobs: BlobStore
    settings: Mapping[str, object]
    """As in docs/settings.md; no variables of the environment are read."""


class Options(PartOptions, total=False):
    """What a platform of this process is given."""

    keys: Sequence[GivenKey]
    """Otherwise ONE and TWO, of two workspaces."""
    faults: Callable[[Parts], Parts]
    """What stands between the platform and its parts: `lambda parts: replace(parts, sessions=FaultyStore(parts.sessions))`."""
    around: Callable[[ASGIApp], ASGIApp]
    """What stands between the API and all who ask."""
    public_url: str
    is_at_work: bool
    """Whether the worker runs. True if absent; otherwise `PlatformUnderTest.working`."""


def parts_in(folder: Path, **given: Unpack[PartOptions]) -> Parts:
    """Make the parts of a platform that keeps its files in a folder. Raises TypeError for what is no option."""
    _refuse_others(PartOptions, given)
    clock = given.get("clock") or SystemClock()
    ids = given.get("ids") or Ids(clock)
    blobs = given.get("blobs") or DirectoryBlobStore(folder / "blobs", clock)
    scripted: ModelProvider = ScriptedProvider(
        {
            name: parse_script(msgspec.json.encode(script), name=name)
            for name, script in given.get("scripts", {}).items()
        },
        clock=clock,
    )
    if given.get("is_strict", True):
        scripted = StrictModel(scripted)
    more: MoreParts = {"bus": MemoryBus(), **_those(MoreParts, given)}
    return Parts(
        settings=load_settings({}, data=folder, **given.get("settings", {})),
        clock=clock,
        ids=ids,
        sessions=given.get("store") or MemorySessionStore(clock),
        catalog=given.get("catalog") or MemoryCatalog(clock),
        blobs=blobs,
        sandboxes=given.get("sandboxes", LocalProvider)(folder / "runtime", blobs, ids),
        models={"scripted": scripted, **given.get("models", {})},
        prices=PriceTable(parse_overrides(given.get("prices", {})), clock=clock),
        **more,
    )


class PlatformUnderTest:
    """A platform of this process, assembled as `remit up` assembles its own."""

    def __init__(
        self,
        parts: Parts,
        *,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
        public_url: str | None = None,
    ) -> None:
        self.parts = parts
        self.assembled = assemble(parts, public_url=public_url)
        self.api: ASGIApp = self.assembled.asgi
        """All routes, with nothing around them."""
        self.asgi: ASGIApp = around(self.api) if around is not None else self.api
        self.url = IN_PROCESS_URL
        """Where it is served: over HTTP an address for any program, otherwise a name that only its clients know."""

    @property
    def services(self) -> Services:
        """Return the services through which the routes act."""
        return self.assembled.services

    @property
    def worker(self) -> Worker:
        """Carries streams on, while it runs."""
        return self.assembled.worker

    @property
    def held(self) -> SessionSandboxes:
        """The sandboxes of sessions."""
        return self.assembled.held

    async def give(self, key: GivenKey) -> None:
        """Let a further key open it."""
        await self.parts.catalog.put_key(key.row(self.parts.clock.now_us()))

    def client(self, key: GivenKey | str = ONE) -> AsyncClient:
        """A client with this key, or with a secret that the API gave; use it in `async with`."""
        if self.url == IN_PROCESS_URL:
            return AsyncClient.in_process(self.asgi, api_key=_secret(key))
        return AsyncClient(base_url=self.url, api_key=_secret(key))

    def http(self, key: GivenKey | str | None = ONE) -> httpx2.AsyncClient:
        """A bare HTTP client, with this key in every request; without one it is what other SDKs may be given. Use it in
        `async with`."""
        is_here = self.url == IN_PROCESS_URL
        return httpx2.AsyncClient(
            transport=StreamingASGITransport(self.asgi) if is_here else None,
            base_url=self.url,
            headers={} if key is None else {"authorization": f"Bearer {_secret(key)}"},
        )

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Worker]:
        """Have the worker run. Raises, at the end, what ended it before."""
        task = asyncio.create_task(self.worker.run())
        try:
            yield self.worker
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Serve it over HTTP on any free port of loopback, as `remit up` serves; the address."""
        listener = listen_on_port("127.0.0.1", 0)
        self.url = url_of("127.0.0.1", listener)
        try:
            async with serving(self.asgi, listener):
                yield self.url
        finally:
            self.url = IN_PROCESS_URL

    async def close(self) -> None:
        """End its sandboxes and tools. Raises AssertionError where a scripted model was called against a rule."""
        await self.assembled.tools.close()
        await self.held.close()
        await self.parts.sandboxes.close()
        for model in self.parts.models.values():
            if isinstance(model, StrictModel):
                model.require_none()


@overload
def platform(
    folder: Path | None = None,
    *,
    size: Literal["in_process", "http"] = "in_process",
    **given: Unpack[Options],
) -> AbstractAsyncContextManager[PlatformUnderTest]: ...
@overload
def platform(
    folder: Path | None = None,
    *,
    size: Literal["process"],
    scripts: Mapping[str, Json] | None = None,
    prices: Mapping[str, Mapping[str, float]] | None = None,
    settings: Mapping[str, object] | None = None,
) -> AbstractAsyncContextManager[UpProcess]: ...


def platform(
    folder: Path | None = None,
    *,
    size: Literal["in_process", "http", "process"] = "in_process",
    **given: Any,  # Any: as the overloads say
) -> AbstractAsyncContextManager[PlatformUnderTest] | AbstractAsyncContextManager[UpProcess]:
    """Run a platform until the block ends; its files are in `folder`, or in one that goes with it.

    `size` is `in_process` (no socket), `http` (the same, served on loopback), or `process` (`remit up` by itself, which
    can be killed and started again; it takes scripts, prices and settings alone). `given`: see `Options`.
    Raises TypeError for what a size does not take, InvalidRequest for settings and scripts that cannot be used, at the end
    AssertionError where a scripted model was called against a rule, and what ended the worker.
    """
    if size == "process":
        return _own_process(folder, **given)
    _refuse_others(Options, given)
    return _here(folder, is_served=size == "http", given=cast("Options", given))


@asynccontextmanager
async def _here(folder: Path | None, *, is_served: bool, given: Options) -> AsyncGenerator[PlatformUnderTest]:
    async with _folder(folder) as place:
        parts = parts_in(place, **_those(PartOptions, given))
        if (faults := given.get("faults")) is not None:
            parts = faults(parts)
        here = PlatformUnderTest(parts, around=given.get("around"), public_url=given.get("public_url"))
        for key in given.get("keys", (ONE, TWO)):
            await here.give(key)
        try:
            async with AsyncExitStack() as stack:
                if is_served:
                    await stack.enter_async_context(here.serving())
                if given.get("is_at_work", True):
                    await stack.enter_async_context(here.working())
                yield here
        finally:
            await here.close()


T = TypeVar("T")


def _those(kind: type[T], given: Mapping[str, Any]) -> T:  # Any: each as `kind` declares it
    """The options that such a TypedDict has."""
    names = get_type_hints(kind)
    return cast("T", {name: value for name, value in given.items() if name in names})


def _refuse_others(kind: type[object], given: Mapping[str, Any]) -> None:
    if unknown := given.keys() - get_type_hints(kind).keys():
        raise TypeError(f"a platform for tests takes no {sorted(unknown)[0]!r}; see {kind.__name__}")


@asynccontextmanager
async def _own_process(
    folder: Path | None,
    *,
    scripts: Mapping[str, Json] | None = None,
    prices: Mapping[str, Mapping[str, float]] | None = None,
    settings: Mapping[str, object] | None = None,
) -> AsyncGenerator[UpProcess]:
    async with _folder(folder) as place:
        with UpProcess(place, scripts, prices=prices, **(settings or {})) as up:
            await to_thread.run_sync(up.start)
            yield up


@asynccontextmanager
async def _folder(given: Path | None) -> AsyncGenerator[Path]:
    if given is not None:
        yield given
        return
    made = await to_thread.run_sync(tempfile.mkdtemp, None, "remit-platform-")
    try:
        yield Path(made)
    finally:
        await to_thread.run_sync(shutil.rmtree, made, True)
