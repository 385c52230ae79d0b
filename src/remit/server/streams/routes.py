"""Routes of streams of every kind: the object, its events, `/why`, `/check`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic

import msgspec
from starlette.types import ASGIApp

from remit.errors import NotFound
from remit.orchestrator.check import check_stream
from remit.schema import stream_operations as any_stream
from remit.schema.events import EventPaging, EventsAfter
from remit.schema.lists import encode_list
from remit.schema.operation import NoQuery
from remit.schema.stream_operations import StreamView, stream_operations
from remit.server.operations.requests import encoded_response, json_response
from remit.server.operations.router import Call, Route
from remit.server.operations.services import Services
from remit.server.streams.event_list import EventFilter, PagePlace, list_events
from remit.server.streams.sse import every_type, stream_response
from remit.streams.kinds import S
from remit.streams.streams import Streams
from remit.values import JsonObject, Principal


def stream_routes(services: Services) -> Iterator[Route]:
    """Yield the routes of every kind that is shown; and those that take a stream of any of them."""
    of_kinds = {
        kind.name: _StreamRoutes[Any](services, services.streams[kind.name]) for kind in services.kinds.shown
    }
    for routes in of_kinds.values():
        yield from routes.routes()

    def of(stream_id: str) -> _StreamRoutes[Any]:
        kind = services.kinds.of_id(stream_id)
        if kind is None or kind.name not in of_kinds:
            raise NotFound(f"No stream {stream_id!r} in this workspace.")
        return of_kinds[kind.name]

    async def why(call: Call[None, NoQuery], stream_id: str) -> ASGIApp:
        return await of(stream_id).why(call, stream_id=stream_id)

    async def check(call: Call[None, NoQuery], stream_id: str) -> ASGIApp:
        return await of(stream_id).check(call, stream_id=stream_id)

    yield Route(any_stream.WHY, why)
    yield Route(any_stream.CHECK, check)


class _StreamRoutes(Generic[S]):
    """Of one kind; its id is the one parameter of the paths. Reads what is durable now; asks no worker and no sandbox."""

    def __init__(self, services: Services, streams: Streams[S]) -> None:
        self._services = services
        self._streams = streams
        self._kind = streams.kind

    def routes(self) -> Iterator[Route]:
        operations = self._kind.operations or stream_operations(self._kind.names, StreamView)
        yield Route(operations.retrieve, self.retrieve)
        if not self._kind.has_own_events:
            yield Route(operations.events, self.events)
            yield Route(operations.stream, self.stream)
        yield Route(operations.why, self.why)
        yield Route(operations.check, self.check)

    async def retrieve(self, call: Call[None, NoQuery], **path: str) -> ASGIApp:
        return json_response(await self._streams.view(call.principal, _id(path)))

    async def events(self, call: Call[None, EventPaging], **path: str) -> ASGIApp:
        head = await self._streams.folds.head(call.principal, _id(path))
        page = await list_events(
            self._services.sessions,
            call.principal,
            head.stream_id,
            PagePlace.read(call.query, head.stream_id, is_ascending=call.query.order == "asc"),
            EventFilter(selects=every_type),
        )
        return encoded_response(encode_list(page.items, page.next_page))

    async def stream(self, call: Call[None, EventsAfter], **path: str) -> ASGIApp:
        state, head = await self._streams.load(call.principal, _id(path))
        return await stream_response(
            self._services,
            call,
            head.stream_id,
            last_types=self._kind.final,
            went_on_at_seq=self._kind.went_on_at_seq(state),
        )

    async def why(self, call: Call[None, NoQuery], **path: str) -> ASGIApp:
        sight = await self._streams.sight_any(call.principal, _id(path))
        answer = await self._kind.explain(sight)
        return json_response({"type": "why", **msgspec.to_builtins(answer)})

    async def check(self, call: Call[None, NoQuery], **path: str) -> ASGIApp:
        services, principal = self._services, call.principal
        head = await self._streams.folds.head(principal, _id(path))
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


def _id(path: dict[str, str]) -> str:
    (stream_id,) = path.values()
    return stream_id
