"""Services in a session's sandbox: listed, and looked at through our own address.

A preview's address is either below its session, opened by a key, or below a token that opens this one port of this one
session for a time. The token stands in the path and in no cookie: an agent's page runs in an origin of its own (see
`exchange`), and a browser sends no cookie of ours with what such a page asks for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
from remit.schema import previews
from remit.schema.operation import NoQuery, Operation
from remit.server.edge.auth import authenticate, hash_key
from remit.server.edge.scopes import check_scope, scope_of
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.previews.exchange import ClientGone, NotHttp, Target, exchange
from remit.server.routes.keys import new_secret
from remit.values import KeyRow, Principal

TOKEN_PREFIX = "rv_"
KIND = "preview"
EXCHANGES_MAX = 32
"""At one time per session."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PORT_DIGITS_MAX = 5


def _of_a_service(path: str) -> Operation[[], None, NoQuery, bytes]:
    """Whoever calls is let in by the port's own rules, and whatever the answer is, is the service's."""
    return Operation(
        "*",
        path,
        "What a service in a sandbox answers",
        answer=bytes,
        scope="anybody",
        gate="unlimited",
        is_described=False,
    )


BY_KEY = _of_a_service("/v1/sessions/{session_id}/preview/{port}/{rest:path}")
BY_TOKEN = _of_a_service("/v1/previews/{token}/{rest:path}")
BY_KEY_AT_ITS_ROOT = _of_a_service("/v1/sessions/{session_id}/preview/{port}")
BY_TOKEN_AT_ITS_ROOT = _of_a_service("/v1/previews/{token}")
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

    @handles(previews.SERVICES)
    async def list(self, call: Call[None, NoQuery], session_id: str) -> previews.Services:
        """List the services that listen now; none while no sandbox is live."""
        await self._services.states.load(call.principal, session_id)
        sandbox = self._live.use(session_id)
        found = await sandbox.services() if sandbox is not None else ()
        data: list[previews.Service] = [
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
        return {"data": data, "is_live": sandbox is not None}

    @handles(previews.CREATE)
    async def create(self, call: Call[previews.PreviewCreate, NoQuery], session_id: str) -> previews.Preview:
        """An address that a browser can open, for a time."""
        principal, services, params = call.principal, self._services, call.body
        await services.states.load(principal, session_id)
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
        return {
            "id": key.id,
            "type": "preview",
            "session_id": session_id,
            "port": params.port,
            "url": f"{self._public_url}/v1/previews/{secret}/",
            "expires_at": rfc3339(expires_at_us),
        }


@dataclass(frozen=True)
class _Opened:
    """A port of a session that a caller may look at, and where its answers are found."""

    session_id: str
    port: int
    prefix: str
    is_open: bool
    """To whoever has the address."""


class Previews:
    """The addresses of previews; whatever lies below them is the service's."""

    def __init__(self, services: Services, live: LiveSandboxes) -> None:
        self._services = services
        self._live = live
        self._under_way: Counter[str] = Counter()

    @handles(BY_TOKEN)
    async def by_token(self, call: Call[None, NoQuery], token: str, rest: str) -> ASGIApp:
        if preflight := _preflight(call):
            return preflight
        return self._served(await self._opened_by_token(call, token), rest)

    @handles(BY_TOKEN_AT_ITS_ROOT)
    async def by_token_at_its_root(self, call: Call[None, NoQuery], token: str) -> ASGIApp:
        if preflight := _preflight(call):
            return preflight
        return _with_slash(await self._opened_by_token(call, token))

    @handles(BY_KEY)
    async def by_key(self, call: Call[None, NoQuery], session_id: str, port: str, rest: str) -> ASGIApp:
        return self._served(await self._opened_by_key(call, session_id, port), rest)

    @handles(BY_KEY_AT_ITS_ROOT)
    async def by_key_at_its_root(self, call: Call[None, NoQuery], session_id: str, port: str) -> ASGIApp:
        return _with_slash(await self._opened_by_key(call, session_id, port))

    def _served(self, opened: _Opened, rest: str) -> ASGIApp:
        """Raises errors of `remit.errors` before anything is sent."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            with self._slot(opened.session_id):
                sandbox = self._sandbox(opened.session_id)
                target = Target(
                    method=scope["method"],
                    path=_raw_rest(scope, opened.prefix, rest),
                    headers=[(name.lower(), value) for name, value in scope["headers"]],
                    port=opened.port,
                    prefix=opened.prefix,
                    is_open=opened.is_open,
                    body_bytes_max=self._services.settings.body_bytes_max,
                )
                await self._exchange(opened.session_id, sandbox, target, scope, receive, send)

        return serve

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

    async def _opened_by_token(self, call: Call[None, NoQuery], token: str) -> _Opened:
        _check_form(call)
        row = await self._services.catalog.resolve_key(hash_key(token))
        now_us = self._services.clock.now_us()
        is_usable = row is not None and row.kind == KIND and row.revoked_at_us is None
        if not is_usable or row is None or (row.expires_at_us or 0) <= now_us:
            raise Unauthenticated("This preview's address is unknown or has expired; ask for another one.")
        _, session_id, port = row.scopes[0].split(":")
        principal = Principal(workspace_id=row.workspace_id, actor=row.id, kind="session", scopes=row.scopes)
        await self._services.states.load(principal, session_id)  # it may have been deleted since
        return _Opened(session_id, int(port), f"/v1/previews/{token}", is_open=True)

    async def _opened_by_key(self, call: Call[None, NoQuery], session_id: str, port: str) -> _Opened:
        _check_form(call)
        services = self._services
        principal = await authenticate(call.request.headers, services.catalog, services.clock)
        await check_scope(principal, scope_of(call.request.method), {}, services.sessions)
        await services.states.load(principal, session_id)
        is_number = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS_MAX
        if not is_number or not 0 < int(port) < 65_536:
            raise InvalidRequest(f"There is no port {port}; use one from 1 to 65535.")
        return _Opened(session_id, int(port), f"/v1/sessions/{session_id}/preview/{port}", is_open=False)

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


def _check_form(call: Call[None, NoQuery]) -> None:
    """Raises InvalidRequest, Forbidden for what no preview answers."""
    method, headers = call.request.method, call.request.headers
    if method not in METHODS:
        raise InvalidRequest(f"A preview does not take {method}; use one of {', '.join(METHODS)}.")
    if headers.get("upgrade", "").lower() == "websocket":
        raise InvalidRequest(
            "Websockets are not served through a preview; let the page ask by HTTP or event streams.",
            code="not_supported",
        )
    if headers.get("sec-fetch-site") == "same-origin" and headers.get("sec-fetch-mode") != "navigate":
        # A page of a preview has an origin of its own; this is one of ours, which would run the agent's script.
        raise Forbidden("Pages of Remit load nothing from previews.")


def _preflight(call: Call[None, NoQuery]) -> Response | None:
    """The answer to a browser that asks what it may ask."""
    _check_form(call)
    is_preflight = "access-control-request-method" in call.request.headers
    return (
        Response(status_code=204, headers=_PREFLIGHT)
        if call.request.method == "OPTIONS" and is_preflight
        else None
    )


def _with_slash(opened: _Opened) -> Response:
    """Without it, relative addresses of the page would lead elsewhere."""
    return Response(status_code=308, headers={"location": f"{opened.prefix}/"})


def _no_sandbox(session_id: str) -> WrongState:
    return WrongState(
        f"Session {session_id!r} has no live sandbox, so nothing listens; its services ended with the last one.",
        code="no_live_sandbox",
    )


def _raw_rest(scope: Scope, prefix: str, rest: str) -> bytes:
    """The service's path and query as the client wrote them: what is escaped stays escaped, unless our own part was."""
    written: bytes = scope.get("raw_path") or b""
    _, is_ours, raw = written.partition(b"?")[0].partition(f"{prefix}/".encode())
    path = b"/" + raw if is_ours else quote(f"/{rest}").encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
