"""A whole server in this process, with the official SDK in front and a hand for a worker behind."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from anthropic import AsyncAnthropic

from api.answers import CheckedAnswers
from chosen_stores import ChosenStores
from remit.app.domain import build_domain
from remit.app.kinds import KINDS, stream_kinds
from remit.blobs.directory import DirectoryBlobStore
from remit.bus.memory import MemoryBus
from remit.client.asgi import StreamingASGITransport
from remit.errors import VerifierUnavailable
from remit.ids import Ids
from remit.ledger.prices import PriceTable
from remit.resources.blob_owners import BlobOwners
from remit.resources.kept_blobs import KeptBlobs
from remit.server.app import App, create_app
from remit.server.services import Services, services_of
from remit.session.events import consumed
from remit.session.folding import fold
from remit.session.state import SessionState
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.streams.rows import Draft
from remit.testing.clock import FakeClock
from remit.values import (
    Append,
    Appended,
    JsonValue,
    KeyRow,
    LiveItem,
    NewEvent,
    Principal,
    StreamSummary,
    Verdict,
    VerifyRequest,
)

KEY_ONE = "rk_one"
KEY_TWO = "rk_two"


class HintList:
    """A dispatcher that only remembers what it was told."""

    def __init__(self) -> None:
        self.hints: list[str] = []

    def hint(self, stream_id: str) -> None:
        self.hints.append(stream_id)


class WillingVerifier:
    """A verifier that can judge anything here except the command `missing-program`."""

    def __init__(self, type: str) -> None:
        self.type = type

    async def check(
        self,
        principal: Principal,
        verifier: dict[str, JsonValue],
        *,
        toolchains: Sequence[str] = (),
        has_packages: bool = False,
    ) -> None:
        if verifier.get("command") == "missing-program":
            raise VerifierUnavailable("`missing-program` is not in the image; add it with --toolchain.")

    def is_priced(self, verifier: dict[str, JsonValue]) -> bool:
        return self.type == "rubric"

    async def verify(self, request: VerifyRequest, recorder: object) -> Verdict:
        return Verdict(verifier=request.verifier, passed=True, summary="fine")


@dataclass
class World:
    """The server, its stores, and keys of two workspaces."""

    services: Services
    app: App
    clock: FakeClock
    dispatcher: HintList
    lose_items: bool = False
    """The bus loses what the worker publishes, as a bus may."""
    one: Principal = field(default_factory=lambda: Principal(workspace_id="wrkspc_one", actor="apikey_one"))

    @asynccontextmanager
    async def http(self, key: str | None = KEY_ONE) -> AsyncIterator[httpx2.AsyncClient]:
        """A bare client."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(
            transport=StreamingASGITransport(CheckedAnswers(self.app)),
            base_url="http://remit",
            headers=headers,
        ) as client:
            yield client

    @asynccontextmanager
    async def sdk(self, key: str = KEY_ONE) -> AsyncIterator[AsyncAnthropic]:
        """The official client, with its retries on."""
        async with httpx2.AsyncClient(transport=StreamingASGITransport(CheckedAnswers(self.app))) as http:
            yield AsyncAnthropic(api_key=key, base_url="http://remit", http_client=http)

    async def state(self, session_id: str) -> SessionState:
        return fold(await self.services.sessions.read(self.one, session_id))

    async def work(self, session_id: str, *events: NewEvent, status: str | None = None) -> Appended:
        """Append as the session's worker would, and tell the bus."""
        store = self.services.sessions
        (lease,) = await store.claim(
            "worker_test", kinds=("session",), lease_seconds=5, limit=1, stream_id=session_id
        ) or [None]
        if lease is None:
            await store.wake(self.one, session_id, at_us=self.clock.now_us())
            (lease,) = await store.claim(
                "worker_test", kinds=("session",), lease_seconds=5, limit=1, stream_id=session_id
            )
        head = await store.head(self.one, session_id)
        summary = StreamSummary(
            status=status or head.summary.status,
            title=head.summary.title,
            agent_id=head.summary.agent_id,
            agent_version=head.summary.agent_version,
        )
        appended = await store.append(
            self.one, Append(stream_id=session_id, events=events, epoch=lease.epoch, summary=summary)
        )
        await store.release(lease, seen_seq=appended.head_seq, wake_at_us=None)
        if not self.lose_items:
            self.services.bus.publish(LiveItem(stream_id=session_id, rows=appended.rows))
        return appended

    def preview(self, session_id: str, type: str, **fields: Any) -> None:
        """A live-only frame, as the worker publishes it while a model call runs."""
        frame = msgspec.json.encode({"type": type, **fields})
        self.services.bus.publish(LiveItem(stream_id=session_id, frame=frame, frame_type=type))

    def event(self, type: str, **fields: JsonValue) -> NewEvent:
        return Draft(event_id=self.services.ids.new("sevt"), type=type, fields=fields).encode(
            self.clock.now_us()
        )

    async def consume_all(self, session_id: str) -> None:
        """Start a turn with everything that waits."""
        state = await self.state(session_id)
        self.clock.jump(0.001)
        await self.work(
            session_id,
            self.event("session.status_running"),
            *(
                consumed(event, not_before_us=None).encode(self.clock.now_us())
                for event in state.pending.values()
            ),
            status="running",
        )

    async def idle(self, session_id: str, stop_reason: dict[str, Any] | None = None) -> None:
        self.clock.jump(0.001)
        await self.work(
            session_id,
            self.event("session.status_idle", stop_reason=stop_reason or {"type": "end_turn"}),
            status="idle",
        )

    async def use_tool(self, session_id: str, type: str, name: str, **fields: JsonValue) -> str:
        """The model asks for a tool; returns the event's id."""
        use = self.event(type, name=name, input={}, **fields)
        ended = NewEvent(
            event_id=self.services.ids.new("sevt"),
            type="model.ended",
            visibility="private",
            body=_encode(
                {
                    "type": "model.ended",
                    "call_id": "call",
                    "stop_reason": "tool_use",
                    "content": [{"type": "tool_use", "id": use.event_id + "p", "name": name, "input": {}}],
                    "tool_use_ids": {use.event_id + "p": use.event_id},
                }
            ),
        )
        await self.work(session_id, ended, use)
        return use.event_id


def _encode(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body)


async def make_world(
    folder: Path, clock: FakeClock | None = None, stores: ChosenStores | None = None
) -> World:
    """Two workspaces with a key each, on stores in memory unless others are given."""
    clock = clock or FakeClock()
    sessions, catalog = stores or (MemorySessionStore(clock), MemoryCatalog(clock))
    dispatcher = HintList()
    blobs = DirectoryBlobStore(folder / "blobs", clock)
    domain = build_domain(
        clock=clock,
        ids=Ids(clock),
        sessions=sessions,
        catalog=catalog,
        blobs=KeptBlobs(blobs, catalog, BlobOwners(sessions, catalog, KINDS).is_there, clock),
        bus=MemoryBus(),
        dispatcher=dispatcher,
        prices=PriceTable({}, clock=clock),
        kinds=stream_kinds(PriceTable({}, clock=clock)),
        verifiers={"command": WillingVerifier("command"), "rubric": WillingVerifier("rubric")},
    )
    services = services_of(domain)
    for key, number in ((KEY_ONE, "one"), (KEY_TWO, "two")):
        await catalog.put_key(
            KeyRow(
                id=f"apikey_{number}",
                sha256=hashlib.sha256(key.encode()).hexdigest(),
                kind="api_key",
                name=number,
                scopes=("*",),
                workspace_id=f"wrkspc_{number}",
                created_at_us=clock.now_us(),
            )
        )
    return World(services=services, app=create_app(services), clock=clock, dispatcher=dispatcher)
