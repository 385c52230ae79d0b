"""The HTTP edge, observed: an ASGI application around the API."""

from __future__ import annotations

from opentelemetry.trace import Span, SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from remit.telemetry.metrics import Observing
from remit.telemetry.spans import fail, span

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"
"""Of paths that lead nowhere."""
ROUTE_KEY = "remit.route"
"""In the scope: the path of the operation that answers, as the application under the edge says it."""
_EVENT_STREAM = b"text/event-stream"


class ObservedEdge:
    """Counts answers by route and readers of event streams; gives each request a span."""

    def __init__(self, app: ASGIApp, observing: Observing) -> None:
        self._app = app
        self._metrics, self._tracer, self._clock = observing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"
        attributes = {"http.request.method": method}
        with span(self._tracer, method, attributes, kind=SpanKind.SERVER) as made:
            await self._observe(method, made, scope, receive, send)

    async def _observe(
        self, method: str, made: Span | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        started_at = self._clock.monotonic()
        status = 0
        is_stream = False

        async def watch(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(
                    name == b"content-type" and value.startswith(_EVENT_STREAM)
                    for name, value in message.get("headers", ())
                )
                if is_stream:
                    self._metrics.reader_came()
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = route_of(scope)
            if is_stream:
                self._metrics.reader_left()
            else:
                self._metrics.answered(method, route, status, self._clock.monotonic() - started_at)
            if made is not None:
                made.update_name(f"{method} {route}")
                made.set_attribute("http.route", route)
                made.set_attribute("http.response.status_code", status)
                if status >= 500:
                    fail(made, str(status))


def route_of(scope: Scope) -> str:
    """The path of the operation that answered, so that there are as many as there are operations."""
    return str(scope.get(ROUTE_KEY, NO_ROUTE))
