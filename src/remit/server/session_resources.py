"""/v1/sessions/{id}/resources"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.errors import NotFound, WrongState
from remit.resources.session_resources import check_paths, copy_resources, resource_to_wire
from remit.schema.lists import encode_list
from remit.schema.resources import RESOURCES_LIMIT_MAX, ResourceUpdate, decode_resource
from remit.schema.wire import not_supported
from remit.server.auth import principal_of
from remit.server.cursors import ListCursor, decode_list_cursor, encode
from remit.server.publishing import publish
from remit.server.requests import Query, encoded_response, json_response, read_body, read_nothing, read_params
from remit.server.services import Services
from remit.session.machine_rows import ResourceAdded, ResourceRemoved
from remit.session.state import SessionState
from remit.streams.deciding import decide
from remit.values import Append, JsonObject, NewEvent, Principal


class SessionResourceRoutes:
    """Add, list, retrieve, delete. A session that is at work takes the change before its next turn."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """In the order of the API's documentation."""
        all, one = "/v1/sessions/{session_id}/resources", "/v1/sessions/{session_id}/resources/{resource_id}"
        return [
            Route(all, self.add, methods=["POST"]),
            Route(all, self.list, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST", "PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
        ]

    async def add(self, request: Request) -> Response:
        Query(request)
        services, principal = self._services, principal_of(request)
        session_id: str = request.path_params["session_id"]
        body = await read_body(request, bytes_max=services.settings.body_bytes_max)
        params = decode_resource(body)
        state, _ = await services.states.load(principal, session_id)
        _check_open(state)
        (resource,) = await copy_resources(
            services.files,
            principal,
            [params],
            session_id=session_id,
            present=state.resources,
            ids=services.ids,
            clock=services.clock,
            field=None,
        )
        try:
            # The session needs the bytes also when the copy is deleted as a file.
            await services.blobs.keep(principal, session_id, [str(resource["sha256"])])

            def added(state: SessionState) -> NewEvent:
                _check_open(state)
                check_paths([str(resource["mount_path"])], state.resources, None)  # others may have come
                return ResourceAdded(id=services.ids.new("sevt"), resource=resource).as_row()

            await self._append(principal, session_id, added)
        except BaseException:
            await services.files.delete_all(principal, [str(resource["file_id"])])
            raise
        return json_response(resource_to_wire(resource))

    async def list(self, request: Request) -> Response:
        query = Query(request, ("limit", "page"))
        session_id: str = request.path_params["session_id"]
        state, _ = await self._services.states.load(principal_of(request), session_id)
        name = f"resources of {session_id}"
        limit = query.number("limit", minimum=1, maximum=RESOURCES_LIMIT_MAX, default=RESOURCES_LIMIT_MAX)
        text = query.text("page")
        start = decode_list_cursor(text, list=name, is_ascending=True).position[0] if text else 0
        resources = list_resources(state)
        page = resources[start : start + limit]
        end = start + len(page)
        next_page = (
            encode(ListCursor(list=name, is_ascending=True, direction="next", position=(end, "")))
            if end < len(resources)
            else None
        )
        return encoded_response(encode_list([msgspec.json.encode(each) for each in page], next_page))

    async def retrieve(self, request: Request) -> Response:
        Query(request)
        state, _ = await self._services.states.load(principal_of(request), request.path_params["session_id"])
        return json_response(resource_to_wire(_find(state, request.path_params["resource_id"])))

    async def update(self, request: Request) -> Response:
        Query(request)
        await read_params(request, ResourceUpdate, bytes_max=1 << 16)
        state, _ = await self._services.states.load(principal_of(request), request.path_params["session_id"])
        _find(state, request.path_params["resource_id"])
        raise not_supported(
            "authorization_token",
            "only repositories have one, and github_repository resources are",
            "Remove it.",
        )

    async def delete(self, request: Request) -> Response:
        Query(request)
        await read_nothing(request)
        services, principal = self._services, principal_of(request)
        session_id: str = request.path_params["session_id"]
        resource_id: str = request.path_params["resource_id"]
        file_id = ""

        def removed(state: SessionState) -> NewEvent:
            nonlocal file_id
            _check_open(state)
            file_id = str(_find(state, resource_id)["file_id"])
            return ResourceRemoved(id=services.ids.new("sevt"), resource_id=resource_id).as_row()

        await self._append(principal, session_id, removed)
        await services.files.delete_all(principal, [file_id])
        return json_response({"id": resource_id, "type": "session_resource_deleted"})

    async def _append(
        self, principal: Principal, session_id: str, choose: Callable[[SessionState], NewEvent]
    ) -> None:
        services = self._services

        async def attempt() -> None:
            state, _ = await services.states.load(principal, session_id)
            append = Append(stream_id=session_id, events=(choose(state),), expected_seq=state.seq)
            publish(services, append, await services.sessions.append(principal, append))

        await decide(attempt)


def list_resources(state: SessionState) -> list[JsonObject]:
    """All of a session's resources as the API shows them, in the order in which they came."""
    return [resource_to_wire(resource) for resource in state.resources.values()]


def _find(state: SessionState, resource_id: str) -> JsonObject:
    resource = state.resources.get(resource_id)
    if resource is None:
        raise NotFound(f"Session {state.session_id!r} has no resource {resource_id!r}.")
    return resource


def _check_open(state: SessionState) -> None:
    if state.archived_at is not None or state.status == "terminated":
        raise WrongState(f"Session {state.session_id!r} has ended and takes no resources; create a new one.")
