"""POST /v1/messages: the Messages protocol for anyone with a key, served by any model."""

from __future__ import annotations

from starlette.types import ASGIApp

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.messages import frame, message_of, request_from_messages
from remit.schema import model_calls
from remit.schema.messages import GivenMessages
from remit.schema.operation import NoQuery
from remit.server.model_calls import ModelCallResponse
from remit.server.requests import betas_of
from remit.server.routes import Call, handles
from remit.server.services import Services
from remit.values import JsonObject, MessageEvent, ModelResponse


class MessagesRoutes:
    """Create, streamed or not."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    @handles(model_calls.MESSAGES)
    async def create(self, call: Call[GivenMessages, NoQuery]) -> ASGIApp:
        answer = MessagesAnswer(f"msg_{call.request_id.removeprefix('req_')}")
        return ModelCallResponse(
            self._services,
            self._calls,
            call,
            request_from_messages(call.body, betas=betas_of(call.request.headers)),
            answer,
            is_streamed=call.body.known.stream,
        )


class MessagesAnswer:
    """The canonical events as they are."""

    media_type = "text/event-stream; charset=utf-8"
    heartbeat = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id

    def take(self, event: MessageEvent) -> bytes:
        return frame(event)

    def finish(self, response: ModelResponse) -> bytes:
        return b""

    def whole(self, response: ModelResponse) -> JsonObject:
        return message_of(response, self._message_id)

    def error(self, body: bytes) -> bytes:
        return b"event: error\ndata: " + body + b"\n\n"
