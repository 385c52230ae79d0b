"""The ASGI application: every route behind one edge that knows who asks and answers every failure in one shape."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from remit.errors import RemitError
from remit.hidden import hide_tokens
from remit.server.description.empty_lists import EmptyLists
from remit.server.description.openapi import OpenApiRoutes
from remit.server.description.refused import refusals
from remit.server.edge.auth import authenticate
from remit.server.edge.error_forms import send_error
from remit.server.edge.scopes import check_scope, scope_of
from remit.server.operations.router import FoundRoute, Route, Router, routes_of
from remit.server.operations.services import Services
from remit.server.routes.agents import AgentRoutes
from remit.server.routes.deployments import DeploymentRoutes
from remit.server.routes.environments import EnvironmentRoutes
from remit.server.routes.events import EventRoutes
from remit.server.routes.files import FileRoutes
from remit.server.routes.memory_stores import MemoryStoreRoutes
from remit.server.routes.session_resources import SessionResourceRoutes
from remit.server.routes.sessions import SessionRoutes
from remit.server.streams.routes import stream_routes
from remit.values import Principal

_log = structlog.get_logger(__name__)

ROUTE_KEY = "remit.route"
"""In the scope: the path of the operation that answers, for whoever counts answers."""


def create_app(services: Services, *handlers: object) -> App:
    """Agents, environments, sessions, their events and files; and what the methods of `handlers` answer."""
    routes = [
        *routes_of(
            AgentRoutes(services),
            EnvironmentRoutes(services),
            EventRoutes(services),
            SessionRoutes(services),
            SessionResourceRoutes(services),
            FileRoutes(services),
            MemoryStoreRoutes(services),
            DeploymentRoutes(services),
            EmptyLists(),
            *handlers,
        ),
        *stream_routes(services),
    ]
    routes += routes_of(OpenApiRoutes(routes))
    return App(services, [*routes, *refusals(routes)])


class App:
    """An ASGI application. `routes` are all there are, refusals among them; `operations` are those that are described."""

    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self.operations = tuple(one.operation for one in routes if one.operation.is_described)
        self._services = services
        self._router = Router(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)  # the only other thing that is served to us
            return
        request_id = scope["request_id"] = self._services.ids.new("req")
        found = self._router.find(scope["method"], scope["path"])
        principal: Principal | None = None
        has_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                headers = MutableHeaders(scope=message)
                headers["request-id"] = request_id
                if principal is not None:
                    headers["anthropic-workspace-id"] = principal.workspace_id
            await send(message)

        try:
            route = found.route
            if route is not None:
                scope[ROUTE_KEY] = route.operation.plain_path
            if route is not None and route.operation.scope == "anybody":
                await self._answer(route, found, None, scope, receive, send_with_id)
                return
            principal = await authenticate(Headers(scope=scope), self._services.catalog, self._services.clock)
            if route is None:
                await check_scope(principal, scope_of(scope["method"]), {}, self._services.sessions)
                raise _no_route(found)
            await check_scope(principal, route.operation.scope, found.path, self._services.sessions)
            with self._services.admission.admit(route.operation.gate, scope, principal):
                await self._answer(route, found, principal, scope, receive, send_with_id)
        except Exception as error:
            if not isinstance(error, RemitError | HTTPException):
                _log.exception("request_failed", request_id=request_id, path=hide_tokens(scope["path"]))
            if has_started:
                raise  # too late to answer: the server closes the connection
            form = found.route.operation.error_form if found.route is not None else "remit"
            await send_error(form, error, request_id, send_with_id)

    async def _answer(
        self,
        route: Route,
        found: FoundRoute,
        caller: Principal | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        response = await route.answer(
            Request(scope, receive, send),
            caller,
            found.path,
            body_bytes_max=self._services.settings.body_bytes_max,
        )
        await response(scope, receive, send)


def _no_route(found: FoundRoute) -> HTTPException:
    if not found.methods:
        return HTTPException(404)
    return HTTPException(405, headers={"Allow": ", ".join(sorted(found.methods))})
