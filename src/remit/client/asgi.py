"""An httpx2 transport that calls an ASGI application in this process and streams both ways.

httpx2's own ASGI transport collects the whole body first, so an event stream would never begin.
Here the application runs as a task of the transport; what it sends is handed on as it is sent, with back-pressure,
and closing a response tells the application `http.disconnect`, as a real server would.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import httpx2

DISCONNECT_GRACE_SECONDS = 1.0
"""How long an application may go on after its client has left; then its task is cancelled."""

Message = MutableMapping[str, Any]  # Any: ASGI messages are untyped by specification
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_logger = logging.getLogger(__name__)


class StreamingASGITransport(httpx2.AsyncBaseTransport):
    """Use it, or the client that holds it, in `async with`: the application's tasks live inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if self._tasks is None:
            return
        tasks, self._tasks = self._tasks, None
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)  # what the block raised goes on as it is, in no group

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._tasks is None:
            raise RuntimeError("StreamingASGITransport must be entered: `async with AsyncClient(...)`")
        exchange = _Exchange(self._app, request)
        self._tasks.start_soon(exchange.run)
        try:
            return await exchange.response()
        except BaseException:
            await exchange.aclose()
            raise


class _Exchange(httpx2.AsyncByteStream):
    """One request and its answer; also the body of that answer."""

    def __init__(self, app: ASGIApp, request: httpx2.Request) -> None:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        self._app = app
        self._request = request
        self._request_chunks = request.stream.__aiter__()
        self._is_request_read = False
        self._request_error: Exception | None = None
        self._started = anyio.Event()
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunk_sender, self._chunks = anyio.create_memory_object_stream[bytes](0)
        self._is_complete = False
        self._failure: Exception | None = None
        self._disconnected = anyio.Event()
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()

    async def run(self) -> None:
        """Run the application for this request; never raises, so one request cannot end the others."""
        try:
            with self._scope:
                await self._app(_scope_of(self._request), self._receive, self._send)
        except Exception as error:
            self._failure = error
            if self._is_complete and error is not self._request_error:
                _logger.error("asgi_app_failed_after_its_response", exc_info=error)
        finally:
            self._ended.set()
            self._disconnected.set()
            self._started.set()
            self._chunk_sender.close()

    async def response(self) -> httpx2.Response:
        """Wait for the head of the answer."""
        await self._started.wait()
        if self._request_error is not None:
            raise self._request_error
        if not self._status:
            raise self._broken("ended without an answer")
        return httpx2.Response(self._status, headers=self._headers, stream=self, request=self._request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk
        if not self._is_complete:
            raise self._broken("broke off in the middle of its answer")

    async def aclose(self) -> None:
        """The client leaves: tell the application, and wait until it has gone."""
        self._disconnected.set()
        self._chunks.close()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(DISCONNECT_GRACE_SECONDS):
                await self._ended.wait()
            self._scope.cancel()
            await self._ended.wait()

    def _broken(self, how: str) -> Exception:
        error = httpx2.RemoteProtocolError(f"the application {how}", request=self._request)
        error.__cause__ = self._failure
        return error

    async def _receive(self) -> Message:
        if self._is_request_read:
            await self._disconnected.wait()
            return {"type": "http.disconnect"}
        try:
            chunk = await self._request_chunks.__anext__()
        except StopAsyncIteration:
            self._is_request_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        except Exception as error:
            self._request_error = error
            raise
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message.get("headers", []))
            self._started.set()
        elif message["type"] == "http.response.body":
            await self._send_body(message)

    async def _send_body(self, message: Message) -> None:
        chunk = bytes(message.get("body", b""))
        if chunk and self._request.method != "HEAD" and not self._disconnected.is_set():
            try:
                await self._chunk_sender.send(chunk)
            except anyio.BrokenResourceError:
                self._disconnected.set()  # as with a real server, what is sent to nobody is dropped
        if not message.get("more_body", False):
            self._is_complete = True
            self._disconnected.set()
            self._chunk_sender.close()


def _scope_of(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        # 2.3, as uvicorn says: Starlette then listens for the disconnect instead of waiting for its next send.
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("in-process", 0),
        "root_path": "",
    }
