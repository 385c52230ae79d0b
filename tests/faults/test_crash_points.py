"""The process dies before and after every append of a whole platform, starts again, and the remit ends the same."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from fault_story import Customer, faults_of, long_script
from platform_bench import Died, World
from remit.testing.faulty_store import CrashPlan, FaultyStore

pytestmark = pytest.mark.anyio

AT_ONCE = 3
"""Points that are tried side by side: most of their time they wait for sandboxes."""
LIVES_MAX = 4


async def open_world(folder: Path) -> tuple[World, Customer, Path]:
    folder.mkdir()
    ticks = folder / "ticks"
    ticks.touch()
    world = World(folder, scripts={"story": long_script(ticks)})
    await world.open()
    customer = Customer(
        fields={
            "outcome": "answer.txt holds the answer",
            "verifiers": [{"type": "command", "command": "grep -qx 42 answer.txt"}],
            "model": "scripted/story",
            "max_iterations": 8,
            # A call that a crash cut is paid at its worst case, so there is room for some.
            "budget": {"usd": "20.00", "tokens": 2_000_000},
        },
        files={"answer.txt": "unknown\n", "notes/readme.txt": "look for the answer\n"},
    )
    return world, customer, ticks


async def count_appends(folder: Path) -> int:
    """How many appends the remit takes when nothing goes wrong."""
    world, customer, ticks = await open_world(folder)
    store = FaultyStore(world.store)
    await world.live(customer.work, store)
    assert customer.remit["status"] == "satisfied"
    assert await faults_of(world, customer, ticks) == []
    kinds = {point.kind for point in store.trace}
    assert kinds == {"workspace", "remit", "session"}
    return len(store.trace)


async def die_and_go_on(folder: Path, plans: list[CrashPlan]) -> list[str]:
    """What is wrong after processes died by these plans, one after the other; each line names the point."""
    world, customer, ticks = await open_world(folder)
    label = ""
    for plan in plans:
        store = FaultyStore(world.store, plan)
        try:
            await world.live(customer.work, store)
        except Died:
            label += f"[{plan.when} {store.trace[-1].describe()}] "
        else:
            break
    else:
        try:
            await world.live(customer.work)
        except Exception as error:
            return [f"{label}: stuck: {error!r}"]
    wrong = await faults_of(world, customer, ticks)
    remit = customer.remit
    if (remit["status"], remit["completed"], remit["verified"]) != ("satisfied", True, True):
        wrong.append(f"ended as {remit['status']}: {remit['explanation']}")
    if remit["vacuous"] or remit["tampered"]:
        wrong.append(f"vacuous {remit['vacuous']}, tampered {remit['tampered']}")
    return [f"{label}: {one}" for one in wrong]


async def try_all(folder: Path, points: list[list[CrashPlan]]) -> list[str]:
    wrong: list[str] = []
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def try_one(number: int, plans: list[CrashPlan]) -> None:
        async with limiter:
            wrong.extend(await die_and_go_on(folder / f"point_{number}", plans))

    async with anyio.create_task_group() as group:
        for number, plans in enumerate(points):
            group.start_soon(try_one, number, plans)
    return wrong


def every_point(appends: int) -> list[list[CrashPlan]]:
    return [[CrashPlan(at=at, when=when)] for at in range(1, appends + 1) for when in ("before", "after")]


async def test_a_platform_that_dies_at_every_seventh_point_ends_the_same(tmp_path: Path) -> None:
    appends = await count_appends(tmp_path / "whole")
    assert await try_all(tmp_path, every_point(appends)[::7]) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_platform_that_dies_at_any_append_ends_the_same(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    appends = await count_appends(tmp_path / "whole")
    points = every_point(appends)
    record_property("crash_points", len(points))
    print(f"{len(points)} crash points")  # noqa: T201
    assert appends > 40
    assert await try_all(tmp_path, points) == []
