"""Threads that work on what belongs to a sandbox: whoever is cancelled waits for them. They cannot be stopped, and would
meet the removal of the folder they work in, or take what nobody gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import anyio
import anyio.lowlevel

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def to_its_end(
    function: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
) -> Result:
    """Run a function in a thread and return its result; a cancellation goes on once the thread has ended."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    cancellation = await _ended(task)
    if cancellation is not None:
        if not task.cancelled():
            task.exception()  # nobody else is told of it
        raise cancellation
    return task.result()


async def take(function: Callable[[], Result], give_back: Callable[[Result], None]) -> Result:
    """Take something in a thread and return it; where we are cancelled meanwhile it is given back."""
    task = asyncio.ensure_future(asyncio.to_thread(function))
    cancellation = await _ended(task)
    if cancellation is not None:
        if not task.cancelled() and task.exception() is None:
            give_back(task.result())
        raise cancellation
    return task.result()


async def _ended(task: asyncio.Future[Result]) -> asyncio.CancelledError | None:
    """Wait for its end, and return the cancellation that came meanwhile."""
    cancellation: asyncio.CancelledError | None = None
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
    return cancellation
