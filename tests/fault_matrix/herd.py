"""Many children on one budget, and a kill every 200 ms: at no append is anything above its cap."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from fault_matrix.judge import faults_of
from fault_matrix.person import Person, tar_of
from fault_matrix.process import Process
from fault_matrix.stories import FEEDBACK, TICKET, bash, rule, write
from fault_matrix.world import MODEL, PRINCIPAL, WORKSPACE, Life, Stores, World, WorldClock, a_task
from remit.gateway.workspace_stream import create_workspace_stream
from remit.testing.faulty_store import Crash
from remit.values import Append, JsonObject, SetCap, StreamHead
from support.simulation import simulate

KILL_SECONDS = 0.2
CHILD_NANO_USD = 10_000_000_000
SHARE_FUNDED = 0.7
"""Of the children, as far as the common budget reaches at once."""
ENDED = frozenset({"satisfied", "unsatisfied", "budget_reached", "stopped"})
SECONDS_MAX = 20_000.0
MOVES_MAX = 400_000

SCRIPT: JsonObject = {
    "rules": [
        rule(
            FEEDBACK,
            {"delay_ms": 150, "text": "One more.", "tool_uses": [write("/workspace/answer.txt", "42\n")]},
        )
    ],
    "steps": [
        {
            "delay_ms": 150,
            "text": "I try.",
            "tool_uses": [write("/workspace/answer.txt", "41\n"), bash(TICKET)],
        },
        {"delay_ms": 150, "text": "Done."},
    ],
    "default": {"delay_ms": 150, "text": "Nothing more to do."},
}


@dataclass
class Herd:
    """What came of it."""

    wrong: list[str] = field(default_factory=list)
    kills: int = 0
    appends: int = 0
    endings: dict[str, int] = field(default_factory=dict)


def run_herd(children: int, kills: int, *, store: str, seed: int) -> Herd:
    """Carry it out, in simulated time."""
    folder = Path(tempfile.mkdtemp(prefix="remit-herd-"))
    herd = Herd()
    try:
        with capture_logs():
            work = _carry_out(herd, children, kills, store, seed, folder)
            simulate(work, seconds_max=SECONDS_MAX, moves_max=MOVES_MAX)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return herd


async def _carry_out(herd: Herd, children: int, kills: int, store: str, seed: int, folder: Path) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: _note(herd, context))
    clock = WorldClock()
    world = World(folder, await Stores.open(store, folder, clock), clock, SCRIPT, seed)
    try:
        await world.open()
        await _share_budget(world, int(children * SHARE_FUNDED) * CHILD_NANO_USD)
        person = Person()
        chance = random.Random(seed)
        while not await _live(world, person, herd, children, dies=herd.kills < kills, chance=chance):
            herd.kills += 1
            await world.start_anew()
        herd.appends = world.watch.appends
        for head in await _remits(world):
            herd.endings[head.summary.status] = herd.endings.get(head.summary.status, 0) + 1
    finally:
        await world.close()


async def _share_budget(world: World, nano_usd: int) -> None:
    await create_workspace_stream(world.store, PRINCIPAL)
    head = await world.store.head(PRINCIPAL, WORKSPACE)
    cap = SetCap(unit="nano_usd", purpose="work", cap=nano_usd)
    await world.store.append(PRINCIPAL, Append(stream_id=WORKSPACE, expected_seq=head.seq, effects=(cap,)))


async def _live(
    world: World, person: Person, herd: Herd, children: int, *, dies: bool, chance: random.Random
) -> bool:
    """One process; whether every child has ended."""
    process = world.process()
    life = Life(world, process)

    async def work() -> None:
        person.connect(life.assembled.asgi)
        await _commission(person, children)
        while not all(head.summary.status in ENDED for head in await _remits(world)):  # noqa: ASYNC110 the store has no event
            await asyncio.sleep(0.25)
        await life.rest()
        herd.wrong += await faults_of(world, person, was_harmless=False)

    async with life.working() as worker, a_task(work()) as working:
        seconds = KILL_SECONDS * chance.uniform(0.5, 1.5) if dies else SECONDS_MAX
        async with a_task(_die_after(process, seconds)) as dying:
            await asyncio.wait([worker, working, dying], return_when=asyncio.FIRST_COMPLETED)
        person.hang_up()
        if process.is_dead:
            return False
        working.result()
        return True


async def _die_after(process: Process, seconds: float) -> None:
    await asyncio.sleep(seconds)
    process.die()


async def _commission(person: Person, children: int) -> None:
    """Those that are not there yet."""
    there: Any = await person.all("/v1/remits")
    known = {remit["metadata"]["number"] for remit in there}
    if "input" not in person.known:
        files = tar_of({"answer.txt": "unknown\n"})
        uploaded = await person.request("POST", "/v1/remits/inputs", files, content_type="application/x-tar")
        person.known["input"] = uploaded["id"]
    for number in map(str, range(children)):
        if number not in known:
            asked = {
                "outcome": "answer.txt holds the answer",
                "model": MODEL,
                "input_id": person.known["input"],
                "verifiers": [{"type": "command", "command": "grep -qx 42 answer.txt"}],
                "max_iterations": 8,
                "budget": {"usd": f"{CHILD_NANO_USD / 1e9:.2f}"},
                "consent": "given",
                "metadata": {"number": number},
            }
            await person.post("/v1/remits", asked)


async def _remits(world: World) -> list[StreamHead]:
    return [head for head in await world.heads() if head.kind == "remit"]


def _note(herd: Herd, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        error = error.split(Crash)[1]
    if error is not None and not isinstance(error, Crash):
        herd.wrong.append(f"nobody waited for {error!r}")
