"""Appends are not all that a process writes: it dies before and after every other write too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from fault_story import LONG, faults_of
from platform_bench import Died
from remit.testing.faulty_store import Crash

pytestmark = pytest.mark.anyio

AT_ONCE = 3
WRITES = frozenset(
    {"claim", "release", "wake", "outbox_done", "create", "update", "reference_blobs", "put", "put_many"}
)
"""Of the session store, the catalog and the blobs; renewals do not happen in the time a remit takes here."""


class Process:
    """Counts the writes of one process, whatever it writes to, and ends it at one of them."""

    def __init__(self, at: int = 0, when: str = "never") -> None:
        self.names: list[str] = []
        self.is_dead = False
        self._at = at
        self._when = when

    def through(self, thing: Any) -> Any:
        """The thing as this process sees it."""
        return _Seen(self, thing)

    def count(self, name: str) -> bool:
        """Whether this write is the last one."""
        self.names.append(name)
        return len(self.names) == self._at

    def maybe_die(self, is_last: bool, when: str) -> None:
        if is_last and when == self._when:
            self.is_dead = True
        self.require_alive()

    def require_alive(self) -> None:
        if self.is_dead:
            raise Crash(f"died {self._when} write {self._at} ({self.names[self._at - 1]})")


class _Seen:
    def __init__(self, process: Process, thing: Any) -> None:
        self._process = process
        self._thing = thing

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method, process = getattr(self._thing, name), self._process
        if name == "stream":  # an async iterator, and only read
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            process.require_alive()
            is_last = name in WRITES and process.count(name)
            process.maybe_die(is_last, "before")
            result = await method(*arguments, **named)
            process.maybe_die(is_last, "after")
            return result

        return call


async def live(world: Any, customer: Any, process: Process) -> None:
    seen = (process.through(thing) for thing in (world.store, world.catalog, world.blobs))
    await world.live(customer.work, *seen)


async def die_and_go_on(folder: Path, at: int, when: str) -> list[str]:
    world, customer = await LONG.open(folder)
    process = Process(at, when)
    label = "lived on"
    try:
        try:
            await live(world, customer, process)
        except Died:
            label = f"{when} write {at} ({process.names[at - 1]})"
            await world.live(customer.work)
    except Exception as error:
        return [f"{label}: stuck: {error!r}"]
    wrong = await faults_of(world, customer)
    if customer.remit["status"] != "satisfied":
        wrong.append(f"ended as {customer.remit['status']}: {customer.remit['explanation']}")
    return [f"{label}: {one}" for one in wrong]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_platform_that_dies_at_any_other_write_ends_the_same(tmp_path: Path) -> None:
    world, customer = await LONG.open(tmp_path / "whole")
    counting = Process()
    await live(world, customer, counting)
    assert {"claim", "release", "outbox_done", "create", "reference_blobs", "put"} <= set(counting.names)
    wrong: list[str] = []
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def try_one(at: int, when: str) -> None:
        async with limiter:
            wrong.extend(await die_and_go_on(tmp_path / f"{when}_{at}", at, when))

    async with anyio.create_task_group() as group:
        for at in range(1, len(counting.names) + 1):
            # To have died after one write is, as far as the stores can tell, to have died before the next.
            group.start_soon(try_one, at, "after" if at > 1 else "before")
    print(f"{len(counting.names)} other writes tried: {counting.names}")  # noqa: T201
    assert wrong == []
