"""When schedules fire: POSIX cron against wall clocks that are set forward and back, and jitter."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.clock import parse_rfc3339, rfc3339
from remit.deployments.schedule import JITTER_MAX_US, JITTER_MIN_US, Cron
from remit.errors import InvalidRequest

MINUTE_US = 60_000_000


def times(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The next scheduled times, in UTC, to the minute."""
    found = islice(Cron(expression, zone).upcoming(parse_rfc3339(after)), count)
    return [rfc3339(one)[:16] for one in found]


def test_a_schedule_follows_the_wall_clock_over_summer_and_winter() -> None:
    assert times("0 20 * * 5", "America/New_York", "2026-03-04T00:00:00Z", 2) == [
        "2026-03-07T01:00",
        "2026-03-14T00:00",
    ]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # 02:30 does not exist on 8 March.
        ("30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", ["2026-03-07T07:30", "2026-03-09T06:30"]),
        # Nor does midnight on 24 April.
        ("0 0 * * *", "Africa/Cairo", "2026-04-22T00:00:00Z", ["2026-04-22T22:00", "2026-04-24T21:00"]),
        # Nor a whole day.
        ("0 12 30 * *", "Pacific/Apia", "2011-11-30T00:00:00Z", ["2011-11-30T22:00", "2012-01-29T22:00"]),
    ],
)
def test_a_wall_clock_time_that_does_not_exist_is_skipped(
    expression: str, zone: str, after: str, expected: list[str]
) -> None:
    assert times(expression, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", ["2026-11-01T05:30", "2026-11-01T06:30"]),
        # A shift of half an hour.
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
            ["2026-04-04T14:45", "2026-04-04T15:15"],
        ),
        # In order, though each repeats.
        (
            "*/30 1 * * *",
            "America/New_York",
            "2026-11-01T00:00:00Z",
            ["2026-11-01T05:00", "2026-11-01T05:30", "2026-11-01T06:00", "2026-11-01T06:30"],
        ),
    ],
)
def test_a_wall_clock_time_that_repeats_fires_twice(
    expression: str, zone: str, after: str, expected: list[str]
) -> None:
    assert times(expression, zone, after, len(expected)) == expected


def test_sunday_is_zero_and_seven_and_days_of_month_and_week_are_either() -> None:
    assert times("0 0 * * 0", "UTC", "2026-12-01T00:00:00Z", 1) == times(
        "0 0 * * 7", "UTC", "2026-12-01T00:00:00Z", 1
    )
    assert times("0 0 13 * 5", "UTC", "2026-12-01T00:00:00Z", 3) == [
        "2026-12-04T00:00",
        "2026-12-11T00:00",
        "2026-12-13T00:00",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "@daily",
        "0 0 L * *",
        "0 0 15W * *",
        "0 0 ? * *",
        "0 0 * * 1#2",
        "0 0 * * MON",
        "* * * *",
        "0 * * * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "0 0 30 2 *",
        "-1 * * * *",
        ", * * * *",
    ],
)
def test_what_is_no_posix_cron_or_never_comes_is_refused_by_name(expression: str) -> None:
    with pytest.raises(InvalidRequest, match=r"`schedule\.expression`"):
        Cron(expression, "UTC")


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "America", "UTC\0", "EST5EDT5"])
def test_a_zone_that_is_none_is_refused_by_name(zone: str) -> None:
    with pytest.raises(InvalidRequest, match=r"`schedule\.timezone`"):
        Cron("0 9 * * *", zone)


def test_a_time_that_is_always_in_the_hour_that_is_left_out_never_comes_and_is_not_looked_for_without_end() -> (
    None
):
    """Every last Sunday of March at half past two, which is when the clock is set from two to three."""
    cron = Cron("30 2 25-31 3 */7", "Europe/Berlin")
    assert cron.next_after(parse_rfc3339("2026-01-01T00:00:00Z")) is None
    assert cron.upcoming_few(parse_rfc3339("2026-01-01T00:00:00Z")) == []
    assert cron.next_after(parse_rfc3339("1970-01-01T00:00:00Z")) == parse_rfc3339("1970-03-29T01:30:00Z"), (
        "before there was any"
    )


@given(
    asked=st.lists(st.integers(0, 86_400 * 5), min_size=1, max_size=30),
    expression=st.sampled_from(["*/7 * * * *", "30 2 * * *", "5 1,2,3 29 3 *", "15 */5 * * 0"]),
)
@settings(max_examples=30, deadline=None)
def test_what_is_remembered_is_what_would_be_found(asked: list[int], expression: str) -> None:
    """In any order, over the days on which a clock is set forward."""
    remembers = Cron.of(expression, "Europe/Berlin")
    for second in asked:
        instant = parse_rfc3339("2026-03-27T00:00:00Z") + second * 1_000_000
        assert remembers.next_after(instant) == Cron(expression, "Europe/Berlin").next_after(instant)


CLOCKS_SET = (
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Africa/Cairo", "2026-04-24"),
    ("Africa/Cairo", "2026-10-30"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Asia/Kolkata", "2026-12-01"),
)
"""Zones, and a day on which their clocks are set; the last has none."""


@settings(max_examples=24, deadline=None)
@given(
    minute=st.integers(0, 59),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=3),
    place=st.sampled_from(CLOCKS_SET),
)
def test_every_instant_that_matches_is_fired_and_no_other(
    minute: int, hours: set[int], place: tuple[str, str]
) -> None:
    """Compared with a clock that is looked at every minute."""
    cron = Cron(f"{minute} {','.join(map(str, sorted(hours)))} * * *", place[0])
    begin_us = parse_rfc3339(f"{place[1]}T00:00:00Z") - 720 * MINUTE_US
    end_us = begin_us + 1_920 * MINUTE_US
    found = [one for one in islice(cron.upcoming(begin_us), 12) if one <= end_us]
    local = [
        (one, datetime.fromisoformat(rfc3339(one)).astimezone(cron.zone))
        for one in range(begin_us + MINUTE_US, end_us + 1, MINUTE_US)
    ]
    assert found == [one for one, time in local if time.minute == minute and time.hour in hours]


@pytest.mark.parametrize("expression", ["* * * * *", "0 * * * *", "0 9 * * *", "0 0 1 1 *"])
def test_jitter_is_small_the_same_for_everybody_and_passes_no_other_time(expression: str) -> None:
    cron = Cron(expression, "UTC")
    first, second = islice(cron.upcoming(0), 2)
    most = min(max((second - first) * 15 // 100, JITTER_MIN_US), JITTER_MAX_US)
    late = {cron.fires_at_us(first, f"depl_{number}") - first for number in range(200)}
    assert len(late) > 150
    assert 0 <= min(late) <= max(late) < most
    assert max(late) > most * 9 // 10
    assert cron.fires_at_us(first, "depl_1") == Cron(expression, "UTC").fires_at_us(first, "depl_1")
    assert first + max(late) < second
