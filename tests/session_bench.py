"""A session engine in one process for tests: memory stores, a scripted model, a sandbox folder, real time.

Drives sessions below HTTP: rows go in as the routes would append them; what the worker makes of them is read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec

from remit.app.kinds import KINDS
from remit.blobs.directory import DirectoryBlobStore
from remit.bus.memory import MemoryBus
from remit.clock import Clock, SystemClock
from remit.gateway.course import RetrySettings
from remit.gateway.gateway import Gateway
from remit.gateway.routing import Router
from remit.harness.loop import BuiltInLoop
from remit.ids import Ids
from remit.interfaces import Harness, ModelProvider, SandboxProvider, SessionStore, StreamHandler, ToolSource
from remit.ledger.prices import PriceTable, parse_overrides
from remit.models.scripted import ScriptedProvider, parse_script
from remit.orchestrator.evaluation import HEARTBEAT_SECONDS, Evaluation
from remit.orchestrator.held import HeldSandboxes
from remit.orchestrator.session_handler import SessionHandler
from remit.orchestrator.worker import STREAMS_MAX, Hints, Rouser, Worker
from remit.resources.blob_owners import BlobOwners
from remit.resources.files import Files
from remit.resources.kept_blobs import KeptBlobs
from remit.resources.memory_stores import MemoryStores
from remit.resources.session_removal import SessionRemoval
from remit.sandboxes.local import LocalProvider
from remit.session import events
from remit.session.folding import fold
from remit.session.rows import ROWS
from remit.session.state import SessionState
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.messages_rules import StrictModel
from remit.toolsets.agent import agent_tools
from remit.values import (
    Append,
    Effect,
    JsonObject,
    JsonValue,
    LiveItem,
    NewStream,
    OpenAccount,
    Principal,
    StreamSummary,
)
from remit.verifiers.command import CommandVerifier
from remit.verifiers.composition import Verifiers
from remit.verifiers.rubric import RubricVerifier

PRINCIPAL = Principal(workspace_id="wrkspc_one", actor="apikey_one")
TIMEOUT_SECONDS = 20
PRICES = {
    name: {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0}
    for name in ("scripted/dear", "served/dear")
}
AGENT: JsonObject = {
    "id": "agent_1",
    "type": "agent",
    "name": "tester",
    "version": 1,
    "model": {"id": "scripted/script", "effort": {"type": "medium"}},
    "system": None,
    "tools": [
        {
            "type": "agent_toolset_20260401",
            "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
            "configs": [],
        }
    ],
    "harness": {"name": "remit", "version": "1"},
}


@asynccontextmanager
async def at_work(worker: Worker) -> AsyncGenerator[Worker]:
    """For as long as the test needs it."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(worker.run())
        try:
            yield worker
        finally:
            task.cancel()


class SessionBench:
    """Sessions by their rows."""

    def __init__(
        self,
        *,
        folder: Path,
        store: SessionStore | None = None,
        clock: Clock | None = None,
        scripts: Mapping[str, JsonObject],
        sandboxes: SandboxProvider | None = None,
        harnesses: tuple[Harness, ...] = (),
        retries: RetrySettings | None = None,
        models: Mapping[str, ModelProvider] | None = None,
        sandbox_idle_seconds: float = 300.0,
        sandboxes_max: int = 256,
        streams_max: int = STREAMS_MAX,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.clock = clock or SystemClock()
        self.ids = Ids(self.clock)
        self.store = store or MemorySessionStore(self.clock)
        self.catalog = MemoryCatalog(self.clock)
        self.blobs = DirectoryBlobStore(folder / "blobs", self.clock)
        self.bus = MemoryBus()
        self.hints = Hints()
        self.sandboxes = sandboxes or LocalProvider(folder / "runtime", self.blobs, self.ids)
        self.scripted = ScriptedProvider(
            {name: parse_script(msgspec.json.encode(script), name=name) for name, script in scripts.items()},
            clock=self.clock,
        )
        self.strict = StrictModel(self.scripted)
        self.gateway = Gateway(
            router=Router({"scripted": self.strict, **(models or {})}, aliases={}),
            prices=PriceTable(parse_overrides(PRICES), clock=self.clock),
            clock=self.clock,
            ids=self.ids,
            retries=retries or RetrySettings(backoff_first_seconds=0.01),
        )
        self.kept = KeptBlobs(
            self.blobs, self.catalog, BlobOwners(self.store, self.catalog, KINDS).is_there, self.clock
        )
        self.memory_stores = MemoryStores(self.catalog, self.kept, self.clock, self.ids)
        self.held = HeldSandboxes(
            provider=self.sandboxes,
            blobs=self.kept,
            catalog=self.catalog,
            clock=self.clock,
            idle_seconds=sandbox_idle_seconds,
            live_max=sandboxes_max,
            memory=self.memory_stores,
            rouse=Rouser(store=self.store, clock=self.clock, hints=self.hints, name="worker_1"),
        )
        self.files = Files(self.catalog, self.kept, self.clock, self.ids)
        self.removal = SessionRemoval(sessions=self.store, files=self.files, blobs=self.kept, bus=self.bus)
        self._heartbeat_seconds = heartbeat_seconds
        self._harnesses = (BuiltInLoop(), *harnesses)
        self._streams_max = streams_max

    def worker(self, name: str = "worker_1") -> Worker:
        """A worker over these parts."""
        verifiers = Verifiers(
            {
                "rubric": RubricVerifier(self.gateway, self.blobs),
                "command": CommandVerifier(provider=self.sandboxes, blobs=self.kept, ids=self.ids),
            }
        )
        return self.worker_for([self.session_handler(self.store, verifiers, agent_tools())], name=name)

    def session_handler(self, store: SessionStore, verifiers: Verifiers, tools: ToolSource) -> SessionHandler:
        """A handler of sessions over these parts."""
        return SessionHandler(
            store=store,
            bus=self.bus,
            blobs=self.blobs,
            clock=self.clock,
            ids=self.ids,
            harnesses={one.name: one for one in self._harnesses},
            gateway=self.gateway,
            tools=tools,
            sandboxes=self.held,
            evaluation=Evaluation(
                verifiers=verifiers,
                sandboxes=self.held,
                blobs=self.kept,
                heartbeat_seconds=self._heartbeat_seconds,
            ),
            removal=self.removal,
            reader_wait_seconds=0.0,
            is_resting=lambda: self.hints.is_resting,
        )

    def worker_for(
        self, handlers: Sequence[StreamHandler], *, name: str, store: SessionStore | None = None
    ) -> Worker:
        """A worker with these handlers."""
        return Worker(
            name=name,
            store=store or self.store,
            bus=self.bus,
            clock=self.clock,
            hints=self.hints,
            handlers=handlers,
            streams_max=self._streams_max,
        )

    def running(self) -> AbstractAsyncContextManager[Worker]:
        """A worker at work."""
        return at_work(self.worker())

    async def close(self) -> None:
        await self.held.close()
        await self.sandboxes.close()
        self.strict.require_none()

    # ------------------------------------------------------------------------------------------- input

    async def create(
        self,
        *,
        agent: Mapping[str, Any] | None = None,
        effects: tuple[Effect, ...] = (),
        **created: JsonValue,
    ) -> str:
        """A session as the route makes it; returns its id."""
        session_id = self.ids.new("sesn")
        body: JsonObject = {
            "session": {"title": None, "metadata": {}, "budget": None},
            "agent": {**AGENT, **cast("JsonObject", dict(agent or {}))},
            "environment_id": "env_1",
            "thread_id": self.ids.new("sthr"),
            "input": None,
            "toolchains": [],
            "parent": None,
            "waits_for_reader": False,
            **created,
        }
        accounts = effects or (
            OpenAccount(unit="nano_usd", purpose="work"),
            OpenAccount(unit="tokens", purpose="work"),
            OpenAccount(unit="nano_usd", purpose="verification"),
            OpenAccount(unit="tokens", purpose="verification"),
        )
        await self.store.create_stream(
            PRINCIPAL,
            NewStream(stream_id=session_id, kind="session", summary=StreamSummary(status="idle")),
            Append(
                stream_id=session_id,
                events=(ROWS.make("session.created", id=self.ids.new("sevt"), **body).as_row(),),
                effects=accounts,
            ),
        )
        return session_id

    async def send(self, session_id: str, type: str, **fields: JsonValue) -> str:
        """Input as the route appends it; returns the event's id."""
        event: JsonObject = {"id": self.ids.new("sevt"), "type": type, **fields}
        event_id = str(event["id"])
        appended = await self.store.append(
            PRINCIPAL,
            Append(
                stream_id=session_id,
                events=(events.received(event, key=event_id),),
                wake_at_us=self.clock.now_us(),
            ),
        )
        self.bus.publish(LiveItem(stream_id=session_id, rows=appended.rows))
        self.hints.hint(session_id)
        return event_id

    async def say(self, session_id: str, text: str) -> str:
        """A user message."""
        return await self.send(session_id, "user.message", content=[{"type": "text", "text": text}])

    async def define_outcome(
        self, session_id: str, description: str, *commands: str, **fields: JsonValue
    ) -> str:
        """An outcome with command verifiers."""
        return await self.send(
            session_id,
            "user.define_outcome",
            description=description,
            outcome_id=self.ids.new("outc"),
            rubric={"type": "text", "content": "as the verifiers say"},
            verifiers=[{"type": "command", "command": command} for command in commands],
            **fields,
        )

    # ------------------------------------------------------------------------------------------ output

    async def state(self, session_id: str) -> SessionState:
        """The fold of what is durable now."""
        rows = await self.store.read(PRINCIPAL, session_id, limit=100_000)
        return fold(rows)

    async def bodies(self, session_id: str, *types: str) -> list[JsonObject]:
        """Bodies of all rows (of these types), in order."""
        rows = await self.store.read(PRINCIPAL, session_id, limit=100_000)
        return [
            cast("JsonObject", msgspec.json.decode(row.body))
            for row in rows
            if not types or row.type in types
        ]

    async def types(self, session_id: str) -> list[str]:
        """Types of the public rows, in order."""
        rows = await self.store.read(PRINCIPAL, session_id, limit=100_000, visibility="public")
        return [row.type for row in rows]

    async def wait_for(
        self, session_id: str, *types: str, count: int = 1, seconds: float = TIMEOUT_SECONDS
    ) -> JsonObject:
        """The body of the count-th row of one of these types, as soon as it is durable."""
        with anyio.fail_after(seconds):
            async with self.bus.subscribe(session_id) as subscription:
                while True:
                    found = await self.bodies(session_id, *types)
                    if len(found) >= count:
                        return found[count - 1]
                    await subscription.next()

    async def wait_idle(self, session_id: str, count: int = 1) -> JsonObject:
        """The count-th `session.status_idle`."""
        return await self.wait_for(session_id, "session.status_idle", count=count)


def script(*steps: JsonObject) -> JsonObject:
    """A scripted model that plays these steps."""
    return {"steps": list[JsonValue](steps)}


def say(text: str) -> JsonObject:
    """A step that only speaks."""
    return {"text": text}


def use(name: str, **input: JsonValue) -> JsonObject:
    """A step with one tool use."""
    return {"tool_uses": [{"name": name, "input": input}]}


def texts(result: JsonObject) -> str:
    """The text of a result or message."""
    return "".join(str(block.get("text", "")) for block in cast("list[JsonObject]", result["content"]))
