"""`GET /metrics`: for an operator's key, or for anybody where the setting `metrics_open` says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import ASGIApp

from remit.schema.operation import NoQuery, Operation
from remit.server.operations.router import Call, handles

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

METRICS = Operation(
    "GET",
    "/metrics",
    "Metrics of this process, as Prometheus reads them",
    answer=bytes,
    scope="operator",
    gate="unlimited",  # whoever looks why the server is full must not be refused for it
)
OPEN_METRICS = Operation(
    "GET",
    METRICS.path,
    "Metrics of this process, as Prometheus reads them, without a key",
    answer=bytes,
    scope="anybody",
    gate="unlimited",
)

Render = Callable[[], Awaitable[bytes]]


class MetricsRoutes:
    """Behind the API's edge, with a key."""

    def __init__(self, render: Render) -> None:
        self._render = render

    @handles(METRICS)
    async def metrics(self, call: Call[None, NoQuery]) -> ASGIApp:
        return await _answer(self._render)


class OpenMetricsRoutes:
    """The same for anybody."""

    def __init__(self, render: Render) -> None:
        self._render = render

    @handles(OPEN_METRICS)
    async def metrics(self, call: Call[None, NoQuery]) -> ASGIApp:
        return await _answer(self._render)


async def _answer(render: Render) -> Response:
    return Response(await render(), headers={"content-type": CONTENT_TYPE})
