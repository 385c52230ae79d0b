"""Golden logs of deployments, beside those of remits. `python tests/replay/record_deployments.py` writes what each folds to anew,
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

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record_remits import encode_row, record

from remit.deployments.state import DeploymentState, fold
from remit.values import EventRow
from support.simulation import simulate

GOLDEN = Path(__file__).resolve().parent / "deployments"


def read(name: str) -> list[EventRow]:
    """The rows of a golden log."""
    lines = (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()
    plain = [msgspec.json.decode(line) for line in lines]
    return [EventRow(**{**one, "body": msgspec.json.encode(one["body"])}) for one in plain]


def encode_state(rows: list[EventRow]) -> bytes:
    """What the rows fold to, as indented JSON."""
    state = fold(rows, DeploymentState())
    return msgspec.json.format(msgspec.json.encode(state, order="sorted"), indent=1) + b"\n"


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
        kept = [row for row in rows if row.stream_id.startswith("depl_")]
        path.write_bytes(b"\n".join(map(encode_row, kept)) + b"\n")
    for path in sorted(GOLDEN.glob("*.jsonl")):
        path.with_suffix(".state.json").write_bytes(encode_state(read(path.stem)))


if __name__ == "__main__":
    main()
