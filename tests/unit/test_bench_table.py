"""The bench's own arithmetic: rows, ratios, and the client that counts what comes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"


def load(name: str) -> ModuleType:
    """A module of the bench, which is a folder of scripts and no package."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


table, wire = load("table"), load("wire")


@pytest.mark.parametrize(
    ("value", "is_rate", "verdict"),
    [(4, False, "aim"), (8, False, "gate"), (10, False, "missed"), (10, True, "aim"), (3, True, "missed")],
)
def test_a_row_says_which_bound_it_holds(value: float, is_rate: bool, verdict: str) -> None:
    gate, aim = (5, 10) if is_rate else (9, 4.5)
    row = table.Row(workload="W1", what="turn", value=value, unit="ms", gate=gate, aim=aim, is_rate=is_rate)
    assert row.verdict == verdict


def test_a_ratio_says_how_many_times_worse_than_the_raw_limit() -> None:
    slower = table.Row(workload="W1", what="turn", value=9, unit="ms", raw=3)
    fewer = table.Row(workload="W2", what="turns", value=100, unit="turns/s", raw=400, is_rate=True)
    assert (slower.ratio, fewer.ratio) == (3, 4)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert table.percentile([5, 1, 4, 2, 3], 95) == 5
    assert table.percentile([5, 1, 4, 2, 3], 50) == 3


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_markers_are_counted_once_however_the_bytes_are_cut(size: int) -> None:
    marker = b"\nevent: session.status_idle\n"
    content = (b"id: 1\ndata: {}\n" + marker) * 20
    stream = wire.Stream(marker, b"\nevent: ")
    for start in range(0, len(content), size):
        stream.take(content[start : start + size])
    assert stream.counts == {marker: 20, b"\nevent: ": 20}
