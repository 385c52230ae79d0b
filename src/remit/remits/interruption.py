"""Long steps that a person can cut: the step is cancelled as soon as an interrupt or a no is in the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import structlog

from remit.errors import RemitError
from remit.interfaces import LiveBus
from remit.remits.kind import RemitWriter

POLL_SECONDS = 2.0
"""The bus is lossy by contract; the log is looked at this often whatever it says."""

CUTTING = ("remit.interrupt", "remit.decline")

T = TypeVar("T")
logger = structlog.get_logger(__name__)


async def until_cut(
    log: RemitWriter, bus: LiveBus, work: Callable[[], Awaitable[T]], failed: Callable[[str], T]
) -> T | None:
    """The result of `work`, or None when an interrupt or a decline came first; then that is pending in the state.
    `failed` makes the result of work that broke off for a reason nobody foresaw: tried again, it would for ever."""
    results: list[T] = []
    failures: list[RemitError] = []  # raised after the group: callers know them bare, not in groups
    async with bus.subscribe(log.stream_id) as subscription, anyio.create_task_group() as group:

        async def watch() -> None:
            try:
                while not any(command.type in CUTTING for command in log.state.pending):
                    with anyio.move_on_after(POLL_SECONDS):
                        await subscription.next()
                    await log.catch_up()
            except RemitError as error:
                failures.append(error)
            group.cancel_scope.cancel()

        async def carry_out() -> None:
            # A task of its own: what is left of a cancellation inside the work stays in it.
            try:
                results.append(await work())
            except RemitError as error:
                failures.append(error)
            except Exception as error:
                logger.exception("remit_step_failed", remit_id=log.stream_id)
                results.append(failed(f"{type(error).__name__}: {error}"))
            except anyio.get_cancelled_exc_class():
                if group.cancel_scope.cancel_called:
                    raise
                logger.exception("remit_step_failed", remit_id=log.stream_id)
            group.cancel_scope.cancel()

        group.start_soon(watch)
        group.start_soon(carry_out)
    if failures:
        raise failures[0]
    if results:
        return results[0]
    if any(command.type in CUTTING for command in log.state.pending):
        return None
    return failed("it was cut off from within")
