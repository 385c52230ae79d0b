"""Carry out the matrix: `make faults`, or `python -m fault_matrix --help`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fault_matrix.cell import Cell, Result, run_cell
from fault_matrix.faults import FAULTS
from fault_matrix.herd import run_herd
from fault_matrix.plan import ALL_STORES, SEED, all_cells, slice_of
from fault_matrix.stories import STORIES

BATCH = 20
HERD_CHILDREN, HERD_KILLS = 200, 15
NOT_STRUCK_MAX = 0.02
"""Of the cells: on SQLite another thread takes part, so a point may not come up again."""
FAILURES_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 when every cell was struck (but for a few) and nothing was wrong in any."""
    options = _options(arguments)
    started = time.monotonic()
    cells = all_cells(
        options.seed,
        stories=options.story or tuple(STORIES),
        stores=options.store or ALL_STORES,
        faults=options.fault or tuple(FAULTS),
    )
    planned = len(cells)
    if options.slice:
        cells = slice_of(cells, options.slice, options.seed)
    done = _read(options.progress, options.seed) if options.resume else {}
    todo = [cell for cell in cells if cell.name not in done]
    print(f"seed {options.seed}: {len(todo)} of {planned} cells, {options.jobs} at a time", flush=True)
    with options.progress.open("a" if options.resume else "w") as progress:
        for count, result in enumerate(_carry_out(todo, options.jobs), start=1):
            line = _line(result, options.seed)
            done[result.cell.name] = line
            progress.write(json.dumps(line) + "\n")
            if line["wrong"]:
                print(f"\nWRONG {result.cell.name}\n   " + "\n   ".join(line["wrong"]), flush=True)
            if count % 100 == 0 or count == len(todo):
                _show_progress(count, len(todo), time.monotonic() - started)
    herds = [] if options.no_herd else [_herd(store, options.seed) for store in options.store or ALL_STORES]
    lines = [done[cell.name] for cell in cells if cell.name in done]
    return _report(lines, herds, options, time.monotonic() - started)


def _herd(store: str, seed: int) -> dict[str, Any]:
    herd = run_herd(HERD_CHILDREN, HERD_KILLS, store=store, seed=seed)
    print(
        f"{HERD_CHILDREN} children on one budget, {store}: {herd.kills} kills, {herd.appends} appends, none of them "
        f"above a cap; {herd.endings}" + "".join(f"\n   WRONG {one}" for one in herd.wrong),
        flush=True,
    )
    return {"store": store, **asdict(herd)}


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m fault_matrix", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--slice", type=int, default=0, help="only so many cells, chosen by the seed")
    parser.add_argument("--story", action="append", choices=list(STORIES))
    parser.add_argument("--store", action="append", choices=ALL_STORES)
    parser.add_argument("--fault", action="append", choices=list(FAULTS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-herd", action="store_true", help="without the children on one budget")
    parser.add_argument("--resume", action="store_true", help="go on where the last run stopped")
    parser.add_argument("--progress", type=Path, default=Path("faults.jsonl"))
    parser.add_argument("--json", type=Path, default=Path("faults.json"))
    return parser.parse_args(arguments)


def _carry_out(cells: Sequence[Cell], jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(run_cell, cells)
        return
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=50 * BATCH) as pool:
        yield from pool.imap_unordered(run_cell, cells, chunksize=BATCH)


def _line(result: Result, seed: int) -> dict[str, Any]:
    cell = result.cell
    return {
        "seed": seed,
        "name": cell.name,
        "story": cell.story,
        "store": cell.store,
        "fault": cell.fault,
        "struck": result.was_struck,
        "wrong": result.wrong,
    }


def _read(path: Path, seed: int) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["name"]: line for line in lines if line["seed"] == seed}


def _show_progress(count: int, total: int, seconds: float) -> None:
    end = "\n" if count == total or not sys.stdout.isatty() else "\r"
    print(f"{count}/{total} cells in {seconds:.0f} s", end=end, flush=True)


def _report(
    lines: Sequence[dict[str, Any]], herds: Sequence[dict[str, Any]], options: Any, seconds: float
) -> int:
    struck = [line for line in lines if line["struck"]]
    wrong = [line for line in struck if line["wrong"]]
    by_fault: defaultdict[str, Counter[str]] = defaultdict(Counter)
    by_story: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in struck:
        by_fault[line["fault"]][line["store"]] += 1
        by_story[line["story"]][line["store"]] += 1
    missed = len(lines) - len(struck)
    summary = {
        "seed": options.seed,
        "cells": len(struck),
        "not_reached": missed,
        "wrong": [line["name"] for line in wrong],
        "seconds": round(seconds, 1),
        "herds": herds,
        "by_fault": {name: dict(counts) for name, counts in by_fault.items()},
        "by_story": {name: dict(counts) for name, counts in by_story.items()},
    }
    options.json.write_text(json.dumps(summary, indent=1) + "\n")
    for title, table in (("fault", by_fault), ("story", by_story)):
        print(f"\n{title:34s} " + " ".join(f"{store:>8s}" for store in ALL_STORES))
        for name, counts in table.items():
            print(f"{name:34s} " + " ".join(f"{counts[store]:8d}" for store in ALL_STORES))
    print(
        f"\n{len(struck)} cells in {seconds:.0f} s, seed {options.seed}; {missed} points did not come up again"
    )
    print(f"{len(wrong)} went wrong" + "".join(f"\n  {line['name']}" for line in wrong[:FAILURES_SHOWN]))
    is_broken = wrong or any(herd["wrong"] for herd in herds)
    return 1 if is_broken or missed > NOT_STRUCK_MAX * len(lines) else 0


if __name__ == "__main__":
    raise SystemExit(main())
