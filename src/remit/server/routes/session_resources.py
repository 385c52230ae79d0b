"""/v1/sessions/{id}/resources"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.types import ASGIApp

from remit.errors import NotFound, WrongState
from remit.schema import resources
from remit.schema.lists import encode_list
from remit.schema.operation import NoQuery
from remit.schema.wire import not_supported
from remit.server.operations.cursors import ListCursor, decode_list_cursor, encode
from remit.server.operations.requests import encoded_response, json_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.streams.publishing import publish
from remit.session.machine_rows import ResourceAdded, ResourceRemoved
from remit.session.state import SessionState
from remit.sessions.resources import added_file, check_paths, copy_files, resource_to_wire
from remit.sessions.wire import resources_to_wire
from remit.streams.deciding import decide
from remit.values import Append, JsonObject, NewEvent, Principal


class SessionResourceRoutes:
    """Add, list, retrieve, delete. A session that is at work takes the change before its next turn."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handles(resources.ADD)
    async def add(self, call: Call[resources.FileResourceParams, NoQuery], session_id: str) -> ASGIApp:
        services, principal = self._services, call.principal
        state, _ = await services.states.load(principal, session_id)
        _check_open(state)
        (resource,) = await copy_files(
            services.files,
            principal,
            added_file(call.body),
            session_id=session_id,
            present=state.resources,
            ids=services.ids,
            clock=services.clock,
        )
        try:
            # The session needs the bytes also when the copy is deleted as a file.
            await services.blobs.keep(principal, session_id, [str(resource["sha256"])])

            def added(state: SessionState) -> NewEvent:
                _check_open(state)
                check_paths({"": str(resource["mount_path"])}, state.resources)  # others may have come
                return ResourceAdded(id=services.ids.new("sevt"), resource=resource).as_row()

            await self._append(principal, session_id, added)
        except BaseException:
            await services.files.delete_all(principal, [str(resource["file_id"])])
            raise
        return json_response(resource_to_wire(resource))

    @handles(resources.LIST)
    async def list(self, call: Call[None, resources.ResourcePaging], session_id: str) -> ASGIApp:
        state, _ = await self._services.states.load(call.principal, session_id)
        name, text = f"resources of {session_id}", call.query.page
        start = decode_list_cursor(text, list=name, is_ascending=True).position[0] if text else 0
        shown = resources_to_wire(state)
        page = shown[start : start + call.query.limit]
        end = start + len(page)
        next_page = (
            encode(ListCursor(list=name, is_ascending=True, direction="next", position=(end, "")))
            if end < len(shown)
            else None
        )
        return encoded_response(encode_list([msgspec.json.encode(each) for each in page], next_page))

    @handles(resources.RETRIEVE)
    async def retrieve(self, call: Call[None, NoQuery], session_id: str, resource_id: str) -> ASGIApp:
        state, _ = await self._services.states.load(call.principal, session_id)
        return json_response(resource_to_wire(_find(state, resource_id)))

    @handles(resources.UPDATE)
    async def update(
        self, call: Call[resources.ResourceUpdate, NoQuery], session_id: str, resource_id: str
    ) -> ASGIApp:
        state, _ = await self._services.states.load(call.principal, session_id)
        _find(state, resource_id)
        raise not_supported(
            "authorization_token",
            "only repositories have one, and github_repository resources are",
            "Remove it.",
        )

    @handles(resources.DELETE)
    async def delete(
        self, call: Call[None, NoQuery], session_id: str, resource_id: str
    ) -> resources.SessionResourceDeleted:
        services, principal = self._services, call.principal
        file_id = ""

        def removed(state: SessionState) -> NewEvent:
            nonlocal file_id
            _check_open(state)
            file_id = str(_find(state, resource_id)["file_id"])
            return ResourceRemoved(id=services.ids.new("sevt"), resource_id=resource_id).as_row()

        await self._append(principal, session_id, removed)
        await services.files.delete_all(principal, [file_id])
        return {"id": resource_id, "type": "session_resource_deleted"}

    async def _append(
        self, principal: Principal, session_id: str, choose: Callable[[SessionState], NewEvent]
    ) -> None:
        services = self._services

        async def attempt() -> None:
            state, _ = await services.states.load(principal, session_id)
            append = Append(stream_id=session_id, events=(choose(state),), expected_seq=state.seq)
            publish(services, append, await services.sessions.append(principal, append))

        await decide(attempt)


def _find(state: SessionState, resource_id: str) -> JsonObject:
    resource = state.resources.get(resource_id)
    if resource is None:
        raise NotFound(f"Session {state.session_id!r} has no resource {resource_id!r}.")
    return resource


def _check_open(state: SessionState) -> None:
    if state.archived_at is not None or state.status == "terminated":
        raise WrongState(f"Session {state.session_id!r} has ended and takes no resources; create a new one.")
