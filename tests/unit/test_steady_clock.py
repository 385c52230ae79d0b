"""Wall time that never goes back."""

from __future__ import annotations

from remit.clock import SteadyClock
from support.simulation import SimulatedClock, simulate


async def _set_back_and_forward() -> list[int]:
    machine = SimulatedClock()
    steady = SteadyClock(machine)
    start_us = machine.now_us()
    seen: list[int] = []
    for jump in (0.0, 5.0, -3600.0, 0.0, 7200.0):
        machine.jump(jump)
        await steady.sleep(1)
        seen.append(round((steady.now_us() - start_us) / 1_000_000))
    return seen


def test_a_clock_that_is_set_back_goes_on_from_where_it_was_and_follows_it_forward() -> None:
    assert simulate(_set_back_and_forward()) == [1, 7, 8, 9, 3610]


async def _asked_often() -> float:
    machine = SimulatedClock()
    steady = SteadyClock(machine)
    machine.jump(-60)
    start_us = steady.now_us()
    for _ in range(10_000):
        await steady.sleep(0.000_000_7)
        steady.now_us()
    return (steady.now_us() - start_us) / 1_000


def test_a_clock_that_was_set_back_loses_no_time_however_often_it_is_asked() -> None:
    assert 6.9 < simulate(_asked_often()) < 7.1
