"""Threads that work on what belongs to a sandbox: whoever is cancelled waits for them. They cannot be stopped, and would
meet the removal of the folder they work in, or take what nobody gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from remit.shielded import run_shielded

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def to_its_end(
    function: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
) -> Result:
    """Run a function in a thread and return its result; a cancellation goes on once the thread has ended."""
    return await take(lambda: function(*arguments, **named), give_back=lambda _: None)


async def take(function: Callable[[], Result], give_back: Callable[[Result], None]) -> Result:
    """Take something in a thread and return it; where we are cancelled meanwhile it is given back."""
    taken: list[Result] = []

    async def run() -> None:
        taken.append(await asyncio.to_thread(function))

    cancellation = await run_shielded(run())
    if cancellation is not None:
        give_back(taken[0])
        raise cancellation
    return taken[0]
