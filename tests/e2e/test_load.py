"""`make load` at a tiny size: every shape runs, nothing fails. What the figures are is not looked at."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]
LOAD = Path(__file__).parents[2] / "scripts" / "load"


@pytest.mark.long
@pytest.mark.table(2)
@pytest.mark.parametrize(
    ("shape", "rows"),
    [("herd", 2), ("output", 3), ("storm", 2), ("release", 3), ("thaw", 2), ("shares", 3)],
)
def test_a_load_shape_runs_at_a_tiny_size_without_a_failure(shape: str, rows: int) -> None:
    done = subprocess.run(
        [sys.executable, str(LOAD), "--only", shape, "--scale", "0.01"],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(rf"^{shape}: ", done.stdout, re.MULTILINE)) == rows, done.stdout
