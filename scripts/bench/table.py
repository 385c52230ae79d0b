"""Rows of the table: what was measured, the gate, the aim, and a raw limit of the same run."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line. `raw` is what the machine and the client reach without Remit, in the same unit."""

    workload: str
    what: str
    value: float
    unit: str
    gate: float | None = None
    aim: float | None = None
    raw: float | None = None
    raw_is: str = ""
    is_rate: bool = False
    """More is better."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times worse than the raw limit."""
        if not self.raw or not self.value:
            return None
        return self.raw / self.value if self.is_rate else self.value / self.raw

    @property
    def verdict(self) -> str:
        for bound, word in ((self.aim, "aim"), (self.gate, "gate")):
            if bound is not None and (self.value >= bound if self.is_rate else self.value <= bound):
                return word
        return "" if self.gate is None else "missed"


@dataclass
class Report:
    """Rows as they come, printed at once."""

    scale: float
    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list[Row])
    plots: dict[str, list[tuple[float, float]]] = field(default_factory=dict[str, list[tuple[float, float]]])

    def add(self, workload: str, what: str, value: float, unit: str, **more: Any) -> None:
        """Any: the fields of Row."""
        row = Row(workload=workload, what=what, value=value, unit=unit, **more)
        self.rows.append(row)
        print(text_of(row), flush=True)

    def write(self, path: Path) -> None:
        """As JSON."""
        rows = [{**asdict(row), "ratio": row.ratio, "verdict": row.verdict} for row in self.rows]
        path.write_text(
            json.dumps(
                {"scale": self.scale, "machine": self.machine, "rows": rows, "plots": self.plots}, indent=1
            )
        )


PLOT_COLUMNS = 50
HEADER = f"{'':8}{'measured':>62}   {'gate':>9} {'aim':>9}          {'raw limit':>10} {'ratio':>7}"


def text_of(row: Row) -> str:
    """A line of the table."""
    ratio = "" if row.ratio is None else f"{row.ratio:.1f}x"
    line = (
        f"{row.workload:8}{row.what:42}{number(row.value):>10} {row.unit:9}   {number(row.gate):>8} "
        f"{number(row.aim):>9} {row.verdict:7}  {number(row.raw):>10} {ratio:>7}  {row.raw_is}"
    )
    return line.rstrip() + (f"  ({row.note})" if row.note else "")


def plot_of(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Bars, one line a point."""
    most = max((y for _, y in points), default=0.0) or 1.0
    lines = [f"{x:>8,.0f} {number(y):>10}  {'█' * round(PLOT_COLUMNS * y / most)}" for x, y in points]
    return "\n".join([name, *lines])


def number(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    digits = 2 if value < 10 else 1
    return f"{value:.{digits}f}"


def percentile(values: Sequence[float], percent: int) -> float:
    """Of what was measured; nothing is interpolated beyond it."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]


def median_ms(seconds: Sequence[float]) -> float:
    return statistics.median(seconds) * 1000
