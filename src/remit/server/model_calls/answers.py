"""Answers to model calls that users make themselves: whole, or as they come in.

The head goes out with the first piece of the answer, so that whatever fails before it is answered with its own status.
A client that leaves cuts the call, which is then settled at a bound of its cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import anyio
import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from remit.clock import Clock
from remit.errors import InvalidRequest, RemitError
from remit.gateway.direct_calls import DirectCalls, Served
from remit.gateway.protocols.messages import AnswerEvents
from remit.schema.operation import ErrorForm, NoQuery
from remit.server.edge.error_forms import answer_in
from remit.server.operations.requests import until_left
from remit.server.operations.router import Call
from remit.server.operations.services import Services
from remit.server.streams.sse import SseWriter
from remit.values import (
    CallAttempt,
    JsonObject,
    MessageEvent,
    ModelDelta,
    ModelRequest,
    ModelResponse,
)

IDEMPOTENCY_KEY_CHARS_MAX = 256
UNREAD_SECONDS_MAX = 120.0
"""For how long a client may take nothing of what is written to it."""

_log = structlog.get_logger(__name__)


class ProtocolAnswer(Protocol):
    """An answer in the words of one protocol."""

    media_type: str
    heartbeat: bytes

    def take(self, event: MessageEvent) -> bytes:
        """Return the bytes to send for a canonical event of the answer."""
        ...

    def finish(self, response: ModelResponse) -> bytes:
        """Return the bytes to send at the end."""
        ...

    def whole(self, response: ModelResponse) -> JsonObject:
        """The body of an answer without a stream."""
        ...

    def error(self, body: bytes) -> bytes:
        """Return the bytes for a stream that fails; `body` is the protocol's error body."""
        ...


class ModelCallResponse:
    """An ASGI response that makes one model call."""

    def __init__(
        self,
        services: Services,
        calls: DirectCalls,
        call: Call[Any, NoQuery],
        model_request: ModelRequest,
        answer: ProtocolAnswer,
        *,
        is_streamed: bool,
    ) -> None:
        self._services = services
        self._calls = calls
        self._principal = call.principal
        self._request_id = call.request_id
        self._form: ErrorForm = call.operation.error_form
        self._key = _idempotency_key(call.request.headers.get("idempotency-key"))
        self._model_request = model_request
        self._answer = answer
        self._is_streamed = is_streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_left, receive, tasks.cancel_scope)
            try:
                if self._is_streamed:
                    await self._stream(send)
                else:
                    await self._whole(send)
            except Exception as error:
                failure = error  # the edge answers it; the group would wrap it
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _whole(self, send: Send) -> None:
        served = await self._calls.call(self._principal, self._model_request, key=self._key)
        body = msgspec.json.encode(self._answer.whole(served.response))
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **_headers(served.served_model, served.call_id, served.dropped),
            **_cost(served),
        }
        await _start(send, headers)
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Send) -> None:
        stream = _AnswerStream(
            self._answer, self._request_id, self._model_request.model, send, self._services.clock
        )
        failure = await self._fill(stream)
        if failure is None:
            return
        if not stream.has_begun:
            raise failure
        if not isinstance(failure, RemitError):
            _log.error("model_stream_failed", request_id=self._request_id, exc_info=failure)
        await stream.fail(answer_in(self._form, failure, self._request_id).body)

    async def _fill(self, stream: _AnswerStream) -> Exception | None:
        """Make the call; what it failed with, since a task group would wrap it."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._beat, stream, tasks.cancel_scope)
            try:
                served = await self._calls.call(
                    self._principal, self._model_request, key=self._key, on_delta=stream.take
                )
                await stream.finish(served)
            except Exception as error:
                failure = error
            tasks.cancel_scope.cancel()
        return failure

    async def _beat(self, stream: _AnswerStream, call: anyio.CancelScope) -> None:
        """Long thinking must not look dead to anybody in between. A client that reads nothing for long is taken to have
        left: it stops the provider, whose slot others wait for."""
        clock = self._services.clock
        while True:
            await clock.sleep(self._services.settings.heartbeat_seconds)
            if stream.writing_since is None:
                if stream.has_begun:
                    await stream.beat()
            elif clock.monotonic() - stream.writing_since >= UNREAD_SECONDS_MAX:
                _log.warning("model_stream_unread", request_id=self._request_id)
                call.cancel()


class _AnswerStream:
    """The body of a streamed answer; its head goes out with its first piece."""

    def __init__(self, answer: ProtocolAnswer, request_id: str, model: str, send: Send, clock: Clock) -> None:
        self.has_begun = False
        self.writing_since: float | None = None
        """When the write began that the client has not taken yet."""
        self._clock = clock
        self._answer = answer
        self._events = AnswerEvents(f"msg_{request_id.removeprefix('req_')}", model)
        self._send = send
        self._writer = SseWriter(send)

    async def take(self, attempt: CallAttempt, delta: ModelDelta) -> None:
        if not self.has_begun:
            await self._begin(_headers(attempt.served_model, attempt.call_id, attempt.dropped))
        await self._write(map(self._answer.take, self._events.take(delta)))

    async def finish(self, served: Served) -> None:
        if not self.has_begun:
            await self._begin(_headers(served.served_model, served.call_id, served.dropped))
        frames = map(self._answer.take, self._events.finish(served.response))
        await self._write([*frames, self._answer.finish(served.response)])
        await self._writer.close()

    async def fail(self, body: bytes) -> None:
        await self._write([self._answer.error(body)])
        await self._writer.close()

    async def beat(self) -> None:
        await self._write([self._answer.heartbeat])

    async def _begin(self, headers: dict[str, str]) -> None:
        self.has_begun = True
        fixed = {
            "content-type": self._answer.media_type,
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
        }
        await _start(self._send, {**fixed, **headers})

    async def _write(self, frames: Iterable[bytes]) -> None:
        self.writing_since = self._clock.monotonic()
        await self._writer.write(frames)
        self.writing_since = None


def _idempotency_key(key: str | None) -> str | None:
    if key is not None and not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARS_MAX:
        raise InvalidRequest(f"`Idempotency-Key`: must have 1 to {IDEMPOTENCY_KEY_CHARS_MAX} characters.")
    return key


def _headers(served_model: str, call_id: str, dropped: tuple[str, ...]) -> dict[str, str]:
    headers = {"remit-served-model": served_model, "remit-call-id": call_id}
    if dropped:
        headers["remit-dropped"] = ", ".join(name.removeprefix("openai.") for name in dropped)
    return headers


def _cost(served: Served) -> dict[str, str]:
    headers = {"remit-repeated": "true"} if served.is_repeated else {}
    if served.cost_nano_usd is not None:
        headers["remit-cost-nano-usd"] = str(served.cost_nano_usd)
    return headers


async def _start(send: Send, headers: dict[str, str]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()
            ],
        }
    )
