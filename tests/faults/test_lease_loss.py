"""A worker that cannot renew stops by itself, and what it left behind refuses it. The rest is in the fault matrix, where
a worker is stopped at every point while another takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from remit.bus.memory import MemoryBus
from remit.errors import SandboxRefused
from remit.orchestrator.worker import FENCE_SECONDS, LEASE_SECONDS, RENEW_SECONDS, LocalDispatcher, Worker
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.values import HandlerResult, Lease, SandboxSpec, ShellRequest
from support.session_bench import SessionBench

pytestmark = pytest.mark.anyio


class Endless:
    """A handler that never comes to an end by itself."""

    kind = "session"

    def __init__(self) -> None:
        self.forgotten = asyncio.Event()
        self.is_fenced: Callable[[], bool] = lambda: False

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        self.is_fenced = is_fenced
        await asyncio.Event().wait()
        raise AssertionError

    async def forget(self, stream_id: str) -> None:
        self.forgotten.set()


class SilentStore(MemorySessionStore):
    """Answers everything but renewals."""

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        await asyncio.Event().wait()
        return []


async def test_a_worker_whose_store_does_not_answer_stops_before_its_lease_can_be_taken(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    store, handler = SilentStore(clock), Endless()
    bench = SessionBench(tmp_path, store=store, clock=clock, scripts={})
    session_id = await bench.create()
    await bench.say(session_id, "go")
    worker = Worker(
        name="worker_1",
        store=store,
        bus=MemoryBus(),
        clock=clock,
        hints=LocalDispatcher(),
        handlers=[handler],  # type: ignore[list-item]
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(worker.run())
        with anyio.fail_after(5):
            while not worker.active:
                await anyio.lowlevel.checkpoint()
            await clock.advance(FENCE_SECONDS - RENEW_SECONDS)
            assert not handler.forgotten.is_set()
            await clock.advance(RENEW_SECONDS + 0.5)
            assert FENCE_SECONDS + 0.5 < LEASE_SECONDS
            await handler.forgotten.wait()
        assert handler.is_fenced()
        task.cancel()
    await bench.close()


async def test_a_worker_that_stood_still_knows_that_it_is_fenced_before_anybody_told_it(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    handler = Endless()
    bench = SessionBench(tmp_path, store=MemorySessionStore(clock), clock=clock, scripts={})
    session_id = await bench.create()
    await bench.say(session_id, "go")
    worker = Worker(
        name="worker_1",
        store=bench.store,
        bus=MemoryBus(),
        clock=clock,
        hints=LocalDispatcher(),
        handlers=[handler],  # type: ignore[list-item]
    )
    task = asyncio.ensure_future(worker.run())
    with anyio.fail_after(5):
        while not worker.active:
            await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
    assert not handler.is_fenced()
    clock.jump(FENCE_SECONDS)
    assert handler.is_fenced()
    task.cancel()
    await bench.close()


async def test_a_sandbox_refuses_the_epoch_of_a_worker_that_was_replaced(tmp_path: Path) -> None:
    bench = SessionBench(tmp_path, scripts={})
    sandbox = await bench.sandboxes.create(SandboxSpec(key="one", epoch=3))

    async def touch(epoch: int, name: str) -> None:
        request = ShellRequest(call_id=name, epoch=epoch, command=f"touch {name}", timeout_seconds=10)
        await sandbox.shell(request)

    await touch(3, "old")
    await touch(4, "new")
    with pytest.raises(SandboxRefused, match="stale"):
        await touch(3, "stale")
    with pytest.raises(SandboxRefused, match="stale"):
        await sandbox.write_file("/workspace/stale", b"", epoch=3)
    assert sorted(entry.path for entry in (await sandbox.tree()).entries) == ["new", "old"]
    await bench.close()
