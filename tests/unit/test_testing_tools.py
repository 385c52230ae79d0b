"""The fake clock and the store that dies do what tests rely on."""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio
import pytest

from remit.errors import NotFound
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.faulty_store import Crash, CrashPlan, FaultyStore
from remit.testing.store_checks.given import ONE, event, given_stream
from remit.values import Append

pytestmark = pytest.mark.anyio


async def test_sleepers_wake_in_the_order_of_their_times_each_at_its_own(clock: FakeClock) -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("a", 3, 1))
        tasks.create_task(sleeper("b", 2))
        with anyio.fail_after(5):
            await clock.wait_for_sleepers(2)
        await clock.advance(1.5)
        assert woken == []
        await clock.advance(2.5)
    assert woken == [("b", 2.0), ("a", 3.0), ("a", 4.0)]


async def test_a_cancelled_sleeper_is_forgotten(clock: FakeClock) -> None:
    task = asyncio.ensure_future(clock.sleep(1))
    await clock.wait_for_sleepers(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.sleeper_count == 0
    await clock.advance(2)
    assert clock.monotonic() == 2.0


@pytest.mark.parametrize(("when", "is_durable"), [("before", False), ("after", True)])
async def test_the_process_dies_at_the_planned_append(
    clock: FakeClock, when: Literal["before", "after"], is_durable: bool
) -> None:
    inner = MemorySessionStore(clock)
    faulty = FaultyStore(inner, CrashPlan(at=2, when=when))
    store = faulty.store
    await given_stream(store)
    with pytest.raises(Crash):
        await store.append(ONE, Append(stream_id="sesn_1", events=(event("e", key="k"),)))
    assert (await inner.head(ONE, "sesn_1")).seq == (2 if is_durable else 1)
    with pytest.raises(Crash):
        await store.head(ONE, "sesn_1")
    assert [point.describe() for point in faulty.trace] == ["1 session test.event", "2 session test.event"]


async def test_a_crash_at_creation_leaves_no_stream_and_can_be_made_to_kill(clock: FakeClock) -> None:
    killed: list[str] = []
    inner = MemorySessionStore(clock)
    store = FaultyStore(inner, CrashPlan(at=1, when="before"), die=lambda: killed.append("now")).store
    with pytest.raises(Crash):
        await given_stream(store)
    assert killed == ["now"]
    with pytest.raises(NotFound):
        await inner.head(ONE, "sesn_1")
