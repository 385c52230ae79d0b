"""/v1/sessions/{id}/events: send, list, stream; the same of the primary thread"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import msgspec
from msgspec.structs import replace
from starlette.types import ASGIApp

from remit.errors import Conflict, HoldRefused, InvalidRequest
from remit.ids import Ids
from remit.resources.budgets import has_priced_verifier, reserve_for_graders
from remit.resources.environment_config import packages_of
from remit.resources.inbound import admit, require_room, stored_events, tool_use_references
from remit.resources.message_files import pin_files, read_rubrics
from remit.resources.outcomes import check_verifiers
from remit.resources.session_kind import SESSION, summarize
from remit.resources.session_wire import pending_events, with_receipt
from remit.schema import events as wire
from remit.schema.lists import Paging, encode_list
from remit.schema.operation import NoQuery
from remit.server.event_list import EventFilter, Place, list_events
from remit.server.publishing import publish_received
from remit.server.requests import encoded_response, json_response
from remit.server.routes import Call, handles
from remit.server.services import Services
from remit.server.sessions import require_primary_thread
from remit.server.sse import every_type, stream_response
from remit.session.events import received
from remit.session.rows import FilesPinned
from remit.session.state import INPUT_TYPES_STARTING, SessionState
from remit.streams.deciding import decide
from remit.values import Account, Append, Appended, JsonObject, NewEvent, Principal

IDEMPOTENCY_KEY_LENGTH_MAX = 255


class EventRoutes:
    """Send, list and stream events of sessions."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handles(wire.SEND)
    async def send(self, call: Call[wire.SendEvents, NoQuery], session_id: str) -> ASGIApp:
        services, principal, given = self._services, call.principal, call.body.events
        key = call.request.headers.get("idempotency-key")
        new_id = _id_maker(services.ids, session_id, key)
        sent = await read_rubrics(services.files, principal, given)
        events = stored_events(sent, lambda index: new_id("sevt", index), lambda index: new_id("outc", index))
        state, _ = await services.states.load(principal, session_id)
        if key is not None:
            repeated = await self._answer_to_repeat(principal, state, events, new_id)
            if repeated is not None:
                return repeated
        await check_verifiers(
            services.verifiers,
            principal,
            events,
            state.agent,
            cast("Sequence[str]", state.created.get("toolchains") or ()),
            has_packages=bool(packages_of(cast("JsonObject", state.created.get("config") or {}))),
        )
        known = await self._known_uses(principal, session_id, tool_use_references(given))
        files = await pin_files(services.files, principal, sent)
        if files:
            needed = [str(file["sha256"]) for file in files.values()]
            await services.blobs.keep(principal, session_id, needed)
        appended = await self._receive(principal, session_id, sent, events, known, files)
        if appended.is_duplicate:
            # Another request with this key came at the same time and was first; its events may be others.
            repeated = await self._answer_to_repeat(principal, state, events, new_id)
            assert repeated is not None, "the events of the first one are there"
            return repeated
        shown = [
            with_receipt(event, max(row.created_at_us, state.last_processed_us))
            for event, row in zip(events, appended.rows[: len(events)], strict=True)
        ]
        return json_response({"data": shown})

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
        place = Place.read(query, session_id, is_ascending=is_ascending)
        state, _ = await self._services.states.load(principal, session_id)
        page = await list_events(
            self._services.sessions, principal, session_id, place, shown, pending_events(state)
        )
        return encoded_response(encode_list(page.items, page.next_page))

    async def _receive(
        self,
        principal: Principal,
        session_id: str,
        params: Sequence[wire.InboundEvent],
        events: Sequence[JsonObject],
        known: Mapping[str, JsonObject],
        files: dict[str, JsonObject],
    ) -> Appended:
        """Admit and append, in one decision; again when the session moved on in between."""
        services = self._services
        echoes = {
            str(event["id"]): with_receipt(event, 0)
            for event in events
            if event["type"] not in wire.STAMPED_ON_RECEIPT
        }

        async def attempt() -> Appended:
            state, _, accounts = await services.states.load_all(principal, session_id)
            admit(state, params, known)
            require_room(state, events)
            append = _receipt(
                state,
                (
                    *(received(event, key=str(event["id"]), batch=str(events[0]["id"])) for event in events),
                    *_pins(services.ids, events, files),
                ),
                events,
                accounts,
                now_us=services.clock.now_us(),
            )
            # A state grows while others are asked.
            is_queued = state.status != "idle" or bool(state.pending)
            appended = await services.sessions.append(principal, append)
            publish_received(services, append, appended, echoes if is_queued else {})
            return appended

        try:
            return await decide(attempt)
        except HoldRefused as error:
            raise InvalidRequest(f"`events`: {error.message}", code=error.code) from error

    async def _known_uses(
        self, principal: Principal, session_id: str, references: Mapping[str, str]
    ) -> Mapping[str, JsonObject]:
        known: dict[str, JsonObject] = {}
        for event_id in references:
            for row in await self._services.sessions.find_events(principal, session_id, event_id):
                if row.visibility == "public":
                    known[event_id] = msgspec.json.decode(row.body)
        return known

    async def _answer_to_repeat(
        self,
        principal: Principal,
        state: SessionState,
        events: Sequence[JsonObject],
        new_id: Callable[[str, int], str],
    ) -> ASGIApp | None:
        """What the first request with this Idempotency-Key was answered, if there was one."""
        sessions, session_id = self._services.sessions, state.session_id
        shown: list[JsonObject] = []
        for index, event in enumerate(events):
            rows = await sessions.find_events(principal, session_id, str(event["id"]))
            if not rows and index == 0:
                return None
            stored = [cast("JsonObject", msgspec.json.decode(row.body)) for row in rows]
            if not rows or stored[0].get("event") != event:
                raise _is_other_body()
            is_consumed = rows[-1].visibility == "public"
            shown.append(stored[-1] if is_consumed else with_receipt(event, rows[0].created_at_us))
        if await sessions.find_events(principal, session_id, new_id("sevt", len(events))):
            raise _is_other_body()
        return json_response({"data": shown})


def _pins(ids: Ids, events: Sequence[JsonObject], files: dict[str, JsonObject]) -> tuple[NewEvent, ...]:
    """Which bytes the files were when they were sent."""
    if not files:
        return ()
    return (FilesPinned(id=ids.new("sevt"), files=files).as_row(key=f"{events[0]['id']}:files"),)


def _receipt(
    state: SessionState,
    rows: tuple[NewEvent, ...],
    events: Sequence[JsonObject],
    accounts: Sequence[Account],
    *,
    now_us: int,
) -> Append:
    """Input is always appended; while the session rests, only if it still rests as it was when the route decided."""
    is_resting = state.status == "idle"
    reason = (state.stop_reason or {}).get("type")
    starts = (
        is_resting
        and reason not in ("requires_action", "budget_reached")
        and any(event["type"] in INPUT_TYPES_STARTING for event in events)
    )
    return Append(
        stream_id=state.session_id,
        events=rows,
        expected_seq=state.seq if is_resting else None,
        effects=reserve_for_graders(accounts) if has_priced_verifier(events) else (),
        wake_at_us=now_us,
        summary=replace(summarize(state), status="running") if starts else None,
    )


def _id_maker(ids: Ids, session_id: str, idempotency_key: str | None) -> Callable[[str, int], str]:
    """Fresh ids; with a key the same ids for the same key, so that a repeat is recognised by its first event."""
    if idempotency_key is None:
        return lambda prefix, index: ids.new(prefix)
    if not 1 <= len(idempotency_key) <= IDEMPOTENCY_KEY_LENGTH_MAX:
        raise InvalidRequest(f"`Idempotency-Key`: must have 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} characters.")

    def derive(prefix: str, index: int) -> str:
        digest = hashlib.sha256(f"{session_id}\n{idempotency_key}\n{index}".encode()).hexdigest()
        return f"{prefix}_{digest[:32]}"

    return derive


def _is_of_thread(type: str) -> bool:
    """A thread shows its own trace and status; what concerns the session as a whole stays on the session's stream."""
    return not type.startswith("session.") or type.startswith(("session.thread_status_", "session.error"))


def _is_other_body() -> Conflict:
    return Conflict("`Idempotency-Key`: was used for other events in this session; use a new key.")
