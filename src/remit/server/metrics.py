"""`GET /metrics`: for an operator's key, or for anybody where the setting `metrics_open` says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from remit.server.auth import principal_of
from remit.server.reach import METRICS_PATH, require_operator
from remit.server.requests import Query

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Render = Callable[[], Awaitable[bytes]]


class MetricsRoutes:
    """Behind the API's edge, with a key."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def routes(self) -> list[Route]:
        return [Route(METRICS_PATH, self.metrics, methods=["GET"])]

    async def metrics(self, request: Request) -> Response:
        Query(request)
        require_operator(principal_of(request))
        return Response(await self._render(), headers={"content-type": CONTENT_TYPE})


class OpenMetrics:
    """An ASGI application in front of the API: answers `/metrics` without a key."""

    def __init__(self, app: ASGIApp, render: Render) -> None:
        self._app = app
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == METRICS_PATH and scope["method"] in ("GET", "HEAD"):
            answer = Response(await self._render(), headers={"content-type": CONTENT_TYPE})
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)
