"""Selecting and paging, for stores in memory."""

from __future__ import annotations

from remit.values import Page


def is_between(time_us: int, after_us: int | None, before_us: int | None) -> bool:
    """Bounds are exclusive."""
    return (after_us is None or time_us > after_us) and (before_us is None or time_us < before_us)


def is_after(page: Page, position: tuple[int, str]) -> bool:
    """Whether an item at this position comes after the page's, in the page's direction."""
    if page.position is None:
        return True
    return position > page.position if page.is_ascending else position < page.position
