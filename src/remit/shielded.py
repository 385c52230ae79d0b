"""Waiting for what must come to its end whatever becomes of who asked for it, and for the first of several things."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio
import anyio.lowlevel


async def run_shielded(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Wait for it to the end although we may be cancelled meanwhile, and return the cancellation.

    Half an append cannot be told from none: a hold whose start we gave up on could stay open for ever. A thread cannot be
    stopped at all. Raises what the work raises, unless we are cancelled too.
    """
    cancellation: asyncio.CancelledError | None = None
    task = asyncio.ensure_future(work)
    with anyio.CancelScope(shield=True):  # against scopes; the loop is against `Task.cancel`
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                cancellation = error
    try:
        await anyio.lowlevel.checkpoint_if_cancelled()
    except asyncio.CancelledError as error:
        cancellation = error
    failure = task.exception()
    if failure is not None:
        raise cancellation or failure
    return cancellation


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when one of these is over; the others are cancelled. What must live on is waited for by `asyncio.wait`."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
