"""A worker that stood still while another took its stream over does nothing more when it wakes up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from remit.bus.memory import MemoryBus
from remit.errors import SandboxRefused
from remit.orchestrator.worker import FENCE_SECONDS, LEASE_SECONDS, RENEW_SECONDS, Hints, Worker
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.values import HandlerResult, JsonObject, Lease, SandboxSpec, ShellRequest
from session_bench import PRINCIPAL, SessionBench, say, script, use

pytestmark = pytest.mark.anyio

SCRIPTS: dict[str, JsonObject] = {
    "script": script(use("write", file_path="/workspace/a.txt", content="a"), say("Done."), say("Done."))
}


class StoppingStore:
    """The store as a worker sees it that is stopped (SIGSTOP, a paused machine) at its n-th append: before the append
    reaches the store, or after it is durable. Until `go_on` none of its calls comes back."""

    def __init__(self, store: MemorySessionStore, *, at: int, when: str) -> None:
        self.stopped = asyncio.Event()
        self.appends = 0
        self._store = store
        self._at = at
        self._when = when
        self._may_run = asyncio.Event()
        self._may_run.set()

    def go_on(self) -> None:
        self._may_run.set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            if name == "append":
                self.appends += 1
            is_here = name == "append" and self.appends == self._at
            if is_here and self._when == "before":
                self._stop()
            await self._may_run.wait()
            result = await method(*arguments, **named)
            if is_here and self._when == "after":
                self._stop()
            await self._may_run.wait()
            return result

        return call

    def _stop(self) -> None:
        self.stopped.set()
        self._may_run.clear()


async def everything(store: MemorySessionStore, session_id: str) -> tuple[object, ...]:
    return (
        await store.read(PRINCIPAL, session_id, limit=100_000),
        await store.accounts(PRINCIPAL, session_id),
        await store.holds(PRINCIPAL, session_id),
    )


async def at_rest(worker: Worker) -> None:
    while worker.active:  # noqa: ASYNC110 the worker has no event for it
        await anyio.sleep(0.005)


async def count_appends(folder: Path) -> int:
    clock = FakeClock()
    store = MemorySessionStore(clock)
    watched = StoppingStore(store, at=0, when="never")
    bench = SessionBench(folder=folder, store=watched, clock=clock, scripts=SCRIPTS)  # type: ignore[arg-type]
    session_id = await bench.create()
    await bench.say(session_id, "go")
    before = watched.appends
    async with bench.running():
        await bench.wait_idle(session_id)
    await bench.close()
    return watched.appends - before


async def stop_and_wake_up(folder: Path, at: int, when: str) -> None:
    clock = FakeClock()
    store = MemorySessionStore(clock)
    stopping = StoppingStore(store, at=at, when=when)
    first = SessionBench(folder=folder, store=stopping, clock=clock, scripts=SCRIPTS)  # type: ignore[arg-type]
    second = SessionBench(folder=folder, store=store, clock=clock, scripts=SCRIPTS)
    session_id = await second.create()
    await second.say(session_id, "go")
    sleepy, other = first.worker("worker_sleepy"), second.worker("worker_other")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sleepy.run())]
        with anyio.fail_after(10):
            await stopping.stopped.wait()
            await clock.advance(LEASE_SECONDS + 1)
            tasks.append(group.create_task(other.run()))
            await second.wait_idle(session_id)
            await at_rest(other)
            done = await everything(store, session_id)
            stopping.go_on()
            await at_rest(sleepy)
        assert await everything(store, session_id) == done, (at, when)
        assert first.held.get(session_id) is None
        for task in tasks:
            task.cancel()
    rows = await store.read(PRINCIPAL, session_id, limit=1000)
    assert [row.type for row in rows].count("session.status_idle") == 1
    assert [row.type for row in rows].count("agent.tool_result") == 1
    assert [hold for hold in await store.holds(PRINCIPAL, session_id) if hold.state == "open"] == []
    await first.close()
    await second.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_stopped_at_any_append_wakes_up_to_nothing(tmp_path: Path, when: str) -> None:
    appends = await count_appends(tmp_path / "whole")
    assert appends > 8
    # After its last append the session is at rest: there is nothing to take over.
    for at in range(1, appends if when == "after" else appends + 1):
        await stop_and_wake_up(tmp_path / f"{when}_{at}", at, when)


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
    bench = SessionBench(folder=tmp_path, store=store, clock=clock, scripts={})
    session_id = await bench.create()
    await bench.say(session_id, "go")
    worker = Worker(
        name="worker_1",
        store=store,
        bus=MemoryBus(),
        clock=clock,
        hints=Hints(),
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


async def test_a_sandbox_refuses_the_epoch_of_a_worker_that_was_replaced(tmp_path: Path) -> None:
    bench = SessionBench(folder=tmp_path, scripts={})
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
