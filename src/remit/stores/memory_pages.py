"""Selecting and paging, for stores in memory."""

from __future__ import annotations

from collections.abc import Collection

from remit.values import Page, StreamFilter, StreamHead


def is_between(time_us: int, after_us: int | None, before_us: int | None) -> bool:
    """Bounds are exclusive."""
    return (after_us is None or time_us > after_us) and (before_us is None or time_us < before_us)


def is_after(page: Page, position: tuple[int, str]) -> bool:
    """Return whether an item at this position comes after the page's, in the page's direction."""
    if page.position is None:
        return True
    return position > page.position if page.is_ascending else position < page.position


def stream_position(head: StreamHead) -> tuple[int, str]:
    """Return the position of a stream in lists."""
    return head.created_at_us, head.stream_id


def matches(filter: StreamFilter, head: StreamHead, refers_to: Collection[str]) -> bool:
    """Return whether every given field of the filter matches."""
    return (
        head.kind == filter.kind
        and (not filter.statuses or head.summary.status in filter.statuses)
        and (filter.agent_id is None or head.summary.agent_id == filter.agent_id)
        and (filter.agent_version is None or head.summary.agent_version == filter.agent_version)
        and (filter.parent_stream_id is None or head.parent_stream_id == filter.parent_stream_id)
        and (filter.refers_to is None or filter.refers_to in refers_to)
        and (filter.include_archived or head.summary.archived_at_us is None)
        and (filter.due_by_us is None or _is_due(head, filter.due_by_us))
        and is_between(head.created_at_us, filter.created_after_us, filter.created_before_us)
    )


def _is_due(head: StreamHead, by_us: int) -> bool:
    return head.owner is not None or (head.wake_at_us is not None and head.wake_at_us <= by_us)
