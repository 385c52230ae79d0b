"""A seeded slice of the fault matrix, and what it would be worth without the bugs that are planted here."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence

import pytest

from fault_matrix.cell import Cell, run_cell
from fault_matrix.herd import run_herd
from fault_matrix.mutants import MUTANTS
from fault_matrix.plan import SEED, STORES, all_cells, slice_of
from fault_matrix.stories import STORIES

SLICE_SECONDS = 20.0
"""Of CPU time for the slice."""
SLICE_MIN, SLICE_MAX = 150, 1_200
POSTGRES_SEED = int(os.environ.get("REMIT_FAULTS_SEED", SEED))
POSTGRES_STORIES, POSTGRES_CELLS = 3, 24
"""A cell there takes a second."""
MUTANT_CELLS_MAX = 300
"""A planted bug must be caught by the first so many cells in memory of the slice."""


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return all_cells()


@pytest.fixture(scope="module")
def chosen(cells: list[Cell]) -> Sequence[Cell]:
    return slice_of(cells, SLICE_MAX, int(os.environ.get("REMIT_FAULTS_SEED", SEED)))


def test_there_are_ten_thousand_cells_and_no_two_are_the_same(cells: list[Cell]) -> None:
    assert len({(cell.story, cell.store, cell.fault, cell.point) for cell in cells}) == len(cells)
    assert len(cells) > 10_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_goes_wrong_in_a_slice_of_the_fault_matrix(chosen: Sequence[Cell]) -> None:
    """As many cells as the time allows, always the same ones first; `make faults` carries out all."""
    began = time.process_time()
    done = 0
    for cell in chosen:
        if done >= SLICE_MIN and time.process_time() - began > SLICE_SECONDS:
            break
        result = run_cell(cell)
        assert result.wrong == [], cell.name
        done += 1
    print(f"{done} cells, seed {SEED}")  # noqa: T201


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_goes_wrong_in_a_slice_on_postgres() -> None:
    """A few of all that there is; `make faults STORE=postgres` carries out the rest."""
    stories = random.Random(POSTGRES_SEED).sample(sorted(STORIES), POSTGRES_STORIES)
    cells = all_cells(stories=stories, stores=("postgres",))
    for cell in slice_of(cells, POSTGRES_CELLS, POSTGRES_SEED):
        result = run_cell(cell)
        assert result.wrong == [], cell.name


def test_the_same_cell_on_the_store_in_memory_ends_in_the_same_log(chosen: Sequence[Cell]) -> None:
    for cell in [cell for cell in chosen if cell.store == "memory"][:12]:
        assert run_cell(cell).digest == run_cell(cell).digest, cell.name


@pytest.mark.parametrize("store", STORES)
def test_children_on_one_budget_never_pass_it_through_kills(store: str) -> None:
    herd = run_herd(20, 4, store=store, seed=SEED)
    assert herd.wrong == []
    assert herd.kills == 4
    assert sum(herd.endings.values()) == 20


@pytest.mark.slow
@pytest.mark.parametrize("bug", list(MUTANTS))
def test_a_planted_bug_is_caught(bug: str, chosen: Sequence[Cell]) -> None:
    in_memory = [cell for cell in chosen if cell.store == "memory"][:MUTANT_CELLS_MAX]
    caught = next((cell for cell in in_memory if run_cell(cell, MUTANTS[bug]).wrong), None)
    assert caught is not None, f"no cell notices: {bug}"
