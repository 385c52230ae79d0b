"""Wall time that never goes back while a process lives, and waits that outlive a process whose clock was set back."""

from __future__ import annotations

import pytest

from remit.clock import SteadyClock, is_wait_over
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


@pytest.mark.parametrize(
    ("now", "is_over"),
    [
        (1_000.0, False),
        (1_029.9, False),
        (1_030.0, True),
        (90_000.0, True),  # set forward
        (999.95, False),  # a small step back is waited out
        (970.0, True),  # set back before the wait began
        (-85_400.0, True),
    ],
)
def test_a_stored_wait_is_over_at_its_time_or_when_the_clock_was_set_back_before_it_began(
    now: float, is_over: bool
) -> None:
    since_us, until_us = 1_000_000_000, 1_030_000_000
    assert is_wait_over(since_us=since_us, until_us=until_us, now_us=round(now * 1_000_000)) is is_over
