"""Reading, deciding, appending under `expected_seq`, and all of it again when the stream moved on in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from remit.errors import RemitError, SequenceConflict
from remit.interfaces import Dispatcher, LiveBus
from remit.values import Append, Appended, LiveItem

ATTEMPTS_MAX = 20
"""How often a decision is made anew when a stream moves on under it."""

T = TypeVar("T")


async def decide(
    attempt: Callable[[], Awaitable[T]],
    *,
    attempts_max: int = ATTEMPTS_MAX,
    again_on: tuple[type[RemitError], ...] = (SequenceConflict,),
) -> T:
    """The result of an attempt that reads, decides and appends what it decided under the `seq` it has read. Raises
    SequenceConflict when somebody else was quicker each time."""
    for _ in range(attempts_max - 1):
        try:
            return await attempt()
        except again_on:
            continue
    return await attempt()


def tell(bus: LiveBus, dispatcher: Dispatcher, append: Append, appended: Appended) -> None:
    """Tell readers of an append that is durable, and the dispatcher if it made something due; not of a duplicate."""
    if appended.is_duplicate:
        return
    bus.publish(LiveItem(stream_id=append.stream_id, rows=appended.rows))
    if append.wake_at_us is not None:
        dispatcher.hint(append.stream_id)
