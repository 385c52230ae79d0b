"""A remit goes on after its budget was raised, and after an outage, whatever append around that was its process's last."""

from __future__ import annotations

import pytest

from fault_matrix.cell import Cell, run_cell
from fault_matrix.plan import SEED, recorded
from fault_matrix.process import Point

WINDOWS = {
    "remit raised": (
        ("remit.deliverables_ready #1", "turn.continued #1"),
        ("remit.iteration_ended+remit.iteration_ended #1", "remit.ended #2"),
    ),
    "remit in an outage": (("turn.failed #1", "turn.continued #1"),),
}
"""From which append to which a story's process dies: its end, the raise and the second end; the pause."""


def deaths(story: str) -> list[Point]:
    """After each append there. To die before one is to have died after what came before it."""
    points = recorded(story, "memory", SEED)
    chosen: list[Point] = []
    for first, last in WINDOWS[story]:
        names = [str(point) for point in points]
        start = next(i for i, name in enumerate(names) if name.endswith(first))
        end = max(i for i, name in enumerate(names) if name.endswith(last))
        chosen += [point for point in points[start : end + 1] if str(point).startswith("after append")]
    return chosen


@pytest.mark.parametrize("story", WINDOWS)
def test_a_remit_goes_on_wherever_its_process_dies_around_that(story: str) -> None:
    struck = deaths(story)
    assert len(struck) >= 6
    for point in struck:
        result = run_cell(Cell(story, "memory", "crash", point, SEED))
        assert result.wrong == [], result.cell.name


@pytest.mark.parametrize("story", WINDOWS)
def test_the_end_of_a_remit_that_went_on_is_checked_on_the_disk(story: str) -> None:
    result = run_cell(Cell(story, "sqlite", "power loss", deaths(story)[-2], SEED))
    assert result.wrong == [], result.cell.name
