"""The invariant checker over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.orchestrator.check import check_stream
from remit.server.auth import principal_of
from remit.server.requests import Query, json_response
from remit.server.services import Services
from remit.streams.kinds import StreamKind
from remit.values import JsonObject, Principal


class CheckRoutes:
    """`/check` of streams of every kind that is shown."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [
            Route(f"{kind.names.path}/{{stream_id}}/check", self._of(kind), methods=["GET"])
            for kind in self._services.kinds.shown
        ]

    def _of(self, kind: StreamKind[Any]) -> Callable[[Request], Awaitable[Response]]:  # Any: of every state
        async def check(request: Request) -> Response:
            Query(request)
            services, principal = self._services, principal_of(request)
            stream_id = str(request.path_params["stream_id"])
            await services.streams[kind.name].folds.head(principal, stream_id)
            report = await check_stream(
                services.sessions,
                principal,
                stream_id,
                now_us=services.clock.now_us(),
                kinds=services.kinds,
                serve=self._serve,
            )
            return json_response(report.to_wire())

        return check

    async def _serve(self, principal: Principal, kind: str, stream_id: str) -> JsonObject:
        return await self._services.streams[kind].view(principal, stream_id)
