"""Schedules: five fields of POSIX cron against a time zone's wall clock, and jitter. Pure.

Wall-clock times are matched literally, as the hosted platform does: one that a clock set forward leaves out does not
come, one that a clock set back repeats comes twice. `cronsim` moves and merges such times (it follows Debian's cron), so
it is asked for local times alone, and what instants they are is decided here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from remit.errors import InvalidRequest

UPCOMING_MAX = 5
JITTER_PERCENT = 15
JITTER_MIN_US, JITTER_MAX_US = 5_000_000, 540_000_000
"""The most that a firing may be late by jitter is this part of the time until the next one, within these bounds."""
NEAR = timedelta(hours=4)
"""No clock was ever set by more at once, but over the date line, where a day is left out."""

FAR = timedelta(days=366 * 50)
"""What does not come until then never comes: such as a time in the hour that is left out where a clock is set forward."""
REMEMBERED = 8
"""Instants of one schedule that were found last: a list shows some, and is asked for again before the first is over."""

_FIELDS = re.compile(r"[0-9*,/-]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cron:
    """One schedule. Finding a rare time takes a tenth of a second, so it remembers some: `of` gives the same one again."""

    def __init__(self, expression: str, timezone: str, *, field: str = "schedule") -> None:
        """Raises InvalidRequest for an expression or a zone that is none."""
        self._found: tuple[tuple[int, int | None], ...] = ()
        """The instants asked about last, each with the first one after it."""
        self._expression = expression
        fields = expression.split()
        if len(fields) != 5 or not all(_FIELDS.fullmatch(one) for one in fields):
            raise InvalidRequest(
                f"`{field}.expression`: {expression!r} is no POSIX cron expression; write five fields (minute, hour, day of "
                "month, month, day of week) of numbers, `*`, `,`, `-` and `/`, such as `0 9 * * 1-5`."
            )
        try:
            self.zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise InvalidRequest(
                f"`{field}.timezone`: {timezone!r} is no IANA time zone; write one such as `Europe/Berlin` or `UTC`."
            ) from error
        try:
            CronSim(expression, datetime(2024, 1, 1))  # noqa: DTZ001  # any local time
        except CronSimError as error:
            raise InvalidRequest(
                f"`{field}.expression`: {expression!r}: {str(error).lower()}; correct it."
            ) from error

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, expression: str, timezone: str) -> Cron:
        """Return the schedule. Raises InvalidRequest for an expression or a zone that is none."""
        return cls(expression, timezone)

    def next_after(self, instant_us: int) -> int | None:
        """The first instant after this one at which it matches; None: there is none in fifty years."""
        for asked, found in self._found:
            if asked == instant_us or (found is not None and asked < instant_us < found):
                return found
        found = self._search(instant_us)
        self._found = (*self._found[1 - REMEMBERED :], (instant_us, found))
        return found

    def _search(self, instant_us: int) -> int | None:
        instant = _EPOCH + timedelta(microseconds=instant_us)
        local = instant.astimezone(self.zone)
        here = local.replace(tzinfo=None, fold=0)
        near = [_offset(instant + each, self.zone) for each in (-NEAR, timedelta(), NEAR)]
        shift = max(near) - min(near)
        # Where the clock is set back, a local time before this one may come again after it.
        first: datetime | None = None
        until = here + FAR
        for time in CronSim(self._expression, here - shift):
            if time > until:
                break
            for found in _instants(time, self.zone):
                if found > instant and (first is None or found < first):
                    until = time + shift if first is None else until
                    first = found
        return None if first is None else _us(first)

    def upcoming(self, instant_us: int) -> Iterator[int]:
        """The instants after this one."""
        found = self.next_after(instant_us)
        while found is not None:
            yield found
            found = self.next_after(found)

    def upcoming_few(self, instant_us: int) -> list[int]:
        """List the next scheduled times, as many as the API shows."""
        return list(islice(self.upcoming(instant_us), UPCOMING_MAX))

    def fires_at_us(self, scheduled_us: int, deployment_id: str) -> int:
        """Return when a firing is due: a little after its time, so that not all deployments fire at once.
        Made of the id alone, so that every process says the same; never later than the next scheduled
        time."""
        following = self.next_after(scheduled_us)
        interval = JITTER_MAX_US * 100 if following is None else following - scheduled_us
        most = min(max(interval * JITTER_PERCENT // 100, JITTER_MIN_US), JITTER_MAX_US)
        part = int.from_bytes(hashlib.sha256(deployment_id.encode()).digest()[:4]) / 2**32
        return scheduled_us + int(most * part)


def _instants(time: datetime, zone: ZoneInfo) -> list[datetime]:
    """When a local time is: never, once or twice."""
    both = [time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    there = [one for one in both if one.astimezone(zone).replace(tzinfo=None, fold=0) == time]
    return sorted(set(there))


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _us(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)
