"""The routes of the whole platform, for tests that only read them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import anyio

from api.whole import whole_platform
from remit.schema.operation import AnyOperation
from remit.server.app import App
from remit.server.routes import Route


@cache
def routes() -> tuple[Route, ...]:
    """All there are, refusals among them."""

    async def read() -> tuple[Route, ...]:
        with tempfile.TemporaryDirectory() as folder:
            async with whole_platform(Path(folder)) as assembled:
                assert isinstance(assembled.asgi, App)
                return assembled.asgi.routes

    return anyio.run(read)


def operations() -> tuple[AnyOperation, ...]:
    """Those that are served and described."""
    return tuple(route.operation for route in routes() if route.operation.is_described)
