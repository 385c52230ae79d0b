"""What listens in a session's sandbox: listed, and looked at through our own address.

A preview's address is either below its session, opened by a key, or below a token that opens this one port of this one
session for a time. The token stands in the path and in no cookie: an agent's page runs in an origin of its own (see
`preview_exchange`), and a browser sends no cookie of ours with what such a page asks for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from remit.clock import rfc3339
from remit.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    SandboxLost,
    SandboxRefused,
    Unauthenticated,
    WrongState,
)
from remit.interfaces import LiveSandboxes, Sandbox
from remit.schema.previews import PreviewCreate
from remit.server.auth import authenticate, hash_key, principal_of
from remit.server.keys import new_secret
from remit.server.preview_exchange import ClientGone, NotHttp, Target, exchange
from remit.server.reach import check_reach
from remit.server.requests import Query, json_response, read_params
from remit.server.services import Services
from remit.values import JsonValue, KeyRow, Principal

TOKEN_PREFIX = "rv_"
KIND = "preview"
EXCHANGES_MAX = 32
"""At one time per session."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_BODY_BYTES_MAX = 1 << 16
_BY_KEY = re.compile(r"/v1/sessions/(?P<session>[^/]+)/preview/(?P<port>[0-9]{1,5})(?P<rest>/.*)?", re.DOTALL)
_BY_TOKEN = re.compile(r"/v1/previews/(?P<token>[^/]+)(?P<rest>/.*)?", re.DOTALL)
_PREFLIGHT = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": ", ".join(METHODS),
    "access-control-allow-headers": "*",
    "access-control-max-age": "600",
}


class PreviewRoutes:
    """GET /v1/sessions/{id}/services, POST /v1/sessions/{id}/previews."""

    def __init__(self, services: Services, live: LiveSandboxes, *, public_url: str | None) -> None:
        self._services = services
        self._live = live
        self._public_url = public_url or ""

    def routes(self) -> list[Route]:
        return [
            Route("/v1/sessions/{session_id}/services", self.list, methods=["GET"]),
            Route("/v1/sessions/{session_id}/previews", self.create, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        """What listens now; nothing while no sandbox is live."""
        Query(request)
        session_id: str = request.path_params["session_id"]
        await self._services.states.load(principal_of(request), session_id)
        sandbox = self._live.use(session_id)
        found = await sandbox.services() if sandbox is not None else ()
        data: list[JsonValue] = [
            {
                "type": "service",
                "port": service.port,
                "address": service.address,
                "pid": service.pid,
                "command": service.command,
                "preview_path": f"/v1/sessions/{session_id}/preview/{service.port}/",
            }
            for service in found
        ]
        return json_response({"data": data, "is_live": sandbox is not None})

    async def create(self, request: Request) -> Response:
        """An address that a browser can open, for a time."""
        Query(request)
        principal, services = principal_of(request), self._services
        session_id: str = request.path_params["session_id"]
        await services.states.load(principal, session_id)
        params = await read_params(request, PreviewCreate, bytes_max=_BODY_BYTES_MAX)
        secret, now_us = new_secret(TOKEN_PREFIX), services.clock.now_us()
        expires_at_us = now_us + params.expires_in_seconds * 1_000_000
        key = KeyRow(
            id=services.ids.new("apikey"),
            sha256=hash_key(secret),
            kind=KIND,
            name=f"preview of {principal.actor}",
            scopes=(f"preview:{session_id}:{params.port}",),
            workspace_id=principal.workspace_id,
            created_at_us=now_us,
            expires_at_us=expires_at_us,
        )
        await services.catalog.drop_expired_keys(KIND, before_us=now_us)
        await services.catalog.put_key(key)
        return json_response(
            {
                "id": key.id,
                "type": "preview",
                "session_id": session_id,
                "port": params.port,
                "url": f"{self._public_url}/v1/previews/{secret}/",
                "expires_at": rfc3339(expires_at_us),
            }
        )


class Previews:
    """An ASGI application for the addresses of previews; whatever lies below them is the service's."""

    def __init__(self, services: Services, live: LiveSandboxes) -> None:
        self._services = services
        self._live = live
        self._under_way: Counter[str] = Counter()

    def covers(self, path: str) -> bool:
        """Whether the path is a preview's."""
        return _BY_KEY.fullmatch(path) is not None or _BY_TOKEN.fullmatch(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises errors of `remit.errors` before anything is sent."""
        method: str = scope["method"]
        if method not in METHODS:
            raise InvalidRequest(f"A preview does not take {method}; use one of {', '.join(METHODS)}.")
        headers = Headers(scope=scope)
        if headers.get("upgrade", "").lower() == "websocket":
            raise InvalidRequest(
                "Websockets are not served through a preview; let the page ask by HTTP or event streams.",
                code="not_supported",
            )
        if headers.get("sec-fetch-site") == "same-origin" and headers.get("sec-fetch-mode") != "navigate":
            # A page of a preview has an origin of its own; this is one of ours, which would run the agent's script.
            raise Forbidden("Pages of Remit load nothing from previews.")
        by_token = _BY_TOKEN.fullmatch(scope["path"])
        if by_token is not None and method == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send)
            return
        if by_token is not None:
            session_id, port, rest = await self._opened_by_token(by_token)
            prefix = f"/v1/previews/{by_token['token']}"
        else:
            session_id, port, rest = await self._opened_by_key(scope, headers)
            prefix = f"/v1/sessions/{session_id}/preview/{port}"
        if rest is None:  # relative addresses of the page would lead elsewhere
            await Response(status_code=308, headers={"location": f"{prefix}/"})(scope, receive, send)
            return
        with self._slot(session_id):
            sandbox = self._sandbox(session_id)
            target = Target(
                method=method,
                path=_raw_rest(scope, prefix, rest),
                headers=[(name.lower(), value) for name, value in scope["headers"]],
                port=port,
                prefix=prefix,
                is_open=by_token is not None,
                body_bytes_max=self._services.settings.body_bytes_max,
            )
            await self._exchange(session_id, sandbox, target, scope, receive, send)

    async def _exchange(
        self, session_id: str, sandbox: Sandbox, target: Target, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            connected = await sandbox.connect(target.port)
        except SandboxRefused as error:
            raise NotFound(
                f"Nothing listens on port {target.port} in the sandbox of session {session_id!r}; "
                f"GET /v1/sessions/{session_id}/services lists what does."
            ) from error
        except SandboxLost as error:
            raise _no_sandbox(session_id) from error
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await exchange(connected, target, receive, watch)
        except ClientGone:
            return
        except NotHttp as error:
            if has_begun:
                raise  # too late to answer: the server closes the connection
            text = f"The service on port {target.port} gave no HTTP answer: {error}\n"
            await PlainTextResponse(text, status_code=502)(scope, receive, send)

    async def _opened_by_token(self, path: re.Match[str]) -> tuple[str, int, str | None]:
        row = await self._services.catalog.resolve_key(hash_key(path["token"]))
        now_us = self._services.clock.now_us()
        is_usable = row is not None and row.kind == KIND and row.revoked_at_us is None
        if not is_usable or row is None or (row.expires_at_us or 0) <= now_us:
            raise Unauthenticated("This preview's address is unknown or has expired; ask for another one.")
        _, session_id, port = row.scopes[0].split(":")
        principal = Principal(workspace_id=row.workspace_id, actor=row.id, kind="session", scopes=row.scopes)
        await self._services.states.load(principal, session_id)  # it may have been deleted since
        return session_id, int(port), cast("str | None", path["rest"])

    async def _opened_by_key(self, scope: Scope, headers: Headers) -> tuple[str, int, str | None]:
        services = self._services
        principal = await authenticate(headers, services.catalog, services.clock)
        await check_reach(principal, scope["method"], scope["path"], services.sessions, services.kinds)
        path = _BY_KEY.fullmatch(scope["path"])
        assert path is not None  # `covers` said so
        await services.states.load(principal, path["session"])
        port = int(path["port"])
        if not 0 < port < 65_536:
            raise InvalidRequest(f"There is no port {port}; use one from 1 to 65535.")
        return path["session"], port, cast("str | None", path["rest"])

    def _sandbox(self, session_id: str) -> Sandbox:
        sandbox = self._live.use(session_id)
        if sandbox is None:
            raise _no_sandbox(session_id)
        return sandbox

    @contextmanager
    def _slot(self, session_id: str) -> Generator[None]:
        if self._under_way[session_id] >= EXCHANGES_MAX:
            raise RateLimited(
                f"{EXCHANGES_MAX} requests to previews of session {session_id!r} are under way; try again.",
                retry_after_seconds=1,
            )
        self._under_way[session_id] += 1
        try:
            yield
        finally:
            self._under_way[session_id] -= 1
            if not self._under_way[session_id]:
                del self._under_way[session_id]


def _no_sandbox(session_id: str) -> WrongState:
    return WrongState(
        f"Session {session_id!r} has no live sandbox, so nothing listens; its services ended with the last one.",
        code="no_live_sandbox",
    )


def _raw_rest(scope: Scope, prefix: str, rest: str) -> bytes:
    """The service's path and query as the client wrote them: what is escaped stays escaped, unless our own part was."""
    written: bytes = scope.get("raw_path") or b""
    _, is_ours, raw = written.partition(b"?")[0].partition(f"{prefix}/".encode())
    path = b"/" + raw if is_ours else quote(rest).encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
