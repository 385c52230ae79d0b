"""Demands on an append before a store looks at the stream. A breach is a programming error."""

from __future__ import annotations

from collections.abc import Sequence

from remit.values import Append, NewStream

APPEND_EVENTS_MAX = 10_000


def require_valid_append(append: Append) -> None:
    """Raise AssertionError unless the append can be carried out safely by somebody."""
    if len(append.events) > APPEND_EVENTS_MAX:
        raise AssertionError(f"{len(append.events)} events in one append; at most {APPEND_EVENTS_MAX}")
    if append.epoch is not None or append.expected_seq is not None:
        return
    if not append.events:
        raise AssertionError(
            f"an append to {append.stream_id!r} without events needs an epoch or expected_seq"
        )
    for event in append.events:
        if event.key is None:
            raise AssertionError(
                f"event {event.event_id!r} comes from outside (no epoch, no expected_seq) and so needs a key"
            )


def require_valid_creation(stream: NewStream, append: Append) -> None:
    """Raise AssertionError unless the first append is one to the new stream."""
    if append.stream_id != stream.stream_id:
        raise AssertionError(f"the first append of {stream.stream_id!r} names {append.stream_id!r}")
    if len(append.events) > APPEND_EVENTS_MAX:
        raise AssertionError(f"{len(append.events)} events in one append; at most {APPEND_EVENTS_MAX}")


def referring(ids: Sequence[str]) -> str:
    """Return the ids as one text, each between spaces: what a single one makes stands in what several do."""
    return f" {'  '.join(ids)} " if ids else ""
