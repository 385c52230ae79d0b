"""One suite for every harness: the built-in loop, and one that somebody else might write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from remit.errors import HoldRefused
from remit.harness.loop import BuiltInLoop
from remit.interfaces import Harness, Turn
from remit.testing.harness_suite import CHECKS, lets_the_platforms_exceptions_through
from remit.values import TurnEnd
from support.guest_harness import Guest

pytestmark = pytest.mark.anyio


class Swallowing(Guest):
    """Breaks the contract: a refusal is taken for an end."""

    async def run(self, turn: Turn) -> TurnEnd:
        try:
            return await super().run(turn)
        except HoldRefused:
            return TurnEnd(reason="end_turn")


@pytest.mark.parametrize("make", [BuiltInLoop, Guest])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_harness(
    check: Callable[[Callable[[], Harness]], Awaitable[None]], make: Callable[[], Harness]
) -> None:
    with anyio.fail_after(5):
        await check(make)


async def test_the_suite_notices_a_harness_that_swallows_a_refusal() -> None:
    with pytest.raises(AssertionError, match="swallowed"):
        await lets_the_platforms_exceptions_through(Swallowing)
