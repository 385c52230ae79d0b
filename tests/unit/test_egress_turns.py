"""One proxy serves all sandboxes: what one of them gives it to search must not keep the others waiting."""

from __future__ import annotations

import asyncio

import pytest

from remit.egress.token_bucket import Turns

pytestmark = pytest.mark.anyio


async def test_between_two_pieces_of_one_sandboxs_work_everybody_else_goes_on() -> None:
    turns, rounds, seen = Turns(), 0, list[int]()

    async def neighbour() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(neighbour())
    done = await asyncio.gather(*(turns.take(lambda: seen.append(rounds)) for _ in range(50)))
    other.cancel()
    assert len(done) == 50
    assert len(set(seen)) == 50, "two pieces in one round of the loop"


async def test_work_that_fails_or_is_given_up_lets_the_next_one_in() -> None:
    turns = Turns()

    def fail() -> None:
        raise ValueError("no")

    first, second, third = (asyncio.create_task(turns.take(work)) for work in (fail, lambda: 2, lambda: 3))
    await asyncio.sleep(0)
    second.cancel()
    assert await third == 3
    with pytest.raises(ValueError, match="no"):
        await first
