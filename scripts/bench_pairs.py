"""Two trees beside each other: W1 and W2 of `scripts/bench` in pairs, each pair in the other order.

python scripts/bench_pairs.py /path/to/other/tree [--pairs 20] [--turns 60] [--sessions 16]

On a machine that others use nothing can be said of one run. In a pair both have about the same machine (their turns
alternate), so the ratio of the two is told: its median over all pairs, with the interval that holds the median in 95 of
100 such series. The other
tree (`git worktree add`) runs in this one's virtual environment. Both are asked by this tree's client, with its models.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.append(str(HERE / "bench"))

from processes import Server, model_server  # noqa: E402
from sessions import MODEL, WARM_TURNS, Speaker, Times, make_agent, make_session  # noqa: E402
from wire import Connection, Target  # noqa: E402

OWN = HERE.parent / "src"
ROUNDS = 4
"""Of W2 in a pair."""


class Side(NamedTuple):
    """One tree, at work."""

    server: Server
    target: Target
    connection: Connection
    given: dict[str, str]
    many: list[Speaker]
    """Sessions for W2, warm."""


class Figures(NamedTuple):
    """What one tree came to in one pair; of all of them less is better."""

    turn_ms: float
    cpu_ms: float
    first_turn_ms: float
    w2_ms: float
    """W2: of a turn, while all sessions have theirs at once."""


async def start(folder: Path, source: Path, url: str, sessions: int) -> Side:
    """Serve from this source."""
    server = Server(folder, model_url=url, environment={"PYTHONPATH": str(source)})
    target = await server.start()
    await server.settle()
    connection = await target.connect()
    given = await make_agent(target, connection, MODEL, has_tools=True)
    many = [await make_session(target, await target.connect(), given) for _ in range(sessions)]
    for speaker in many:
        await speaker.attach()
        await speaker.turn()
    return Side(server, target, connection, given, many)


async def pair(sides: Sequence[Side], turns: int) -> list[Figures]:
    """Both in alternation: a fresh session's first turn, then warm ones turn by turn; then W2, one after the other."""
    first: list[float] = []
    warm: list[Times] = []
    w2: list[float] = []
    speakers = [await make_session(side.target, side.connection, side.given) for side in sides]
    for speaker in speakers:
        await speaker.attach()
        await speaker.turn(times := Times())
        first.append(times.whole[0])
    for speaker in speakers:
        warm.append(Times())
        for _ in range(WARM_TURNS):
            await speaker.turn()
    before = [side.server.cpu_seconds() for side in sides]
    for number in range(turns):
        both = list(zip(speakers, warm, strict=True))
        for speaker, times in both if number % 2 else reversed(both):
            await speaker.turn(times)
    cpu = [side.server.cpu_seconds() - seconds for side, seconds in zip(sides, before, strict=True)]
    for side, speaker in zip(sides, speakers, strict=True):
        speaker.detach()
        w2.append(await _at_once(side.many, ROUNDS))
        await side.target.ask(side.connection, "DELETE", f"/v1/sessions/{speaker.id}")
    return [
        Figures(
            turn_ms=statistics.median(warm[index].whole) * 1000,
            cpu_ms=cpu[index] / turns * 1000,
            first_turn_ms=first[index] * 1000,
            w2_ms=w2[index] * 1000,
        )
        for index in range(len(sides))
    ]


async def _at_once(speakers: Sequence[Speaker], rounds: int) -> float:
    """Seconds a turn, while all of them speak."""

    async def talk(speaker: Speaker) -> None:
        for _ in range(rounds):
            await speaker.turn()

    started = time.perf_counter()
    await asyncio.gather(*map(talk, speakers))
    return (time.perf_counter() - started) / (rounds * len(speakers))


async def compare(other: Path, pairs: int, turns: int, sessions: int) -> None:
    """Run the pairs and print what they say."""
    with tempfile.TemporaryDirectory(prefix="remit-pairs-") as name, ExitStack() as started:
        models = model_server(Path(name))
        started.callback(models.stop)
        host, port = await models.address()
        sides: list[Side] = []
        for source in (OWN, other / "src"):
            folder = Path(tempfile.mkdtemp(dir=name))
            sides.append(await start(folder, source, f"http://{host}:{port}", sessions))
            started.callback(sides[-1].server.stop)
        found: list[list[Figures]] = []
        for number in range(pairs):
            order = 1 if number % 2 == 0 else -1
            found.append((await pair(sides[::order], turns))[::order])
            print(
                *(" ".join(f"{value:8.1f}" for value in each) for each in found[-1]), sep="   |", flush=True
            )
    for index, name in enumerate(Figures._fields):
        own, others = ([both[side][index] for both in found] for side in (0, 1))
        ratios = sorted(a / b for a, b in zip(own, others, strict=True))
        low, high = interval(ratios)
        print(
            f"{name:14} {statistics.median(own):7.1f} / {statistics.median(others):7.1f}   "
            f"ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
        )


def interval(ordered: list[float]) -> tuple[float, float]:
    """Where the median of all such pairs lies, with 95 % at least: between two of the ratios, by the binomial
    distribution alone."""
    count = len(ordered)
    outside = 0.0
    rank = 0
    while outside + math.comb(count, rank) / 2**count <= 0.025:
        outside += math.comb(count, rank) / 2**count
        rank += 1
    return ordered[max(0, rank - 1)], ordered[min(count - 1, count - rank)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=16)
    options = parser.parse_args()
    asyncio.run(compare(options.other, options.pairs, options.turns, options.sessions))
