"""A whole server in this process, with the official SDK in front and a hand for a worker behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
from anthropic import AsyncAnthropic

from api.answers import CheckedAnswers
from api.whole import whole_platform
from remit.client.asgi import StreamingASGITransport
from remit.errors import VerifierUnavailable
from remit.interfaces import SessionStore
from remit.orchestrator.worker import LocalDispatcher
from remit.server.app import App
from remit.session.events import consumed
from remit.session.folding import fold
from remit.session.state import SessionState
from remit.streams.rows import Draft
from remit.testing.clock import FakeClock
from remit.testing.platform import ONE, TWO, Options, PlatformUnderTest
from remit.values import (
    Append,
    Appended,
    JsonValue,
    LiveItem,
    NewEvent,
    Principal,
    StreamSummary,
    Verdict,
    VerifyRequest,
)

KEY_ONE, KEY_TWO = ONE.secret, TWO.secret


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


class World:
    """The server, its stores, and keys of two workspaces. Tests may put another application or other services in place."""

    def __init__(self, here: PlatformUnderTest, clock: FakeClock) -> None:
        self.services = here.services
        self.clock = clock
        self.hints = cast("LocalDispatcher", self.services.dispatcher)
        self.app = cast("App", here.api)
        self.lose_items = False
        """The bus loses what the worker publishes, as a bus may."""
        self.one = ONE.principal

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
    async def sdk(self, key: str = KEY_ONE) -> AsyncIterator[Any]:  # Any: as api.whole.anthropic
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


@asynccontextmanager
async def open_world(
    folder: Path, make_store: Callable[[FakeClock], SessionStore] | None = None
) -> AsyncGenerator[World]:
    """A platform on which nobody works but the test, by hand."""
    clock = FakeClock()
    given: Options = {
        "clock": clock,
        "verifiers": [WillingVerifier("command"), WillingVerifier("rubric")],
        "is_at_work": False,
    }
    if make_store is not None:
        given["store"] = make_store(clock)
    async with whole_platform(folder, **given) as here:
        yield World(here, clock)
