"""A platform on a TCP port of this machine that remembers what came, for clients that are programs of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from remit.testing.platform import platform


@dataclass
class Served:
    """Where it is, and the requests that came."""

    url: str = ""
    requests: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path, query, headers."""


@asynccontextmanager
async def served_platform(folder: Path) -> AsyncGenerator[Served]:
    """Key `rk_one`."""
    served = Served()

    def remembering(app: ASGIApp) -> ASGIApp:
        async def remember(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                query = scope["query_string"].decode()
                served.requests.append((scope["method"], scope["path"], query, headers))
            await app(scope, receive, send)

        return remember

    async with platform(folder, size="http", around=remembering) as here:
        served.url = here.url
        yield served
