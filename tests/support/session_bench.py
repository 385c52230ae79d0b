"""Sessions of a platform below HTTP: rows go in as the routes would append them; what the worker makes of them is read
back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Unpack, cast

import anyio
import msgspec
from starlette.types import ASGIApp

from remit.gateway.retry_plan import RetrySettings
from remit.orchestrator.worker import LocalDispatcher, Worker
from remit.session import events
from remit.session.folding import fold
from remit.session.rows import ROWS
from remit.session.state import SessionState
from remit.testing.platform import ONE, PartOptions, PlatformUnderTest, parts_in
from remit.values import (
    Append,
    Effect,
    JsonObject,
    JsonValue,
    LiveItem,
    NewStream,
    OpenAccount,
    StreamSummary,
)

PRINCIPAL = ONE.principal
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


class SessionBench:
    """A platform whose worker runs when the test says so, on stores in memory and a folder for a sandbox."""

    def __init__(
        self,
        folder: Path,
        *,
        around: Callable[[ASGIApp], ASGIApp] | None = None,
        **given: Unpack[PartOptions],
    ) -> None:
        usual: PartOptions = {"prices": PRICES, "retries": RetrySettings(backoff_first_seconds=0.01)}
        given["settings"] = {"reader_wait_seconds": 0.0, **given.get("settings", {})}
        self.platform = PlatformUnderTest(parts_in(folder, **{**usual, **given}), around=around)
        parts = self.platform.parts
        self.clock, self.ids, self.store, self.catalog = parts.clock, parts.ids, parts.sessions, parts.catalog
        self.blobs, self.bus, self.sandboxes, self.prices = (
            parts.blobs,
            parts.bus,
            parts.sandboxes,
            parts.prices,
        )
        self.services = self.platform.services
        self.kept, self.files, self.removal = (
            self.services.blobs,
            self.services.files,
            self.services.removal,
        )
        self.held = self.platform.held
        self.hints = cast("LocalDispatcher", self.services.dispatcher)

    def running(self) -> AbstractAsyncContextManager[Worker]:
        """A worker at work."""
        return self.platform.working()

    async def close(self) -> None:
        await self.platform.close()

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

    async def wait_released(self, session_id: str) -> None:
        """Return when nobody works on it any more: then its last snapshot is taken too."""
        with anyio.fail_after(TIMEOUT_SECONDS):
            while (await self.store.read_stream(PRINCIPAL, session_id, limit=0)).head.owner is not None:  # noqa: ASYNC110 there is no event
                await anyio.sleep(0.005)


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
