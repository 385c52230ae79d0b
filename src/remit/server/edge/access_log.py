"""One log line for each answered request: no query (links carry tokens there), no body, no header, and
no token of a preview's path."""

from __future__ import annotations

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from remit.clock import Clock
from remit.hidden import hide_tokens

_log = structlog.get_logger(__name__)


class AccessLog:
    """An ASGI application around another one. A stream is logged when it ends."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_us = self._clock.now_us()
        status: int | None = None
        request_id: str | None = None

        async def watch(message: Message) -> None:
            nonlocal status, request_id
            if message["type"] == "http.response.start":
                status = message["status"]
                request_id = Headers(raw=list(message["headers"])).get("request-id")
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            _log.info(
                "request_answered",
                method=scope["method"],
                path=hide_tokens(scope["path"]),
                status=status,
                milliseconds=round((self._clock.now_us() - began_us) / 1_000, 1),
                request_id=request_id,
            )
