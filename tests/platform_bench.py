"""A whole platform in one process for fault tests: `app.assemble` over stores that outlive it, and a client in front.

A `World` is what is durable (streams, catalog, blobs) and what a platform is given (scripts, prices). A `Life` is one
process over it: worker, API and sandboxes, from its start to its end or its death. After a death everything of that
process is gone, as with `kill -9`, and the next life begins as a real start does: with raised epochs.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec

from remit.app import Assembled, Parts, assemble
from remit.blobs.directory import DirectoryBlobStore
from remit.bus.memory import MemoryBus
from remit.client.client import AsyncClient
from remit.clock import Clock, SystemClock
from remit.config import Settings
from remit.gateway.gateway import RetrySettings
from remit.ids import Ids
from remit.interfaces import BlobStore, Catalog, SessionStore
from remit.ledger.prices import PriceTable, parse_overrides
from remit.models.scripted import ScriptedProvider, parse_script
from remit.sandboxes.local import LocalProvider
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.faulty_store import Crash
from remit.values import Account, EventRow, JsonObject, KeyRow, Page, Principal, StreamFilter, StreamHead

WORKSPACE = "wrkspc_one"
PRINCIPAL = Principal(workspace_id=WORKSPACE, actor="apikey_one", scopes=("*", "operator"))
KEY = "rk_one"
PRICE = {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0}
LIFE_SECONDS_MAX = 30
"""A life that is not over by then is stuck."""
POLL_SECONDS = 0.005

T = TypeVar("T")
Work = Callable[["Life", AsyncClient], Awaitable[T]]


class Died(Exception):
    """The process is dead; what its client waited for never came."""


class World:
    """What outlives a process, and what every process is given."""

    def __init__(
        self,
        folder: Path,
        *,
        scripts: Mapping[str, JsonObject],
        clock: Clock | None = None,
        retries: RetrySettings | None = None,
    ) -> None:
        self.folder = folder
        self.clock = clock or SystemClock()
        self.ids = Ids(self.clock)
        self.store = MemorySessionStore(self.clock)
        self.catalog = MemoryCatalog(self.clock)
        self.blobs = DirectoryBlobStore(folder / "blobs")
        self.scripts = dict(scripts)
        self.retries = retries or RetrySettings(backoff_first_seconds=0.001)
        self._lives = 0

    async def open(self) -> None:
        """Give the workspace its key."""
        await self.catalog.put_key(
            KeyRow(
                id=PRINCIPAL.actor,
                sha256=hashlib.sha256(KEY.encode()).hexdigest(),
                kind="api_key",
                name="tests",
                scopes=PRINCIPAL.scopes,
                workspace_id=WORKSPACE,
                created_at_us=self.clock.now_us(),
            )
        )

    async def live(
        self,
        work: Work[T],
        store: SessionStore | None = None,
        catalog: Catalog | None = None,
        blobs: BlobStore | None = None,
    ) -> T:
        """Start a process, let `work` be done by a client of it, end it. Raises Died where a store crashed. Stores that
        are given stand before the world's own."""
        life = self.life(store, catalog, blobs)
        # Owning the data folder proves the former process dead.
        await self.store.raise_epochs()
        return await life.run(work)

    def life(
        self,
        store: SessionStore | None = None,
        catalog: Catalog | None = None,
        blobs: BlobStore | None = None,
    ) -> Life:
        """A process that has not started."""
        self._lives += 1
        folder = self.folder / f"life_{self._lives}"
        return Life(self, store or self.store, catalog or self.catalog, blobs or self.blobs, folder)

    # ------------------------------------------------------------------------------- what is durable now

    async def heads(self) -> list[StreamHead]:
        """Every stream of the workspace."""
        found: list[StreamHead] = []
        for kind in ("workspace", "remit", "session"):
            found += await self.store.list_streams(
                PRINCIPAL, StreamFilter(kind=kind, include_archived=True), Page(limit=1000)
            )
        return found

    async def rows(self, stream_id: str, *types: str) -> list[EventRow]:
        """Rows (of these types) in order."""
        rows = await self.store.read(PRINCIPAL, stream_id, limit=100_000)
        return [row for row in rows if not types or row.type in types]

    async def bodies(self, stream_id: str, *types: str) -> list[JsonObject]:
        """Their bodies."""
        return [msgspec.json.decode(row.body) for row in await self.rows(stream_id, *types)]

    async def accounts(self) -> dict[str, list[Account]]:
        """Accounts of every stream."""
        return {
            head.stream_id: list(await self.store.accounts(PRINCIPAL, head.stream_id))
            for head in await self.heads()
        }


class Life:
    """One process."""

    def __init__(
        self, world: World, store: SessionStore, catalog: Catalog, blobs: BlobStore, folder: Path
    ) -> None:
        self.world = world
        self.sandboxes = LocalProvider(folder / "runtime", blobs, world.ids)
        models = {
            name: parse_script(msgspec.json.encode(script), name=name)
            for name, script in world.scripts.items()
        }
        overrides = {f"scripted/{name}": PRICE for name in models}
        self.assembled: Assembled = assemble(
            Parts(
                settings=Settings(data=folder, sandbox_idle_seconds=300.0, reader_wait_seconds=0.0),
                clock=world.clock,
                ids=world.ids,
                sessions=store,
                catalog=catalog,
                blobs=blobs,
                bus=MemoryBus(),
                sandboxes=self.sandboxes,
                models={"scripted": ScriptedProvider(models, clock=world.clock)},
                prices=PriceTable(parse_overrides(overrides), clock=world.clock),
                retries=world.retries,
            )
        )

    async def run(self, work: Work[T]) -> T:
        """The worker and a client of the API, until the client is done. Raises Died; whatever else fails is raised."""
        results: list[T] = []
        try:
            with anyio.fail_after(LIFE_SECONDS_MAX):
                async with asyncio.TaskGroup() as group:
                    worker = group.create_task(self.assembled.worker.run())
                    async with AsyncClient.in_process(
                        self.assembled.asgi, api_key=KEY, stream_reconnects_max=0
                    ) as client:
                        results.append(await work(self, client))
                    worker.cancel()
        except BaseExceptionGroup as group:
            if group.subgroup(Crash) is None:
                raise
            raise Died from None
        finally:
            # Sandboxes of an embedded server end with it.
            await self.assembled.held.close()
            await self.sandboxes.close()
        return results[0]

    async def settle(self) -> None:
        """Return when the worker has nothing in hand."""
        while self.assembled.worker.active:  # noqa: ASYNC110 the worker has no event for it
            await anyio.sleep(POLL_SECONDS)


def tar_of(files: Mapping[str, str]) -> bytes:
    """A tar with these files below files/."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"files/{path}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


async def in_pieces(content: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    """As a request body arrives."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
