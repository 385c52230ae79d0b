"""Remits of a platform below HTTP, by what is asked for; read back from their logs."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Unpack

import anyio
import msgspec
from starlette.types import ASGIApp

from remit.gateway.routing import ModelRouter
from remit.orchestrator.check import CheckReport, check_stream
from remit.orchestrator.worker import Worker
from remit.remits.creation import RemitCreation
from remit.remits.events import Command, InputReceived
from remit.remits.forecaster import Forecaster
from remit.remits.inputs import Inputs
from remit.remits.receipt import make_receipt
from remit.remits.state import RemitState, fold
from remit.schema.remits import RemitCreate
from remit.streams.reading import read_rows
from remit.testing.platform import PartOptions
from remit.values import ConsentReason, JsonObject, Principal
from remit.verifiers.composition import Verifiers
from support.session_bench import PRINCIPAL, TIMEOUT_SECONDS, SessionBench


class RemitBench:
    """A platform whose worker runs when the test says so."""

    def __init__(
        self,
        folder: Path,
        *,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
        **given: Unpack[PartOptions],
    ) -> None:
        self.sessions = bench = SessionBench(folder, around=around, **given)
        self.platform, self.services = bench.platform, bench.services
        self.store, self.catalog, self.blobs, self.bus = bench.store, bench.catalog, bench.blobs, bench.bus
        self.clock, self.ids, self.prices = bench.clock, bench.ids, bench.prices
        services = self.services
        router, verifiers = (
            ModelRouter(self.platform.parts.models, aliases=self.platform.parts.settings.aliases),
            Verifiers(services.verifiers),
        )
        self.creation = RemitCreation(
            remits=services.remits,
            catalog=services.catalog,
            blobs=services.blobs,
            agents=services.agents,
            environments=services.environments,
            harnesses=services.agents.harnesses,
            router=router,
            forecaster=Forecaster(router=router, prices=self.prices, verifiers=verifiers),
            verifiers=verifiers,
            clock=self.clock,
            ids=self.ids,
        )
        self.inputs = Inputs(catalog=self.catalog, blobs=services.blobs, clock=self.clock, ids=self.ids)

    def running(self) -> AbstractAsyncContextManager[Worker]:
        """A worker at work."""
        return self.platform.working()

    async def close(self) -> None:
        await self.platform.close()

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
        received = InputReceived(id=command.id, event=command)
        await self.services.remits.receive(PRINCIPAL, remit_id, received, key=command.id)
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
        return await self.services.remits.view(PRINCIPAL, remit_id)

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
            return await self.services.streams[kind].view(principal, stream_id)

        return await check_stream(
            self.store,
            PRINCIPAL,
            remit_id,
            now_us=self.clock.now_us(),
            kinds=self.services.kinds,
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
