"""The pages for people."""

from __future__ import annotations

from remit.client.asgi import ASGIApp, Receive, Send
from remit.clock import Clock


class Console:
    """An ASGI application: the pages, and the API for everything else."""

    def __init__(self, api: ASGIApp, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def __call__(self, scope: object, receive: Receive, send: Send) -> None:
        await self._api(scope, receive, send)  # type: ignore[arg-type]
