"""POST /v1/chat/completions: the Chat Completions protocol for anyone with a key, served by any model."""

from __future__ import annotations

from starlette.types import ASGIApp

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.chat_input import request_from_chat
from remit.gateway.protocols.chat_output import ChatAnswer
from remit.schema import model_calls
from remit.schema.openai import ChatParams
from remit.schema.operation import NoQuery
from remit.server.model_calls import ModelCallResponse
from remit.server.routes import Call, handles
from remit.server.services import Services


class ChatCompletionsRoutes:
    """Create, streamed or not. Nothing is kept, so there is nothing to list or retrieve."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    @handles(model_calls.CHAT_COMPLETIONS)
    async def create(self, call: Call[ChatParams, NoQuery]) -> ASGIApp:
        services, params = self._services, call.body
        options = params.stream_options
        answer = ChatAnswer(
            f"chatcmpl-{call.request_id.removeprefix('req_')}",
            params.model,
            created=services.clock.now_us() // 1_000_000,
            includes_usage=options is not None and options.include_usage,
        )
        return ModelCallResponse(
            services, self._calls, call, request_from_chat(params), answer, is_streamed=bool(params.stream)
        )
