"""The routes of the whole platform, for tests that only read them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import anyio
from starlette.routing import Route

from api.whole import whole_platform
from remit.server.app import App


@cache
def routes() -> tuple[Route, ...]:
    """All there are, refusals among them."""

    async def read() -> tuple[Route, ...]:
        with tempfile.TemporaryDirectory() as folder:
            async with whole_platform(Path(folder)) as assembled:
                assert isinstance(assembled.asgi, App)
                return assembled.asgi.routes

    return anyio.run(read)
