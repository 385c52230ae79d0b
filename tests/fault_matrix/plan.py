"""Which cells there are: every fault at every point that it fits, for every story on every store."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from fault_matrix.cell import Cell, run_cell
from fault_matrix.faults import FAULTS
from fault_matrix.process import Point
from fault_matrix.stories import STORIES

STORES = ("memory", "sqlite")
ALL_STORES = (*STORES, "postgres")
CALM = "nothing"
SEED = 22
OFTEN = ("crash", "stopped past its lease")
"""What a slice has most of."""


def recorded(story: str, store: str, seed: int) -> list[Point]:
    """The points of a story in which nothing goes wrong. Raises AssertionError when something does."""
    result = run_cell(Cell(story, store, CALM, None, seed))
    assert not result.wrong, f"{result.cell.name}: {result.wrong}"
    return result.points


def all_cells(
    seed: int = SEED,
    *,
    stories: Sequence[str] = tuple(STORIES),
    stores: Sequence[str] = STORES,
    faults: Sequence[str] = tuple(FAULTS),
) -> list[Cell]:
    """In a fixed order. Each has a seed of its own, made from `seed`."""
    cells: list[Cell] = []
    for story in stories:
        for store in stores:
            points = recorded(story, store, seed)
            for fault in (FAULTS[name] for name in faults):
                if store in fault.stores and story not in fault.not_in:
                    cells += [
                        Cell(story, store, fault.name, point, seed) for point in points if fault.fits(point)
                    ]
    return [
        Cell(
            one.story, one.store, one.fault, one.point, random.Random(f"{seed}: {one.name}").randrange(2**32)
        )
        for one in cells
    ]


def slice_of(cells: Sequence[Cell], size: int, seed: int) -> list[Cell]:
    """So many of them, as the seed has it, in rounds: a death, a stop, and one other fault; stories take turns."""
    # By each cell's own name: how many points there are differs by a few from one recording to the next.
    in_order = sorted(
        cells, key=lambda cell: blake2b(f"{seed}: {cell.name}".encode(), digest_size=8).digest()
    )
    by_fault: defaultdict[str, dict[str, list[Cell]]] = defaultdict(dict)
    for cell in in_order:
        by_fault[cell.fault].setdefault(cell.story, []).append(cell)
    piles = {fault: _in_turns(list(stories.values())) for fault, stories in by_fault.items()}
    others = itertools.cycle(sorted(fault for fault in piles if fault not in OFTEN))
    chosen: list[Cell] = []
    size = min(size, len(cells))
    while len(chosen) < size:
        for fault in (*OFTEN, next(others)):
            chosen += [cell for cell in [next(piles.get(fault, iter(())), None)] if cell is not None]
    return chosen[:size]


def _in_turns(piles: list[list[Cell]]) -> Iterator[Cell]:
    for round in itertools.zip_longest(*piles):
        yield from (cell for cell in round if cell is not None)
