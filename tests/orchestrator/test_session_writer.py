"""What the writer of a session promises of staged rows: one transaction with the next append, nothing told before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from remit.bus.memory import MemoryBus, MemorySubscription
from remit.errors import HoldRefused
from remit.ids import Ids
from remit.session import events
from remit.session.folding import fold
from remit.session.rows import ROWS, SessionStatusRunning
from remit.session.state import SessionState
from remit.session.turn_rows import EnvironmentDescribed, HarnessNote
from remit.sessions.kind import SESSION, SessionWriter
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.faulty_store import FaultyStore
from remit.values import Append, Appended, Hold, JsonObject, NewStream, OpenAccount, Principal, StreamSummary
from support.session_bench import PRINCIPAL, SessionBench, say, script, use

pytestmark = pytest.mark.anyio


class SlowStore(MemorySessionStore):
    """Its appends are durable at once and heard of when the gate opens."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_asked = asyncio.Event()

    async def append(self, principal: Principal, append: Append) -> Appended:
        appended = await super().append(principal, append)
        self.is_asked.set()
        await self.gate.wait()
        return appended


class Desk:
    """A session with its writer, a reader, and somebody outside."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = SlowStore(self.clock)
        self.watched = FaultyStore(self.store)
        self.bus = MemoryBus()
        self.writer: SessionWriter
        self.reader: MemorySubscription

    async def durable_state(self) -> SessionState:
        return fold(await self.store.read(PRINCIPAL, "sesn_1", limit=1000))

    async def somebody_writes(self) -> None:
        event: JsonObject = {"id": self.writer.ids.new("sevt"), "type": "user.message", "content": []}
        row = events.received(event, key=str(event["id"]))
        await self.watched.store.append(PRINCIPAL, Append(stream_id="sesn_1", events=(row,)))

    def appends(self) -> list[tuple[str, ...]]:
        return [point.event_types for point in self.watched.trace[1:]]


@asynccontextmanager
async def desk(cap_tokens: int | None = None) -> AsyncGenerator[Desk]:
    made = Desk()
    ids = Ids(made.clock)
    body: JsonObject = {
        "session": {"title": None, "metadata": {}, "budget": None},
        "agent": {"name": "one"},
        "thread_id": "sthr_1",
    }
    await made.watched.store.create_stream(
        PRINCIPAL,
        NewStream(stream_id="sesn_1", kind="session", summary=StreamSummary(status="idle")),
        Append(
            stream_id="sesn_1",
            events=(ROWS.make("session.created", id=ids.new("sevt"), **body).as_row(),),
            effects=(OpenAccount(unit="tokens", purpose="work", cap=cap_tokens),),
            wake_at_us=made.clock.now_us(),
        ),
    )
    [lease] = await made.store.claim("worker_1", kinds=["session"], lease_seconds=60, limit=1)
    made.writer = SessionWriter(
        SESSION,
        store=made.watched.store,
        bus=made.bus,
        clock=made.clock,
        ids=ids,
        lease=lease,
        is_fenced=lambda: False,
    )
    await made.writer.catch_up()
    with anyio.fail_after(5):
        async with made.bus.subscribe("sesn_1") as made.reader:
            yield made


async def test_staged_rows_are_folded_at_once_and_go_with_the_next_append() -> None:
    async with desk() as made:
        writer = made.writer
        await writer.buffer(SessionStatusRunning())
        await writer.buffer(HarnessNote(name="n", value=1))
        assert (writer.state.status, writer.state.notes) == ("running", {"n": 1})
        assert (made.appends(), made.reader.drain()) == ([], [])
        await made.clock.advance(0.001)
        await writer.append(EnvironmentDescribed(text="facts"))
        assert made.appends() == [("session.status_running", "harness.note", "environment.described")]
        [told] = made.reader.drain()
        assert [row.seq for row in told.rows] == [2, 3, 4]
        assert writer.state == await made.durable_state()


async def test_staged_rows_become_durable_by_themselves_when_no_append_follows() -> None:
    async with desk() as made:
        flushing = asyncio.ensure_future(made.writer.keep_flushing())
        await made.writer.buffer(SessionStatusRunning())
        told = await made.reader.next()
        assert [row.type for row in told.rows] == ["session.status_running"]
        assert made.writer.state == await made.durable_state()
        flushing.cancel()


async def test_a_row_from_outside_that_came_before_staged_ones_has_its_place() -> None:
    async with desk() as made:
        writer = made.writer
        await writer.buffer(SessionStatusRunning())
        await made.somebody_writes()
        await writer.append(HarnessNote(name="n", value=1))
        assert made.appends()[-1] == ("session.status_running", "harness.note")
        assert len(writer.state.pending) == 1
        assert writer.state == await made.durable_state()


async def test_a_refused_hold_leaves_what_was_staged_to_the_next_append() -> None:
    async with desk(cap_tokens=10) as made:
        writer = made.writer
        await writer.buffer(SessionStatusRunning())
        with pytest.raises(HoldRefused):
            await writer.append(
                HarnessNote(name="n", value=1),
                effects=[Hold(hold_id="call_1", unit="tokens", purpose="work", amount=11)],
            )
        assert writer.state.notes == {}
        await writer.flush()
        assert made.appends()[-1] == ("session.status_running",)
        assert writer.state == await made.durable_state()


async def test_an_append_is_waited_for_by_whoever_is_cancelled_meanwhile() -> None:
    """Else its rows would come after those with which the turn is closed."""
    async with desk() as made:
        writer = made.writer
        await writer.buffer(SessionStatusRunning())
        made.store.gate.clear()
        appending = asyncio.ensure_future(writer.append(HarnessNote(name="n", value=1)))
        await made.store.is_asked.wait()
        appending.cancel()
        await anyio.lowlevel.checkpoint()
        assert not appending.done()
        made.store.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await appending
        assert (writer.state.status, writer.state.notes) == ("running", {"n": 1})
        assert writer.state == await made.durable_state()


async def test_a_turn_with_a_tool_is_four_appends_of_the_writer(tmp_path: Path) -> None:
    steps = (use("bash", command="echo hi"), say("It said hi."))
    clock = FakeClock()
    watched = FaultyStore(MemorySessionStore(clock))
    bench = SessionBench(tmp_path, store=watched.store, scripts={"script": script(*steps, *steps)})
    async with bench.running():
        session_id = await bench.create()
        await bench.say(session_id, "first")
        await bench.wait_idle(session_id)
        await bench.wait_for(session_id, "snapshot.taken")
        begun = len(watched.trace)
        await bench.say(session_id, "again")
        await bench.wait_idle(session_id, count=2)
    await bench.close()
    appends = [
        [type for type in point.event_types if type != "snapshot.taken"] for point in watched.trace[begun:]
    ]
    assert appends == [
        ["input.received"],
        [
            "session.status_running",
            "session.thread_status_running",
            "user.message",
            "model.started",
            "span.model_request_start",
        ],
        ["model.ended", "agent.tool_use", "span.model_request_end", "tool.started"],
        ["agent.tool_result", "tool.measured", "model.started", "span.model_request_start"],
        [
            "model.ended",
            "agent.message",
            "span.model_request_end",
            "session.thread_status_idle",
            "session.usage",
            "session.status_idle",
        ],
    ]
