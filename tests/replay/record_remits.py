"""Golden logs of remits with their working sessions. `python tests/replay/record_remits.py` writes what each folds to anew,
for when the state has a new field; look at the difference before you commit it. With `--new NAME STORY` it records a log
of a story of the fault matrix first. A log that is there is never written again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fault_matrix.person import Person
from fault_matrix.stories import STORIES
from fault_matrix.world import Life, Stores, World, WorldClock
from remit.remits.state import fold
from remit.values import EventRow
from support.simulation import simulate

GOLDEN = Path(__file__).resolve().parent / "remits"


async def record(story: str, folder: Path) -> list[EventRow]:
    """The rows of a remit and of its session, as the story leaves them."""
    clock = WorldClock()
    world = World(folder, await Stores.open("memory", folder, clock), clock, STORIES[story].script, seed=1)
    await world.open()
    life, person = Life(world, world.process()), Person()
    async with life.working():
        person.connect(life.assembled.asgi)
        await person.set_up(STORIES[story].tools)
        wrong = await STORIES[story].play(person)
        assert not wrong, wrong
        person.hang_up()
    streams = [head.stream_id for head in await world.heads() if head.kind != "workspace"]
    return [row for stream_id in sorted(streams) for row in await world.rows(stream_id)]


def encode_row(row: EventRow) -> bytes:
    """One line, with the body as JSON, so that people can read a golden file."""
    plain: dict[str, object] = msgspec.to_builtins(row, builtin_types=(bytes,))
    return msgspec.json.encode({**plain, "body": msgspec.json.decode(row.body)})


def read(name: str) -> dict[str, list[EventRow]]:
    """The rows of a golden log: of the `remit`, and of its `session`."""
    rows: dict[str, list[EventRow]] = {"remit": [], "session": []}
    for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines():
        plain = msgspec.json.decode(line)
        body = msgspec.json.encode(plain.pop("body"))
        kind = "remit" if plain["stream_id"].startswith("remit_") else "session"
        rows[kind].append(EventRow(**plain, body=body))
    return rows


def encode_state(rows: list[EventRow]) -> bytes:
    """What a remit's rows fold to, as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(fold(rows), order="sorted"), indent=1) + b"\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--new", nargs=2, metavar=("NAME", "STORY"))
    new = parser.parse_args().new
    if new is not None:
        name, story = new
        path = GOLDEN / f"{name}.jsonl"
        if path.exists():
            raise SystemExit(f"{path} is there already, and old logs are never written again")
        random.seed(1)
        with tempfile.TemporaryDirectory() as folder:
            rows = simulate(record(story, Path(folder)))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\n".join(map(encode_row, rows)) + b"\n")
    for path in sorted(GOLDEN.glob("*.jsonl")):
        path.with_suffix(".state.json").write_bytes(encode_state(read(path.stem)["remit"]))


if __name__ == "__main__":
    main()
