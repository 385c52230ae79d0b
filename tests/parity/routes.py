"""The routes of the whole platform, for tests that only read them."""

from __future__ import annotations

from functools import cache

import anyio

from remit.schema.operation import AnyOperation
from remit.server.app import App
from remit.server.operations.router import Route
from remit.testing.platform import platform


@cache
def routes() -> tuple[Route, ...]:
    """All there are, refusals among them."""

    async def read() -> tuple[Route, ...]:
        async with platform(is_at_work=False) as here:
            assert isinstance(here.api, App)
            return here.api.routes

    return anyio.run(read)


def operations() -> tuple[AnyOperation, ...]:
    """Those that are served and described."""
    return tuple(route.operation for route in routes() if route.operation.is_described)
