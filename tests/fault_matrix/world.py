"""What outlives every process of a cell, what each process is given, and what is watched at every append."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from fault_matrix.process import Process
from remit.app import Assembled, assemble
from remit.app.kinds import KINDS
from remit.bus.memory import MemoryBus
from remit.clock import SteadyClock
from remit.gateway.workspace_stream import wake_workspace
from remit.ids import Ids
from remit.interfaces import ModelProvider, SessionStore, Verifier
from remit.models.drivers.scripted import ScriptedProvider, parse_script
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.stores.postgres.server import open_catalog as open_catalog_on_postgres
from remit.stores.postgres.server import open_session_store as open_sessions_on_postgres
from remit.stores.sqlite.folder import open_catalog, open_session_store
from remit.testing.memory_blobs import MemoryBlobStore
from remit.testing.memory_programs import Said
from remit.testing.memory_sandbox import MemorySandbox, MemorySandboxes
from remit.testing.messages_rules import StrictModel
from remit.testing.platform import GivenKey, parts_in
from remit.values import (
    Append,
    Appended,
    EventRow,
    JsonObject,
    Lease,
    ModelResponse,
    NewStream,
    Page,
    Principal,
    StreamFilter,
    StreamHead,
)
from support.crash_disk import CrashDisk
from support.postgres_server import empty_database
from support.simulation import SimulatedClock, SimulatedLoop
from support.waiting_verifier import CheckRuns, CheckRunVerifier

WORKSPACE = "wrkspc_one"
WITH = GivenKey(name="one", scopes=("*", "operator"))
PRINCIPAL, KEY = WITH.principal, WITH.secret
MODEL = "scripted/story"
PRICE = {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0}
NANO_PER_INPUT_TOKEN, NANO_PER_OUTPUT_TOKEN = 10_000, 50_000
SANDBOX_IDLE_SECONDS = 3.0
CHECK_RUN_SECONDS = 12.0
"""Longer than sandboxes are kept, and than a verifier wants to wait at a time."""
ASKED_AGAIN_SECONDS = 5.0

WHATEVER_EPOCH = -1
"""Only for planted bugs: an append that nothing fences."""

StoreMaker = Callable[[Process, Any, Any], Any]
"""Puts a planted bug between a platform and its store, given the process and its bus."""


def no_bug(process: Process, store: Any, bus: Any) -> Any:
    """The store as it is."""
    return store


class Watch:
    """What is seen of a world's store: complaints, what was acknowledged, and who owns which stream."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.acknowledged: dict[str, dict[int, str]] = {}
        """By stream and position: the event's id."""
        self.owners: dict[str, str] = {}
        """The last worker that claimed a stream."""
        self.appends = 0


class WatchedStore:
    """The store of a world. After every append the ledger of that stream is looked at, and what was acknowledged is
    remembered: it must be in the log at the end. Who appends under an epoch must be the one who claimed last."""

    def __init__(self, store: SessionStore, watch: Watch) -> None:
        self.inner = store
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def claim(self, owner: str, **named: Any) -> Sequence[Lease]:
        leases = await self.inner.claim(owner, **named)
        self._watch.owners.update({lease.stream_id: owner for lease in leases})
        return leases

    async def raise_epochs(self) -> None:
        await self.inner.raise_epochs()
        self._watch.owners.clear()

    async def create_stream(self, principal: Principal, stream: NewStream, append: Append) -> Appended:
        appended = await self.inner.create_stream(principal, stream, append)
        await self._look(principal, append.stream_id, appended)
        return appended

    async def append(self, principal: Principal, append: Append) -> Appended:
        if append.epoch == WHATEVER_EPOCH:
            head = await self.inner.head(principal, append.stream_id)
            append = msgspec.structs.replace(append, epoch=head.epoch)
        appended = await self.inner.append(principal, append)
        owner = self._watch.owners.get(append.stream_id)
        if append.epoch is not None and principal.actor != owner:
            types = "+".join(event.type for event in append.events)
            self._watch.complaints.append(
                f"{principal.actor} appended {types} to {append.stream_id}, which {owner} owns"
            )
        await self._look(principal, append.stream_id, appended)
        return appended

    async def _look(self, principal: Principal, stream_id: str, appended: Appended) -> None:
        self._watch.appends += 1
        told = self._watch.acknowledged.setdefault(stream_id, {})
        for row in appended.rows:
            told[row.seq] = row.event_id
        for account in await self.inner.accounts(principal, stream_id):
            used = account.spent + account.held + account.granted
            if account.cap is not None and used > account.cap:
                self._watch.complaints.append(f"{stream_id} is above its cap after an append: {account}")


class WorldClock:
    """The machine's clock, made steady anew by every process."""

    def __init__(self) -> None:
        self.machine = SimulatedClock()
        self.restart()

    def restart(self) -> None:
        self._steady = SteadyClock(self.machine)

    def now_us(self) -> int:
        return self._steady.now_us()

    def monotonic(self) -> float:
        return self._steady.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._steady.sleep(seconds)


class Bill:
    """What the model's provider would charge: every answer that it finished, whoever still heard of it."""

    def __init__(self, provider: ModelProvider) -> None:
        self.nano_usd = 0
        self.calls = 0
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        self.calls += 1
        async for item in self._provider.stream(request):
            if isinstance(item, ModelResponse):
                self.nano_usd += item.usage.input_tokens * NANO_PER_INPUT_TOKEN
                self.nano_usd += item.usage.output_tokens * NANO_PER_OUTPUT_TOKEN
            yield item


class Waited:
    """A store that answers from outside the loop: simulated time stands still until it does."""

    def __init__(self, store: Any) -> None:
        self.inner = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            with outside():
                return await method(*arguments, **named)

        return call


def outside() -> AbstractContextManager[None]:
    """Around what another process or thread ends."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop), "worlds live in simulated time"
    return loop.outside()


class Stores:
    """The durable stores of a world: in memory, in SQLite on a disk that can lose what was not synced, or in a
    PostgreSQL database that outlives its processes."""

    def __init__(
        self,
        store: Any,
        catalog: Any,
        disk: CrashDisk | None = None,
        database: AbstractAsyncContextManager[str] | None = None,
        url: str = "",
    ) -> None:
        self.sessions = store
        self.catalog = catalog
        self.disk = disk
        self._database = database
        self._url = url

    @classmethod
    async def open(cls, kind: str, folder: Path, clock: WorldClock) -> Stores:
        if kind == "memory":
            return cls(MemorySessionStore(clock), MemoryCatalog(clock))
        if kind == "postgres":
            database = empty_database()
            with outside():
                url = await database.__aenter__()
            return await cls._open_database(database, url, clock)
        return await cls._open_disk(CrashDisk(folder / "disk_0"), clock)

    @classmethod
    async def _open_disk(cls, disk: CrashDisk, clock: WorldClock) -> Stores:
        sessions = await open_session_store(disk.folder, clock, vfs=disk.name)
        catalog = await open_catalog(disk.folder, vfs=disk.name)
        return cls(Waited(sessions), Waited(catalog), disk)

    @classmethod
    async def _open_database(
        cls, database: AbstractAsyncContextManager[str], url: str, clock: WorldClock
    ) -> Stores:
        with outside():
            sessions = await open_sessions_on_postgres(url, clock, name="world", connections=4)
            catalog = await open_catalog_on_postgres(url, clock)
        return cls(Waited(sessions), Waited(catalog), database=database, url=url)

    async def after_death(self, clock: WorldClock, power_loss: random.Random | None) -> Stores:
        """What a new process finds: all that was written; after a power loss what was synced, and perhaps some more."""
        if self._database is not None:
            with outside():
                for store in (self.sessions, self.catalog):
                    await store.inner.break_off()
            return await self._open_database(self._database, self._url, clock)
        if self.disk is None:
            return self
        self.disk.die()
        await self.close()
        left = self.disk.survivor(power_loss)
        return await self._open_disk(left, clock)

    async def close(self) -> None:
        if self.disk is not None:
            await self.sessions.close()
            await self.catalog.close()
            self.disk.unregister()
        if self._database is not None:
            await self.sessions.close()
            await self.catalog.close()
            with outside():
                await self._database.__aexit__(None, None, None)


class World:
    """What is durable, what is watched, and the truth about money and effects."""

    def __init__(
        self, folder: Path, stores: Stores, clock: WorldClock, script: JsonObject, seed: int
    ) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.ids = Ids(clock, self.random.randbytes)
        self.stores = stores
        self.blobs = MemoryBlobStore(clock)
        self.watch = Watch()
        self.store: Any = WatchedStore(stores.sessions, self.watch)  # Any: a SessionStore by __getattr__
        self.tickets = 0
        self.bill = Bill(
            StrictModel(
                ScriptedProvider(
                    {"story": parse_script(msgspec.json.encode(script), name="story")}, clock=clock
                )
            )
        )
        self.folder = folder
        self.processes = 0
        self.surviving: MemorySandboxes | None = None
        self.has_surviving_sandboxes = False
        self.check_runs = CheckRuns(run_seconds=CHECK_RUN_SECONDS, seconds=clock.machine.monotonic)
        self.has_check_runs = False
        self.bug: StoreMaker = no_bug
        self.power_loss: random.Random | None = None

    async def open(self) -> None:
        """Give the workspace its key."""
        await self.stores.catalog.put_key(WITH.row(self.clock.now_us()))

    async def close(self) -> None:
        await self.stores.close()

    async def start_anew(self) -> None:
        """After a death, as a real start does: what the stores kept, with raised epochs."""
        self.clock.restart()
        self.stores = await self.stores.after_death(self.clock, self.power_loss)
        self.power_loss = None
        self.store = WatchedStore(self.stores.sessions, self.watch)
        # Owning the data folder proves the former process dead.
        await self.store.raise_epochs()
        await wake_workspace(self.store, WORKSPACE, now_us=self.clock.now_us())

    def process(self, **fields: Any) -> Process:
        self.processes += 1
        return Process(name=f"process {self.processes}", **fields)

    def sandboxes(self) -> MemorySandboxes:
        """Those of a process; or those that outlive it."""
        if self.surviving is None or not self.has_surviving_sandboxes:
            self.surviving = MemorySandboxes(
                blobs=self.blobs,
                clock=self.clock,
                ids=self.ids,
                programs={"ticket": self._draw_ticket},
                survives_server=self.has_surviving_sandboxes,
            )
        return self.surviving

    async def _draw_ticket(self, sandbox: MemorySandbox, words: Sequence[str]) -> Said:
        """An effect that no snapshot restores: the next number, said once."""
        self.tickets += 1
        return Said(0, f"ticket {self.tickets}\n")

    # ------------------------------------------------------------------------------- what is durable now

    async def heads(self) -> list[StreamHead]:
        found: list[StreamHead] = []
        for kind in KINDS.names:
            found += await self.store.list_streams(
                PRINCIPAL, StreamFilter(kind=kind, include_archived=True), Page(limit=1000)
            )
        return found

    async def rows(self, stream_id: str) -> list[EventRow]:
        return list(await self.store.read(PRINCIPAL, stream_id, limit=100_000))


class Bus(MemoryBus):
    """A bus that can fall silent: every hint and frame is lost, as a bus may."""

    def __init__(self) -> None:
        super().__init__()
        self.is_silent = False

    def publish(self, item: Any) -> None:
        if not self.is_silent:
            super().publish(item)


class Life:
    """One process at work: its platform and its sandboxes."""

    def __init__(self, world: World, process: Process) -> None:
        self.world = world
        self.process = process
        self.bus = Bus()
        self.sandboxes = world.sandboxes()
        store = process.through("store", world.store)
        self.assembled: Assembled = assemble(
            parts_in(
                world.folder,
                settings={"sandbox_idle_seconds": SANDBOX_IDLE_SECONDS, "reader_wait_seconds": 0.0},
                clock=process.clock(world.clock),
                ids=world.ids,
                store=world.bug(process, store, self.bus),
                catalog=process.through("catalog", world.stores.catalog),
                blobs=process.through("blobs", world.blobs),
                bus=self.bus,
                sandboxes=lambda *_: process.through("sandboxes", self.sandboxes),
                models={"scripted": process.model(world.bill)},
                prices={MODEL: PRICE},
                verifiers=self._verifiers(),
            )
        )

    def _verifiers(self) -> Sequence[Verifier]:
        """Where commands are checks of a service elsewhere, in place of the one that runs them."""
        if not self.world.has_check_runs:
            return ()
        runs, clock = self.world.check_runs, self.process.clock(self.world.clock)
        return (CheckRunVerifier(runs, clock, wait_seconds=ASKED_AGAIN_SECONDS),)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[asyncio.Task[None]]:
        """The worker, until the block ends. Sandboxes that do not outlive it end with the process."""
        worker = asyncio.ensure_future(self.assembled.worker.run())
        try:
            yield worker
        finally:
            worker.cancel()
            await asyncio.wait([worker])
            if not self.world.has_surviving_sandboxes:
                self.sandboxes.kill_all()

    async def rest(self) -> None:
        """Return when nothing is left to do: no stream is worked on, due or leased, and no sandbox is held."""
        store = self.world.store
        while True:
            await asyncio.sleep(0.25)
            if self.assembled.worker.active or await store.outbox_due(1):
                continue
            heads = [head for head in await self.world.heads() if head.kind != "workspace"]
            if all(head.owner is None and head.wake_at_us is None for head in heads):
                return


@asynccontextmanager
async def a_task(work: Any) -> AsyncGenerator[asyncio.Task[Any]]:
    """A task that ends with the block, whatever becomes of it."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(BaseException):
            await task
