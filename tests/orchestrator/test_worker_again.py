"""A stream that its own worker takes up again while the run before it is still ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import anyio
import pytest
import structlog

from remit.bus.memory import MemoryBus
from remit.orchestrator.worker import FENCE_SECONDS, LEASE_SECONDS, LocalDispatcher, Worker
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.store_checks.given import given_stream
from remit.values import HandlerResult, Lease

pytestmark = pytest.mark.anyio


class SilentStore(MemorySessionStore):
    """Answers no renewal."""

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()


class Stubborn:
    """A StreamHandler whose first run does not end when it is cancelled, and whose second one works on."""

    kind: str = "session"

    def __init__(self) -> None:
        self.runs = 0
        self.forgotten = 0
        self.first_runs = asyncio.Event()
        self.first_may_end = asyncio.Event()
        self.second_runs = asyncio.Event()

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        self.runs += 1
        self.first_runs.set()
        if self.runs > 1:
            self.second_runs.set()
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.shield(self.first_may_end.wait())
        raise AssertionError("it waits for ever")

    async def forget(self, stream_id: str) -> None:
        self.forgotten += 1


async def test_the_end_of_the_first_run_takes_nothing_from_the_second() -> None:
    clock = FakeClock()
    store, handler = SilentStore(clock), Stubborn()
    await given_stream(store, wake_at_us=clock.now_us())
    worker = Worker(
        name="worker_1",
        store=store,
        bus=MemoryBus(),
        clock=clock,
        hints=LocalDispatcher(),
        handlers=[handler],
    )
    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as group:
            working = group.create_task(worker.run())
            try:
                await handler.first_runs.wait()
                await clock.advance(FENCE_SECONDS)
                await clock.advance(LEASE_SECONDS - FENCE_SECONDS + 1)
                await handler.second_runs.wait()
                handler.first_may_end.set()
                await clock.advance(0.1)
                assert worker.active == 1
                assert handler.forgotten == 0
            finally:
                handler.first_may_end.set()
                working.cancel()


class CutFromWithin:
    """A StreamHandler in which a task group of asyncio's leaves its caller marked as cancelled."""

    kind: str = "session"

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        self.runs += 1
        raise asyncio.CancelledError

    async def forget(self, stream_id: str) -> None:
        pass


async def test_a_handler_that_is_cancelled_from_within_has_failed_and_it_is_logged() -> None:
    clock = FakeClock()
    store, handler = MemorySessionStore(clock), CutFromWithin()
    await given_stream(store, wake_at_us=clock.now_us())
    worker = Worker(
        name="one", store=store, bus=MemoryBus(), clock=clock, hints=LocalDispatcher(), handlers=[handler]
    )
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(worker.run())
        with anyio.fail_after(5):
            while not any(entry["event"] == "handler_failed" for entry in logs):
                await anyio.lowlevel.checkpoint()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
