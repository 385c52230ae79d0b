"""What is quick on an idle machine gets its share of time on a busy one."""

from __future__ import annotations

import os

import pytest

from remit.sandboxes.load_adjusted import load_adjusted


@pytest.mark.parametrize(("processes_a_core", "times"), [(0.0, 1.0), (1.0, 1.0), (6.0, 6.0)])
def test_a_start_may_take_as_much_longer_as_there_are_processes_for_each_core(
    processes_a_core: float, times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = processes_a_core * (os.cpu_count() or 1)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert load_adjusted(1.5) == pytest.approx(1.5 * times)
