"""Remits in one process for tests: the session bench with the remit handler beside it, below HTTP."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from remit.app.kinds import KINDS, stream_kinds
from remit.clock import Clock
from remit.gateway.routing import Router
from remit.interfaces import SessionStore, Verifier
from remit.ledger.prices import PriceTable, parse_overrides
from remit.orchestrator.check import CheckReport, check_stream
from remit.orchestrator.worker import Worker
from remit.remits.creation import RemitCreation
from remit.remits.events import Command, InputReceived
from remit.remits.forecaster import Forecaster
from remit.remits.handler import RemitHandler
from remit.remits.inputs import Inputs
from remit.remits.kind import REMIT
from remit.remits.receipt import make_receipt
from remit.remits.setup import Setup
from remit.remits.state import RemitState, fold
from remit.remits.verification import Judge
from remit.remits.working_session import SessionOpener
from remit.resources.agents import Agents
from remit.resources.environments import Environments
from remit.resources.sending import Sending
from remit.resources.session_kind import SESSION
from remit.schema.remits import RemitCreate
from remit.streams.folds import Folds
from remit.streams.kinds import StreamKind
from remit.streams.reading import read_rows
from remit.streams.streams import Streams
from remit.toolsets.agent import agent_tools
from remit.toolsets.web.tools import WebTools, web_offer
from remit.values import Append, ConsentReason, JsonObject, LiveItem, Principal
from remit.verifiers.command import CommandVerifier
from remit.verifiers.composition import Verifiers
from remit.verifiers.rubric import RubricVerifier
from session_bench import PRICES, PRINCIPAL, TIMEOUT_SECONDS, SessionBench, at_work

HARNESSES = {"remit": "1"}


class RemitBench:
    """Remits by what is asked for; read back from their logs."""

    def __init__(
        self,
        folder: Path,
        *,
        scripts: Mapping[str, JsonObject],
        store: SessionStore | None = None,
        clock: Clock | None = None,
        web: WebTools | None = None,
        commands: Verifier | None = None,
    ) -> None:
        """`commands` stands for the verifier that runs commands."""
        self.web = web
        self.sessions = SessionBench(folder=folder, scripts=scripts, store=store, clock=clock)
        bench = self.sessions
        self.store, self.catalog, self.blobs, self.bus = bench.store, bench.catalog, bench.blobs, bench.bus
        self.clock, self.ids = bench.clock, bench.ids
        self.prices = PriceTable(parse_overrides(PRICES), clock=bench.clock)
        self.verifiers_by_type: dict[str, Verifier] = {
            "command": commands or CommandVerifier(bench.sandboxes, bench.kept, bench.ids),
            "rubric": RubricVerifier(bench.gateway, bench.blobs),
        }
        self.verifiers = Verifiers(self.verifiers_by_type)
        self.agents = Agents(bench.catalog, bench.clock, bench.ids, HARNESSES, web_offer(web))
        self.environments = Environments(bench.catalog, bench.clock, bench.ids)
        router = Router({"scripted": bench.scripted}, aliases={})
        self.forecaster = Forecaster(router=router, prices=self.prices, verifiers=self.verifiers)
        self.remits: Streams[RemitState] = self._streams(REMIT)
        self.creation = RemitCreation(
            remits=self.remits,
            catalog=bench.catalog,
            blobs=bench.kept,
            agents=self.agents,
            environments=self.environments,
            harnesses=HARNESSES,
            router=router,
            forecaster=self.forecaster,
            verifiers=self.verifiers,
            clock=bench.clock,
            ids=bench.ids,
        )
        self.inputs = Inputs(catalog=bench.catalog, blobs=bench.kept, clock=bench.clock, ids=bench.ids)

    def _streams(self, kind: StreamKind[Any]) -> Streams[Any]:
        bench = self.sessions
        return Streams(
            kind, store=bench.store, bus=bench.bus, dispatcher=bench.hints, clock=bench.clock, ids=bench.ids
        )

    def sending(
        self, store: SessionStore | None = None, verifiers: Mapping[str, Verifier] | None = None
    ) -> Sending:
        """How input gets into sessions."""
        bench, store = self.sessions, store or self.store
        return Sending(
            Folds(SESSION, store),
            store=store,
            bus=bench.bus,
            dispatcher=bench.hints,
            blobs=bench.kept,
            files=bench.files,
            verifiers=self.verifiers_by_type if verifiers is None else verifiers,
            clock=bench.clock,
            ids=bench.ids,
        )

    def worker(self, name: str = "worker_1", store: SessionStore | None = None) -> Worker:
        """A worker for sessions and remits."""
        bench, store = self.sessions, store or self.store
        session_handler = bench.session_handler(store, self.verifiers, agent_tools(web=self.web))
        sending = self.sending(store)
        remit_handler = RemitHandler(
            store=store,
            blobs=bench.kept,
            bus=bench.bus,
            dispatcher=bench.hints,
            sandboxes=bench.sandboxes,
            setup=Setup(sandboxes=bench.sandboxes, blobs=bench.kept, clock=bench.clock),
            judge=Judge(verifiers=self.verifiers, blobs=bench.kept),
            forecaster=self.forecaster,
            sessions=SessionOpener(
                store=store,
                blobs=bench.kept,
                agents=self.agents,
                environments=self.environments,
                sending=sending,
                clock=bench.clock,
                ids=bench.ids,
            ),
            sending=sending,
            clock=bench.clock,
            ids=bench.ids,
        )
        return bench.worker_for([session_handler, remit_handler], name=name, store=store)

    def running(self) -> AbstractAsyncContextManager[Worker]:
        """A worker at work."""
        return at_work(self.worker())

    async def close(self) -> None:
        await self.sessions.close()

    async def upload(self, files: Mapping[str, str]) -> str:
        """An input with these files; returns its id."""
        return (await self.inputs.store(PRINCIPAL, in_pieces(tar_of(files)))).id

    async def create(self, **fields: object) -> str:
        """A remit with consent, unless said otherwise; returns its id."""
        given = {"budget": {"usd": "1.00", "tokens": 1_000_000}, "consent": "given", **fields}
        params = msgspec.convert(given, RemitCreate)
        return await self.creation.create(PRINCIPAL, params)

    async def command(self, remit_id: str, type: str, despite: Sequence[ConsentReason] = ()) -> str:
        """A command as the route appends it; returns its id."""
        command = Command(id=self.ids.new("revt"), type=type, actor=PRINCIPAL.actor, despite=tuple(despite))
        event = InputReceived(id=command.id, event=command).as_row(key=command.id)
        appended = await self.store.append(
            PRINCIPAL, Append(stream_id=remit_id, events=(event,), wake_at_us=self.clock.now_us())
        )
        self.bus.publish(LiveItem(stream_id=remit_id, rows=appended.rows))
        return command.id

    async def state(self, remit_id: str) -> RemitState:
        """The fold of what is durable now."""
        return fold(await read_rows(self.store, PRINCIPAL, remit_id))

    async def types(self, remit_id: str) -> list[str]:
        """Types of the public rows, in order."""
        rows = await read_rows(self.store, PRINCIPAL, remit_id)
        return [row.type for row in rows if row.visibility == "public"]

    async def view(self, remit_id: str) -> JsonObject:
        """The remit object."""
        return await self.remits.view(PRINCIPAL, remit_id)

    async def receipt(self, remit_id: str) -> JsonObject:
        return await make_receipt(self.store, PRINCIPAL, remit_id, self.prices)

    async def wait_for(self, remit_id: str, type: str, count: int = 1) -> RemitState:
        """The state as soon as the count-th row of this type is durable."""
        with anyio.fail_after(TIMEOUT_SECONDS):
            async with self.bus.subscribe(remit_id) as subscription:
                while True:
                    rows = await read_rows(self.store, PRINCIPAL, remit_id)
                    if sum(row.type == type for row in rows) >= count:
                        return fold(rows)
                    await subscription.next()

    async def ended(self, remit_id: str) -> RemitState:
        return await self.wait_for(remit_id, "remit.ended")

    async def check(self, remit_id: str) -> CheckReport:
        """The invariant checker over the remit and its sessions."""

        async def serve(principal: Principal, kind: str, stream_id: str) -> JsonObject:
            return await self._streams(KINDS[kind]).view(principal, stream_id)

        return await check_stream(
            self.store,
            PRINCIPAL,
            remit_id,
            now_us=self.clock.now_us(),
            kinds=stream_kinds(self.prices),
            serve=serve,
        )


def tar_of(files: Mapping[str, str]) -> bytes:
    """A tar with these files below files/."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"files/{path}")
            content = text.encode()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def in_pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """As a request body arrives."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
