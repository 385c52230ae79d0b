"""One cell: a story on a store, struck by a fault at a point, told to its end, and judged."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from fault_matrix.faults import CALM, FAULTS, Fault, Scene
from fault_matrix.judge import faults_of, settle_readers
from fault_matrix.person import Person, Refused
from fault_matrix.process import Point, Process, Strike
from fault_matrix.stories import STORIES, Story
from fault_matrix.world import Life, StoreMaker, Stores, World, WorldClock, a_task, no_bug
from remit.errors import StoreUnavailable
from remit.testing.faulty_store import Crash
from support.simulation import Stuck, simulate

LIVES_MAX = 4
SECONDS_MAX = 3_000.0
"""Of simulated time in which a story must be over."""
MOVES_MAX = 20_000
AWAKE_SECONDS = 12.0
"""How long a process that stood still is watched after it woke up."""


@dataclass(frozen=True)
class Cell:
    """What is tried. `seed` decides whatever the fault leaves open."""

    story: str
    store: str
    fault: str
    point: Point | None
    seed: int

    @property
    def name(self) -> str:
        return f"{self.story} / {self.store} / {self.fault} / {self.point} / seed {self.seed}"


@dataclass
class Result:
    """What came of it."""

    cell: Cell
    wrong: list[str] = field(default_factory=list)
    was_struck: bool = True
    points: list[Point] = field(default_factory=list)
    """Of the first process."""
    digest: str = ""
    """Of all logs at the end: the same for the same cell on the store in memory."""


def run_cell(cell: Cell, bug: StoreMaker = no_bug) -> Result:
    """Carry it out, in simulated time. What platforms log while they are tormented is no news."""
    folder = Path(tempfile.mkdtemp(prefix="remit-cell-", dir=_memory_folder()))
    result = Result(cell)
    random.seed(cell.seed)  # how long a gateway pauses before it tries again
    try:
        with capture_logs():
            simulate(_carry_out(cell, result, folder, bug), seconds_max=SECONDS_MAX, moves_max=MOVES_MAX)
    except Stuck as stuck:
        result.wrong.append(f"stuck: {stuck}")
    except Exception as error:  # whatever it is, it belongs to this cell
        result.wrong += _told(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _memory_folder() -> str | None:
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


async def _carry_out(cell: Cell, result: Result, folder: Path, bug: StoreMaker) -> None:
    story, fault = STORIES[cell.story], FAULTS.get(cell.fault, CALM)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: _note(context, result))
    clock = WorldClock()
    world = World(folder, await Stores.open(cell.store, folder, clock), clock, story.script, cell.seed)
    world.has_surviving_sandboxes = story.has_surviving_sandboxes
    world.has_check_runs = story.has_check_runs
    try:
        await world.open()
        person = Person()
        world.bug = bug
        scene = Scene(world=world, person=person, seed=cell.seed)
        await _tell(story, scene, fault, cell, result)
        result.digest = await _digest(world)
    finally:
        await world.close()


async def _tell(story: Story, scene: Scene, fault: Fault, cell: Cell, result: Result) -> None:
    """Life after life until the story is over."""
    world = scene.world
    struck: list[bool] = []
    strike = _strike_at(cell.point, fault, scene, struck)
    for number in range(LIVES_MAX):
        process = world.process(strike=strike, is_set_up=number > 0)
        is_over = await _live(story, scene, process, result, fault)
        if number == 0:
            result.points = process.points
        if is_over:
            break
        await world.start_anew()
        strike = fault.strikes_again(scene) if fault.strikes_again is not None and number == 0 else _never
    else:
        result.wrong.append(f"not over after {LIVES_MAX} lives")
    result.was_struck = cell.point is None or bool(struck)


def _strike_at(point: Point | None, fault: Fault, scene: Scene, struck: list[bool]) -> Strike:
    async def strike(process: Process, here: Point) -> None:
        if here == point:
            struck.append(True)
            await fault.strike(scene, process)

    return strike


async def _never(process: Process, point: Point) -> None:
    """Nothing more happens."""


async def _live(story: Story, scene: Scene, process: Process, result: Result, fault: Fault) -> bool:
    """One process; whether the story is over."""
    life = scene.life = Life(scene.world, process)
    async with life.working() as worker, a_task(_play(story, scene, life, result, fault)) as telling:
        ends = [asyncio.ensure_future(event.wait()) for event in (process.died, process.stopped)]
        await asyncio.wait([worker, telling, *ends], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if process.is_stopped:
            telling.cancel()
            await asyncio.wait([telling])
            await _take_over(story, scene, process, result, fault)
            return True
        scene.person.hang_up()
        if process.is_dead:
            return False
        if telling.done() and not _store_failed(telling):
            telling.result()
            return True
        if worker.done() and not _store_failed(worker):
            worker.result()
            raise AssertionError("a worker ended by itself")
        return False


async def _play(story: Story, scene: Scene, life: Life, result: Result, fault: Fault) -> None:
    """Tell it to its end, let everything come to rest, and judge."""
    scene.person.connect(life.assembled.asgi)
    if not life.process.is_set_up:
        await scene.person.set_up(story.tools)
        life.process.is_set_up = True
    ended = await _told_by(story, scene.person, fault)
    await scene.calm_down()
    await life.rest()
    await settle_readers(scene.person, scene.world)
    result.wrong += ended if fault.is_strict else []
    result.wrong += await faults_of(scene.world, scene.person, was_harmless=fault.is_harmless)


async def _told_by(story: Story, person: Person, fault: Fault) -> list[str]:
    try:
        return await story.play(person)
    except Refused as refused:
        # Somebody meddled, and what they did stands in the way: the story is over.
        if fault.is_strict or refused.status not in (400, 404, 409):
            raise
        return []


async def _take_over(story: Story, scene: Scene, stopped: Process, result: Result, fault: Fault) -> None:
    """Another process works on while the first stands still; then that one wakes up, and may do nothing."""
    second = scene.life = Life(scene.world, scene.world.process())

    async def wake_up() -> None:
        # With a thread that writes, a start may have been durable and checked an instant before the stop: that call is
        # paid from its hold, which the judge looks at.
        stopped.wake_up(scene.world.watch if scene.world.stores.disk is None else None)
        await asyncio.sleep(AWAKE_SECONDS)

    async with second.working() as worker:
        first = replace(story, play=_then(story.play, second.rest, wake_up))
        async with a_task(_play(first, scene, second, result, fault)) as telling:
            await asyncio.wait([worker, telling], return_when=asyncio.FIRST_COMPLETED)
            if not telling.done():
                worker.result()
            telling.result()
        scene.person.hang_up()


def _then(
    play: Callable[[Person], Awaitable[list[str]]], *more: Callable[[], Awaitable[None]]
) -> Callable[[Person], Awaitable[list[str]]]:
    async def played(person: Person) -> list[str]:
        ended = await play(person)
        for one in more:
            await one()
        return ended

    return played


def _note(context: dict[str, Any], result: Result) -> None:
    """What nobody waited for: the tasks of the dead leave their deaths behind, and nothing else may be left."""
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        error = error.split((Crash, StoreUnavailable))[1]
    if error is not None and not isinstance(error, (Crash, StoreUnavailable)):
        result.wrong += [f"nobody waited for {line}" for line in _told(error)]


def _told(error: BaseException) -> list[str]:
    """What was raised and where, each leaf of a group by itself."""
    if isinstance(error, BaseExceptionGroup):
        return [line for one in error.exceptions for line in _told(one)]
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return [f"{type(error).__name__}: {error} at {where}"]


def _store_failed(task: asyncio.Task[Any]) -> bool:
    """A process whose store failed may end, and may answer 503 before it does."""
    error = task.exception() if task.done() and not task.cancelled() else None
    if isinstance(error, BaseExceptionGroup):
        return error.split((StoreUnavailable, Crash))[1] is None
    if isinstance(error, Refused):
        return error.status == 503
    return isinstance(error, (StoreUnavailable, Crash))


async def _digest(world: World) -> str:
    sha256 = hashlib.sha256()
    for head in await world.heads():
        for row in await world.rows(head.stream_id):
            sha256.update(row.type.encode() + row.body)
    return sha256.hexdigest()
