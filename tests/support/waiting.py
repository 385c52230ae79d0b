"""Waiting for what no event tells: another process, a thread, a file."""

from __future__ import annotations

from collections.abc import Callable

import anyio

POLL_SECONDS = 0.005
WAIT_SECONDS = 30


async def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fail when it does not within half a minute.

    It sleeps between looks: a loop that only yields keeps the interpreter's lock from the thread it waits for.
    """
    with anyio.fail_after(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 there is no event
            await anyio.sleep(POLL_SECONDS)
