"""`make bench` at a tiny size: every workload runs and fills its rows. What the figures are is not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]
BENCH = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.mark.long
@pytest.mark.table(2)
@pytest.mark.parametrize(
    ("workload", "rows"),
    [("W1", 7), ("W2", 2), ("W3", 4), ("W4", 2), ("W5", 3), ("W6", 2), ("W7", 2), ("help", 1)],
)
def test_a_workload_runs_at_a_tiny_size(tmp_path: Path, workload: str, rows: int) -> None:
    written = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, str(BENCH), "--only", workload, "--scale", "0.001", "--json", str(written)],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(written.read_text())
    assert [row["workload"] for row in report["rows"]] == [workload] * rows
    assert all(row["value"] >= 0 for row in report["rows"])
