"""The process dies before and after every append of a whole platform, starts again, and the remit ends the same."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from fault_story import CHEATED, DEAR, INTERRUPTED, LONG, Story, faults_of
from platform_bench import Died
from remit.testing.faulty_store import AppendPoint, CrashPlan, FaultyStore

pytestmark = pytest.mark.anyio

AT_ONCE = 3
"""Points that are tried side by side: most of their time they wait for sandboxes."""

Deaths = list[CrashPlan]
"""Of one process after the other."""


async def undisturbed(story: Story, folder: Path) -> list[AppendPoint]:
    """The appends of a remit to which nothing happens."""
    world, customer = await story.open(folder)
    store = FaultyStore(world.store)
    await world.live(customer.work, store)
    assert ending_of(customer.remit) == story.ending, customer.remit["explanation"]
    assert await faults_of(world, customer) == []
    return store.trace


def ending_of(remit: dict[str, object]) -> tuple[object, object, object]:
    return remit["status"], remit["completed"], remit["verified"]


async def die_and_go_on(story: Story, folder: Path, deaths: Deaths) -> list[str]:
    """What is wrong after processes died like this, one after the other; each line names the points."""
    world, customer = await story.open(folder)
    label = ""
    try:
        for plan in deaths:
            store = FaultyStore(world.store, plan)
            try:
                await world.live(customer.work, store)
                break
            except Died:
                label += f"[{plan.when} {store.trace[-1].describe()}] "
        else:
            await world.live(customer.work)
    except Exception as error:
        return [f"{label}: stuck: {error!r}"]
    wrong = await faults_of(world, customer)
    if ending_of(customer.remit) != story.ending:
        wrong.append(f"ended as {ending_of(customer.remit)}: {customer.remit['explanation']}")
    return [f"{label}: {one}" for one in wrong]


async def try_all(story: Story, folder: Path, points: list[Deaths]) -> list[str]:
    """What is wrong with any of them."""
    wrong: list[str] = []
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def try_one(number: int, deaths: Deaths) -> None:
        async with limiter:
            wrong.extend(await die_and_go_on(story, folder / f"point_{number}", deaths))

    async with anyio.create_task_group() as group:
        for number, deaths in enumerate(points):
            group.start_soon(try_one, number, deaths)
    print(f"{len(points)} crash points tried")  # noqa: T201
    return wrong


def every_point(appends: int) -> list[Deaths]:
    return [[CrashPlan(at=at, when=when)] for at in range(1, appends + 1) for when in ("before", "after")]


async def test_a_platform_that_dies_at_every_seventh_point_ends_the_same(tmp_path: Path) -> None:
    appends = await undisturbed(LONG, tmp_path / "whole")
    assert await try_all(LONG, tmp_path, every_point(len(appends))[::7]) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_platform_that_dies_at_any_append_ends_the_same(tmp_path: Path) -> None:
    appends = await undisturbed(LONG, tmp_path / "whole")
    assert {point.kind for point in appends} == {"workspace", "remit", "session"}
    assert len(appends) > 40
    assert await try_all(LONG, tmp_path, every_point(len(appends))) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_platform_that_dies_again_while_it_recovers_ends_the_same(tmp_path: Path) -> None:
    appends = await undisturbed(LONG, tmp_path / "whole")
    points: list[Deaths] = [
        [*first, CrashPlan(at=at, when=when)]
        for first in every_point(len(appends))[::14]
        for at in (1, 2)
        for when in ("before", "after")
    ]
    assert await try_all(LONG, tmp_path, points) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "story", [DEAR, INTERRUPTED, CHEATED], ids=["budget reached", "interrupted", "tampered"]
)
async def test_other_endings_are_the_same_after_a_death_at_any_append(story: Story, tmp_path: Path) -> None:
    appends = await undisturbed(story, tmp_path / "whole")
    # To have died after one append is to have died before the next, as far as the log can tell.
    points = every_point(len(appends))
    assert await try_all(story, tmp_path, [*points[:1], *points[1::2]]) == []


async def test_a_cheat_is_named(tmp_path: Path) -> None:
    world, customer = await CHEATED.open(tmp_path / "world")
    await world.live(customer.work)
    assert customer.remit["tampered"] == ["check.sh"]
