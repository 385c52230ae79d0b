"""Caps per period: which there are, what their accounts on the workspace's stream are called, and when a period ends.
Pure.

A cap is two accounts. `cap/SUBJECT/PERIOD` says how much each period may have and is never spent from;
`cap/SUBJECT/PERIOD/LABEL` is that of one period, opened when the first call in it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

from remit.values import Account, OpenAccount, Unit

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)
WORKSPACE = "workspace"
"""The subject of a cap on everything that a workspace spends; other subjects are keys' ids."""
_PREFIX = "cap"
_SEPARATOR = "/"


class CapName(NamedTuple):
    """The name of a cap: whose it is, and how often it begins anew."""

    subject: str
    period: Period

    @property
    def purpose(self) -> str:
        """The account that says how much."""
        return _SEPARATOR.join((_PREFIX, *self))

    def purpose_at(self, at: datetime) -> str:
        """The account of the period around this time."""
        return _SEPARATOR.join((_PREFIX, *self, label(self.period, at)))


class Cap(NamedTuple):
    """A cap in one unit, with the account of one of its periods as it stands or will be opened."""

    name: CapName
    unit: Unit
    amount: int
    account: Account

    @property
    def opening(self) -> OpenAccount:
        """Opens the period's account; nothing happens where it is."""
        return OpenAccount(unit=self.unit, purpose=self.account.purpose, cap=self.amount)


def is_cap(purpose: str) -> bool:
    """Return whether an account is a cap's, so that what is booked there is booked elsewhere too."""
    return purpose.startswith(_PREFIX + _SEPARATOR)


def of_what(purpose: str) -> str:
    """` of the cap of key … for 2026-11`, or nothing where it is no cap's account."""
    if not is_cap(purpose):
        return ""
    _, subject, _, period = purpose.split(_SEPARATOR)
    whose = "this workspace" if subject == WORKSPACE else f"key {subject!r}"
    return f" of the cap of {whose} for {period}"


def names_for(subjects: Iterable[str]) -> Iterator[CapName]:
    """Yield the name of every cap that these subjects may have."""
    return (CapName(subject, period) for subject in subjects for period in PERIODS)


def purposes_for(names: Iterable[CapName], at: datetime) -> tuple[str, ...]:
    """The accounts to read for these caps and this time."""
    return tuple(purpose for name in names for purpose in (name.purpose, name.purpose_at(at)))


def caps_in(accounts: Sequence[Account], at: datetime) -> list[Cap]:
    """The caps that bind at this time, by name and unit."""
    by_key: dict[tuple[str, Unit], Account] = {
        (account.purpose, account.unit): account for account in accounts
    }
    found: list[Cap] = []
    for (purpose, unit), account in sorted(by_key.items()):
        name = _name_of(purpose)
        if name is None or account.cap is None:
            continue
        current = name.purpose_at(at)
        opened = by_key.get((current, unit)) or Account(
            stream_id=account.stream_id, unit=unit, purpose=current, cap=account.cap
        )
        found.append(Cap(name, unit, account.cap, opened))
    return found


def label(period: Period, at: datetime) -> str:
    """The period around this time: `2026-11-30`, `2026-W49`, `2026-11`."""
    at = at.astimezone(UTC)
    match period:
        case "day":
            return f"{at:%Y-%m-%d}"
        case "week":
            year, week, _ = at.isocalendar()
            return f"{year:04}-W{week:02}"
        case "month":
            return f"{at:%Y-%m}"


def begins_anew(period: Period, at: datetime) -> datetime:
    """Return when the next period begins: at midnight UTC, weeks on a Monday."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return day + timedelta(days=1)
        case "week":
            return day + timedelta(days=7 - day.weekday())
        case "month":
            return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _name_of(purpose: str) -> CapName | None:
    prefix, *rest = purpose.split(_SEPARATOR)
    if prefix != _PREFIX or len(rest) != 2:
        return None
    subject, period = rest
    return next((CapName(subject, known) for known in PERIODS if known == period), None)
