"""Answers against their declarations: an application around the API that lets no JSON through that is not as its operation
says, to the last field. Every test that calls the API goes through it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from remit.schema.events import Event, EventsSent
from remit.schema.lists import ListOf
from remit.server.app import App
from remit.server.operations.router import Router

OPEN = (ListOf[Event], EventsSent)
"""Events have more fields by their type; docs/events.md has them."""


class CheckedAnswers:
    """Passes everything on; an answer that is not as declared is a failure of the application."""

    def __init__(self, app: ASGIApp) -> None:
        assert isinstance(app, App)
        self.app = app
        self._router = Router(app.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                is_json = headers.get(b"content-type") == b"application/json"
                if message["status"] == 200 and is_json:
                    held.append(message)
                    return
            if not held:
                await send(message)
                return
            held.append(message)
            if not message.get("more_body", False):
                check(self._router, scope, b"".join(one.get("body", b"") for one in held))
                for one in held:
                    await send(one)

        await self.app(scope, receive, hold)


def check(router: Router, scope: Scope, body: bytes) -> None:
    """Raises AssertionError that says what differs."""
    if scope["method"] == "HEAD":
        return
    route = router.find(scope["method"], scope["path"]).route
    assert route is not None
    operation = route.operation
    said: Any = msgspec.json.decode(body)
    try:
        read = msgspec.convert(said, operation.answer)
    except msgspec.ValidationError as error:
        raise AssertionError(f"{operation.method} {operation.path}: {error}") from error
    if operation.answer not in OPEN:
        assert msgspec.to_builtins(read) == said, (
            f"{operation.method} {operation.path}: {differences(read, said)}"
        )


def differences(read: Any, said: Any, at: str = "$") -> list[str]:
    """Where an answer has what its type does not."""
    if isinstance(said, dict) and isinstance(read, dict):
        found = [f"{at}.{name} is not declared" for name in said.keys() - read.keys()]
        return found + [one for name in read for one in differences(read[name], said[name], f"{at}.{name}")]
    if isinstance(said, list) and isinstance(read, list):
        return [
            one
            for i, (a, b) in enumerate(zip(read, said, strict=True))
            for one in differences(a, b, f"{at}[{i}]")
        ]
    return [] if read == said else [f"{at}: {read!r} is not {said!r}"]
