"""Model calls for anyone with a key, served by any model, in three protocols: Messages, Chat Completions, Responses.

Nothing of them is kept, so there is nothing to list, to retrieve or to continue by id.
"""

from __future__ import annotations

import msgspec
from starlette.types import ASGIApp

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.chat_input import request_from_chat
from remit.gateway.protocols.chat_output import ChatReply
from remit.gateway.protocols.messages import frame, message_of, request_from_messages
from remit.gateway.protocols.responses_input import request_from_responses
from remit.gateway.protocols.responses_output import ResponsesReply
from remit.schema import model_calls
from remit.schema.messages import GivenMessages
from remit.schema.openai import ChatParams, ResponsesParams
from remit.schema.operation import NoQuery
from remit.server.model_calls.answers import ModelCallResponse
from remit.server.operations.requests import betas_of, json_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.values import JsonObject, MessageEvent, ModelRequest, ModelResponse

BYTES_PER_TOKEN = 4


class GatewayRoutes:
    """Create in each protocol, streamed or not; and count, without a call."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    @handles(model_calls.MESSAGES)
    async def messages(self, call: Call[GivenMessages, NoQuery]) -> ASGIApp:
        answer = MessagesReply(_answer_id("msg_", call.request_id))
        request = request_from_messages(call.body, betas=betas_of(call.request.headers))
        is_streamed = call.body.known.stream
        return ModelCallResponse(self._services, self._calls, call, request, answer, is_streamed=is_streamed)

    @handles(model_calls.CHAT_COMPLETIONS)
    async def chat_completions(self, call: Call[ChatParams, NoQuery]) -> ASGIApp:
        params = call.body
        options = params.stream_options
        answer = ChatReply(
            _answer_id("chatcmpl-", call.request_id),
            params.model,
            created=self._now_seconds(),
            includes_usage=options is not None and options.include_usage,
        )
        request, is_streamed = request_from_chat(params), bool(params.stream)
        return ModelCallResponse(self._services, self._calls, call, request, answer, is_streamed=is_streamed)

    @handles(model_calls.RESPONSES)
    async def responses(self, call: Call[ResponsesParams, NoQuery]) -> ASGIApp:
        params = call.body
        answer = ResponsesReply(_answer_id("resp_", call.request_id), params, created=self._now_seconds())
        request, is_streamed = request_from_responses(params), bool(params.stream)
        return ModelCallResponse(self._services, self._calls, call, request, answer, is_streamed=is_streamed)

    @handles(model_calls.COUNT_TOKENS)
    async def count_tokens(self, call: Call[GivenMessages, NoQuery]) -> ASGIApp:
        """The provider's own count, which costs nothing; an estimate where it has none, and a header that says so."""
        request = request_from_messages(call.body, betas=betas_of(call.request.headers))
        counted = await self._calls.count_tokens(request)
        response = json_response({"input_tokens": counted if counted is not None else estimate(request)})
        if counted is None:
            response.headers["remit-estimated"] = "true"
        return response

    def _now_seconds(self) -> int:
        return self._services.clock.now_us() // 1_000_000


class MessagesReply:
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


def estimate(request: ModelRequest) -> int:
    """A guess from the length of the text, said to be one."""
    encoded = msgspec.json.encode([request.system, request.messages, request.tools])
    return -(-len(encoded) // BYTES_PER_TOKEN)


def _answer_id(prefix: str, request_id: str) -> str:
    return prefix + request_id.removeprefix("req_")
