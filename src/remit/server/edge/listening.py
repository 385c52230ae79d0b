"""Serving an application: on a file in the data folder, and on a port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from remit.errors import InvalidRequest, Overloaded
from remit.server.edge.error_forms import send_error

SHUTDOWN_SECONDS = 1
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections, so that none is closed while a request is on its way."""
HEAD_SECONDS = 20.0
"""For the whole head of a request."""
BODY_SECONDS = 60.0
BODY_BYTES_MIN = 6_000
"""So much of a body comes in that time, or its connection is closed: a place among them is all it costs who drips."""
SOCKET_PATH_BYTES_MAX = 107
"""What the kernel keeps of a socket's path."""
BACKLOG = 2048
OPEN_FILES_MAX = 65_536
CONNECTIONS_MAX = 12_288
"""Requests and readers at their limits (`server/edge/admission.py`), when each has a connection of its own."""
CROWDED_RETRY_SECONDS = 5.0
NO_REQUEST_ID = "req_none"
"""Of an answer before the application."""


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers: the program around it decides when to end."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def refuse_long_path(path: Path) -> None:
    """Raises InvalidRequest where no socket can have this path."""
    if (size := len(os.fsencode(path))) > SOCKET_PATH_BYTES_MAX:
        raise InvalidRequest(
            f"The data folder {str(path.parent)!r} has too long a path for the socket in it ({size} bytes, and "
            f"{SOCKET_PATH_BYTES_MAX} fit). Give another with --data."
        )


def listen_on_file(path: Path) -> socket.socket:
    """A Unix socket that only the owner of its folder can open; one that a former process left is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def listen_on_port(host: str, port: int) -> socket.socket:
    """A TCP socket. Raises InvalidRequest that names the setting to change."""
    if not host:
        raise InvalidRequest(
            "`host`: is empty; give an address with --host, such as 127.0.0.1 (0.0.0.0 for all)."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # Connections inherit it; asyncio sets it only where a socket names its protocol. Without it an answer written
        # in two pieces waits 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except socket.gaierror as error:
        raise InvalidRequest(f"`host`: {host!r} is no address of this machine: {error.strerror}.") from error
    except OverflowError as error:
        raise InvalidRequest(f"`port`: {port} is no port; give one from 0 to 65535 with --port.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"Port {port} of {host} is taken by another program; choose another one with --port."
        else:
            message = f"Nothing can be served on {host} port {port}: {error.strerror}. Choose others with --host, --port."
        raise InvalidRequest(message) from error


def url_of(host: str, listener: socket.socket) -> str:
    """Return the URL by which a program on this machine reaches the listener."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{reached}]" if ":" in reached else reached
    return f"http://{shown}:{listener.getsockname()[1]}"


def raise_open_files() -> int:
    """Raise the limit of open files, which connections, sandboxes and blobs share; return it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def _too_late(what: str) -> bytes:
    text = f"The {what} of a request took too long; send it at once.\n".encode()
    return (
        b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%s" % (len(text), text)
    )


class _Protocol(H11Protocol):
    """Uvicorn's, with a bound on how long a request's head may take, from its first byte or from the connection's start,
    and on how slowly its body may come.

    Uvicorn ends idle connections between requests, but waits for ever for the first one, and for the rest of half a request.
    """

    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    _late: asyncio.TimerHandle | None = None
    _slow: asyncio.TimerHandle | None = None
    _body_bytes = 0
    """Since `_slow` was set."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_waiting()  # a head is whole
        elif self._late is None and self.conn.trailing_data[0]:
            self._expect_head()  # another one has begun
        if self.conn.their_state is h11.SEND_BODY:
            self._body_bytes += len(data)
            if self._slow is None:
                self._expect_body()
        else:
            self._end_body()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end_waiting()
        self._end_body()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Between requests uvicorn's own bound holds, unless the next one has begun."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] and self._late is None:
            self._expect_head()

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(self.head_seconds, self._too_late)

    def _end_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            self.transport.write(_too_late("head"))
        self.transport.close()

    def _expect_body(self) -> None:
        self._body_bytes = 0
        self._slow = self.loop.call_later(self.body_seconds, self._look_at_body)

    def _end_body(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _look_at_body(self) -> None:
        self._slow = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused or self._body_bytes >= BODY_BYTES_MIN:  # paused: it waits for us
            self._expect_body()
            return
        if self.conn.our_state is h11.SEND_RESPONSE and not self.cycle.response_started:
            self.transport.write(_too_late("body"))
        self.transport.close()


class _Edge:
    """The application, and answers to whoever comes when there are too many connections already, or says in two ways
    where a request ends."""

    def __init__(self, app: ASGIApp, connections_max: int) -> None:
        self.server: _Server
        self._app = app
        self._connections_max = connections_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {b"content-length", b"transfer-encoding"} <= {
            n for n, _ in scope["headers"]
        }:
            two = InvalidRequest(
                "A request has a Content-Length or a Transfer-Encoding, not both; send one of them."
            )
            await send_error("remit", two, NO_REQUEST_ID, send, closes=True)
            return
        if scope["type"] != "http" or len(self.server.server_state.connections) <= self._connections_max:
            await self._app(scope, receive, send)
            return
        full = Overloaded(
            f"{self._connections_max} connections are open; close idle ones or try again in a moment.",
            retry_after_seconds=CROWDED_RETRY_SECONDS,
        )
        await send_error("remit", full, NO_REQUEST_ID, send, closes=True)


@asynccontextmanager
async def serving(
    app: ASGIApp,
    listener: socket.socket,
    *,
    connections_max: int = CONNECTIONS_MAX,
    head_seconds: float = HEAD_SECONDS,
    body_seconds: float = BODY_SECONDS,
) -> AsyncGenerator[None]:
    """Serve on a listening socket, for as long as the platform is open."""
    edge = _Edge(app, connections_max)
    server = edge.server = _Server(
        uvicorn.Config(
            edge,
            http=type("Protocol", (_Protocol,), {"head_seconds": head_seconds, "body_seconds": body_seconds}),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task
