"""The ASGI application: every route behind one edge that knows who asks and answers every failure in one shape."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route, Router
from starlette.types import Message, Receive, Scope, Send

from remit.errors import RemitError
from remit.hidden import hide_tokens
from remit.schema.streams import SESSION
from remit.server.agents import AgentRoutes
from remit.server.auth import authenticate, remember_principal
from remit.server.empty_lists import EmptyLists
from remit.server.environments import EnvironmentRoutes
from remit.server.events import EventRoutes
from remit.server.files import FileRoutes
from remit.server.openai_errors import send_error
from remit.server.openapi import OpenApiRoutes
from remit.server.preview import Previews
from remit.server.reach import check_reach
from remit.server.refused import refusal_routes
from remit.server.services import Services
from remit.server.session_resources import SessionResourceRoutes
from remit.server.sessions import SessionRoutes
from remit.server.stream_routes import stream_routes
from remit.values import Principal

_log = structlog.get_logger(__name__)


def create_app(
    services: Services, extra_routes: Sequence[Route] = (), previews: Previews | None = None
) -> App:
    """Agents, environments, sessions and their events; `extra_routes` come under the same edge, and so do previews."""
    routes = [
        *AgentRoutes(services).routes(),
        *EnvironmentRoutes(services).routes(),
        *EventRoutes(services).routes(),
        *SessionRoutes(services).routes(),
        *SessionResourceRoutes(services).routes(),
        *stream_routes(services, own_events=(SESSION.name,)),
        *FileRoutes(services).routes(),
        *EmptyLists().routes(),
        *extra_routes,
    ]
    routes += OpenApiRoutes(routes).routes()
    return App(services, [*routes, *refusal_routes(routes)], previews)


class App:
    """An ASGI application. `routes` are all there are, but for what lies behind previews."""

    def __init__(self, services: Services, routes: Sequence[Route], previews: Previews | None = None) -> None:
        self.routes = tuple(routes)
        self._previews = previews
        self._services = services
        self._router = Router(routes=list(routes), redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        request_id = self._services.ids.new("req")
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

        scope["app"] = self  # the router then raises for an unknown path instead of answering in plain text
        scope["request_id"] = request_id
        try:
            if self._previews is not None and self._previews.covers(scope["path"]):
                await self._previews(scope, receive, send_with_id)
                return
            principal = await authenticate(Headers(scope=scope), self._services.catalog, self._services.clock)
            await check_reach(
                principal, scope["method"], scope["path"], self._services.sessions, self._services.kinds
            )
            remember_principal(scope, principal)
            with self._services.admission.admit(scope, principal):
                await self._router(scope, receive, send_with_id)
        except Exception as error:
            if isinstance(error, HTTPException) and error.status_code == 405:
                error = HTTPException(405, headers={"Allow": ", ".join(self._methods(scope))})
            if not isinstance(error, RemitError | HTTPException):
                _log.exception("request_failed", request_id=request_id, path=hide_tokens(scope["path"]))
            if has_started:
                raise  # too late to answer: the server closes the connection
            await send_error(scope["path"], error, request_id, send_with_id)

    def _methods(self, scope: Scope) -> list[str]:
        """What this path takes: each method has a route of its own, and the router knows of the first alone."""
        fitting = (route for route in self.routes if route.matches(scope)[0] is not Match.NONE)
        return sorted({method for route in fitting for method in route.methods or ()})
