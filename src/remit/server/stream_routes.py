"""What streams of every kind have in common over HTTP: the object, its events, `/why`, `/check`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from remit.orchestrator.check import check_stream
from remit.schema.lists import encode_list
from remit.server.auth import principal_of
from remit.server.event_list import EVENT_PAGING, EventFilter, EventPaging, list_events
from remit.server.requests import Query, encoded_response, json_response
from remit.server.services import Services
from remit.server.sse import every_type, stream_response
from remit.streams.kinds import S
from remit.streams.streams import Streams
from remit.values import JsonObject, Principal


def stream_routes(services: Services, *, own_events: Collection[str]) -> list[Route]:
    """Of every kind that is shown; kinds of `own_events` list and stream their events by routes of their own."""
    return [
        route
        for kind in services.kinds.shown
        for route in _StreamRoutes(services, services.streams[kind.name]).routes(
            with_events=kind.name not in own_events
        )
    ]


class _StreamRoutes(Generic[S]):
    """Of one kind. Reads what is durable now; asks no worker and no sandbox."""

    def __init__(self, services: Services, streams: Streams[S]) -> None:
        self._services = services
        self._streams = streams
        self._kind = streams.kind

    def routes(self, *, with_events: bool) -> list[Route]:
        one = f"{self._kind.names.path}/{{{self._kind.name}_id}}"
        routes = [
            Route(one, self.retrieve, methods=["GET"]),
            Route(f"{one}/why", self.why, methods=["GET"]),
            Route(f"{one}/check", self.check, methods=["GET"]),
        ]
        if with_events:
            routes += [
                Route(f"{one}/events", self.events, methods=["GET"]),
                Route(f"{one}/events/stream", self.stream, methods=["GET"]),
            ]
        return routes

    async def retrieve(self, request: Request) -> Response:
        Query(request)
        return json_response(await self._streams.view(principal_of(request), self._id(request)))

    async def events(self, request: Request) -> Response:
        query, principal = Query(request, EVENT_PAGING), principal_of(request)
        head = await self._streams.folds.head(principal, self._id(request))
        page = await list_events(
            self._services.sessions,
            principal,
            head.stream_id,
            EventPaging.read(query, head.stream_id),
            EventFilter(selects=every_type),
        )
        return encoded_response(encode_list(page.items, page.next_page))

    async def stream(self, request: Request) -> ASGIApp:
        state, head = await self._streams.load(principal_of(request), self._id(request))
        return await stream_response(
            self._services,
            request,
            head.stream_id,
            last_types=self._kind.final,
            went_on_at_seq=self._kind.went_on_at_seq(state),
        )

    async def why(self, request: Request) -> Response:
        Query(request)
        sight = await self._streams.sight_any(principal_of(request), self._id(request))
        answer = await self._kind.explain(sight)
        return json_response({"type": "why", **msgspec.to_builtins(answer)})

    async def check(self, request: Request) -> Response:
        Query(request)
        services, principal = self._services, principal_of(request)
        head = await self._streams.folds.head(principal, self._id(request))
        report = await check_stream(
            services.sessions,
            principal,
            head.stream_id,
            now_us=services.clock.now_us(),
            kinds=services.kinds,
            serve=self._serve,
        )
        return json_response(report.to_wire())

    async def _serve(self, principal: Principal, kind: str, stream_id: str) -> JsonObject:
        return await self._services.streams[kind].view(principal, stream_id)

    def _id(self, request: Request) -> str:
        return str(request.path_params[f"{self._kind.name}_id"])
