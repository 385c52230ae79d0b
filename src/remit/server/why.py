"""`/why` of streams: where they are and for whom they wait, from the log and the store's row alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.server.auth import principal_of
from remit.server.requests import Query, json_response
from remit.server.services import Services
from remit.streams.kinds import StreamKind


class WhyRoutes:
    """Reads what is durable now; asks no worker and no sandbox."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [
            Route(f"{kind.names.path}/{{{kind.name}_id}}/why", self._of(kind), methods=["GET"])
            for kind in self._services.kinds.shown
            if kind.explain is not None
        ]

    def _of(self, kind: StreamKind[Any]) -> Callable[[Request], Awaitable[Response]]:  # Any: of every state
        async def why(request: Request) -> Response:
            Query(request)
            streams, principal = self._services.streams[kind.name], principal_of(request)
            assert kind.explain is not None, "others have no route"
            stream_id = str(request.path_params[f"{kind.name}_id"])
            answer = await kind.explain(await streams.sight_any(principal, stream_id))
            return json_response({"type": "why", **msgspec.to_builtins(answer)})

        return why
