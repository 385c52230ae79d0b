"""/v1/sessions/{id}/events: send, list, stream; the same of the primary thread"""

from __future__ import annotations

from starlette.types import ASGIApp

from remit.schema import events as wire
from remit.schema.lists import Paging, encode_list
from remit.schema.operation import NoQuery
from remit.server.operations.requests import encoded_response, json_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.routes.sessions import require_primary_thread
from remit.server.streams.event_list import EventFilter, PagePlace, list_events
from remit.server.streams.sse import every_type, stream_response
from remit.sessions.kind import SESSION
from remit.sessions.wire import pending_events
from remit.values import Principal

IDEMPOTENCY_KEY_LENGTH_MAX = 255


class EventRoutes:
    """Send, list and stream events of sessions."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handles(wire.SEND)
    async def send(self, call: Call[wire.SendEvents, NoQuery], session_id: str) -> ASGIApp:
        key = call.request.headers.get("idempotency-key")
        sent = await self._services.sending.send(call.principal, session_id, call.body.events, key=key)
        return json_response({"data": list(sent.events)})

    @handles(wire.LIST)
    async def list(self, call: Call[None, wire.SessionEventPaging], session_id: str) -> ASGIApp:
        query = call.query
        shown = EventFilter(
            selects=query.types.__contains__ if query.types else every_type,
            after_us=query.created_after_us,
            before_us=query.created_before_us,
        )
        return await self._list(call.principal, session_id, query, shown, is_ascending=query.order == "asc")

    @handles(wire.STREAM, wire.STREAM_BY_ITS_OTHER_NAME)
    async def stream(self, call: Call[None, wire.SessionEventsAfter], session_id: str) -> ASGIApp:
        await self._services.states.load(call.principal, session_id)
        return await stream_response(
            self._services, call, session_id, last_types=SESSION.final, deltas=call.query.event_deltas
        )

    @handles(wire.LIST_OF_THREAD)
    async def list_of_thread(
        self, call: Call[None, wire.ThreadEventPaging], session_id: str, thread_id: str
    ) -> ASGIApp:
        await self._require_thread(call.principal, session_id, thread_id)
        return await self._list(call.principal, session_id, call.query, EventFilter(selects=_is_of_thread))

    @handles(wire.STREAM_OF_THREAD, wire.STREAM_OF_THREAD_BY_ITS_OTHER_NAME)
    async def stream_of_thread(
        self, call: Call[None, wire.SessionEventsAfter], session_id: str, thread_id: str
    ) -> ASGIApp:
        await self._require_thread(call.principal, session_id, thread_id)
        return await stream_response(
            self._services,
            call,
            session_id,
            last_types=SESSION.final,
            selects=_is_of_thread,
            deltas=call.query.event_deltas,
        )

    async def _require_thread(self, principal: Principal, session_id: str, thread_id: str) -> None:
        state, _ = await self._services.states.load(principal, session_id)
        require_primary_thread(state, thread_id)

    async def _list(
        self,
        principal: Principal,
        session_id: str,
        query: Paging,
        shown: EventFilter,
        *,
        is_ascending: bool = True,
    ) -> ASGIApp:
        place = PagePlace.read(query, session_id, is_ascending=is_ascending)
        state, _ = await self._services.states.load(principal, session_id)
        page = await list_events(
            self._services.sessions, principal, session_id, place, shown, pending_events(state)
        )
        return encoded_response(encode_list(page.items, page.next_page))


def _is_of_thread(type: str) -> bool:
    """A thread shows its own trace and status; what concerns the session as a whole stays on the session's stream."""
    return not type.startswith("session.") or type.startswith(("session.thread_status_", "session.error"))
