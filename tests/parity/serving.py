"""The whole platform on a TCP port of this machine, for clients that are programs of their own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from api.whole import whole_platform


@dataclass
class Served:
    """Where it is, and the requests that came."""

    url: str
    requests: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path, query, headers."""


class _Server(uvicorn.Server):
    """Without signal handlers: the test ends it."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


@asynccontextmanager
async def served_platform(folder: Path, *, has_worker: bool = True) -> AsyncGenerator[Served]:
    """Key `rk_one`. Without a worker nothing that is asked for is carried out."""
    async with whole_platform(folder) as platform:
        listener = socket.create_server(("127.0.0.1", 0))
        served = Served(f"http://127.0.0.1:{listener.getsockname()[1]}")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                query = scope["query_string"].decode()
                served.requests.append((scope["method"], scope["path"], query, headers))
            await platform.asgi(scope, receive, send)

        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        working = [asyncio.create_task(platform.worker.run())] if has_worker else []
        try:
            yield served
        finally:
            server.should_exit = True
            await serving
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
