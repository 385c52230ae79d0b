"""`kill -9` of real processes, a few times; `make accept` does it fifty times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILL_TEST = Path(__file__).parents[2] / "scripts" / "kill_test.py"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_remits_survive_kills_of_their_processes() -> None:
    command = [sys.executable, str(KILL_TEST), "--kills", "6", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("6 kills (")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_remits_survive_a_stop_past_the_lease_and_the_deaths_of_their_spawner_a_sandbox_and_their_proxy() -> (
    None
):
    command = [sys.executable, str(KILL_TEST), "--wounds", "4", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("4 wounds (1 stopped, 1 spawner, 1 sandbox, 1 egress proxy) ")
