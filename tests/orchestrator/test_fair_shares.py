"""Places that are few: streams at work, live sandboxes. One workspace's thousand never keeps another's one waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import anyio
import pytest

from remit.bus.memory import MemoryBus
from remit.orchestrator.worker import LocalDispatcher, Worker
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.store_checks.given import TWO, given_stream
from remit.values import HandlerResult, JsonValue, Lease
from support.session_bench import SessionBench, say, script, use

pytestmark = pytest.mark.anyio
BATCH = 3_000
PLACES = 20


class Slow:
    """A StreamHandler whose turns take a second each, and which writes down when they began."""

    kind: str = "session"

    def __init__(self, clock: FakeClock) -> None:
        self.began: dict[str, float] = {}
        self.most = 0
        self._clock = clock
        self._running = 0

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        self.began[lease.stream_id] = self._clock.monotonic()
        self._running += 1
        self.most = max(self.most, self._running)
        await self._clock.sleep(1)
        self._running -= 1
        return HandlerResult(seen_seq=1, wake_at_us=None)

    async def forget(self, stream_id: str) -> None:
        pass


async def test_a_turn_beside_a_batch_of_thousands_starts_at_once() -> None:
    clock = FakeClock()
    store, handler = MemorySessionStore(clock), Slow(clock)
    for number in range(BATCH):
        await given_stream(store, f"sesn_batch_{number:04}", wake_at_us=clock.now_us())
    hints = LocalDispatcher()
    worker = Worker(
        name="worker_1",
        store=store,
        bus=MemoryBus(),
        clock=clock,
        hints=hints,
        handlers=[handler],
        streams_max=PLACES,
    )
    with anyio.fail_after(20):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(worker.run())
            await clock.advance(3)
            await given_stream(store, "sesn_person", principal=TWO, wake_at_us=clock.now_us())
            hints.hint("sesn_person")
            await clock.advance(0.5)
            assert "sesn_person" in handler.began  # before any of the batch's turns has ended
            assert handler.most == worker.each_max + 1
            # And the batch still goes on at its own pace.
            begun = len(handler.began)
            await clock.advance(5)
            assert len(handler.began) - begun >= 4 * worker.each_max
            running.cancel()


async def test_two_batches_share_the_places() -> None:
    clock = FakeClock()
    store, handler = MemorySessionStore(clock), Slow(clock)
    for number in range(200):
        await given_stream(store, f"sesn_one_{number:03}", wake_at_us=clock.now_us() - 9)
        await given_stream(store, f"sesn_two_{number:03}", principal=TWO, wake_at_us=clock.now_us())
    worker = Worker(
        name="worker_1",
        store=store,
        bus=MemoryBus(),
        clock=clock,
        hints=LocalDispatcher(),
        handlers=[handler],
        streams_max=PLACES,
    )
    with anyio.fail_after(20):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(worker.run())
            await clock.advance(5)
            running.cancel()
    of_one = sum(id.startswith("sesn_one") for id in handler.began)
    of_two = sum(id.startswith("sesn_two") for id in handler.began)
    assert abs(of_one - of_two) <= PLACES


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[Callable[..., SessionBench]]:
    made: list[SessionBench] = []

    def make(**options: int) -> SessionBench:
        steps = script(use("bash", command="echo $((++N))"), say("counted"))
        made.append(SessionBench(tmp_path, scripts={"script": steps}, settings=options))
        return made[-1]

    yield make
    for bench in made:
        await bench.close()


async def test_a_session_without_a_place_for_its_sandbox_gets_the_longest_idle_ones(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(sandboxes_max=2)
    async with bench.running() as worker:
        first, second, third = [await bench.create() for _ in range(3)]
        for session_id in (first, second, third):
            await bench.say(session_id, "count")
            await bench.wait_idle(session_id)
            while worker.active:  # noqa: ASYNC110 the worker has no event for it
                await anyio.sleep(0.005)
        assert len(await bench.bodies(first, "sandbox.released")) == 1
        assert await bench.bodies(second, "sandbox.released") == []
        (waited,) = await bench.bodies(third, "wait.began")
        assert (waited["what"], waited["limit"]) == ("sandbox", "the limit of live sandboxes (2)")
        assert bench.held.count == 2


@pytest.mark.long
async def test_many_more_sessions_than_places_for_sandboxes_all_finish(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(sandboxes_max=2)
    async with bench.running():
        sessions = [await bench.create() for _ in range(12)]
        for session_id in sessions:
            await bench.say(session_id, "count")
        for session_id in sessions:
            idle = await bench.wait_idle(session_id)
            assert cast("dict[str, JsonValue]", idle["stop_reason"])["type"] == "end_turn"
        assert bench.held.count <= 2
        assert bench.held.slots.waiting == 0


async def test_sessions_that_wait_for_a_sandbox_do_not_keep_the_idle_ones_from_leaving(
    make_bench: Callable[..., SessionBench],
) -> None:
    bench = make_bench(sandboxes_max=1, streams_max=2)
    async with bench.running():
        resting, *waiting = [await bench.create() for _ in range(4)]
        await bench.say(resting, "count")
        await bench.wait_idle(resting)
        for session_id in waiting:
            await bench.say(session_id, "count")
        for session_id in waiting:
            await bench.wait_idle(session_id)
