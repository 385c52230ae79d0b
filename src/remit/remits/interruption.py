"""Long steps that a person can cut: the step is cancelled as soon as an interrupt or a no is in the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from remit.errors import RemitError
from remit.interfaces import LiveBus
from remit.remits.log import RemitLog

POLL_SECONDS = 2.0
"""The bus is lossy by contract; the log is looked at this often whatever it says."""

CUTTING = ("remit.interrupt", "remit.decline")

T = TypeVar("T")


async def until_cut(log: RemitLog, bus: LiveBus, work: Callable[[], Awaitable[T]]) -> T | None:
    """The result of `work`, or None when an interrupt or a decline came first; then that is pending in the state."""
    results: list[T] = []
    failures: list[RemitError] = []  # raised after the group: callers know them bare, not in groups
    async with bus.subscribe(log.remit_id) as subscription, anyio.create_task_group() as group:

        async def watch() -> None:
            try:
                while not any(command.type in CUTTING for command in log.state.pending):
                    with anyio.move_on_after(POLL_SECONDS):
                        await subscription.next()
                    await log.catch_up()
            except RemitError as error:
                failures.append(error)
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            results.append(await work())
        except RemitError as error:
            failures.append(error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return results[0] if results else None
