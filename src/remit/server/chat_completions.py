"""POST /v1/chat/completions: the Chat Completions protocol for anyone with a key, served by any model."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.chat_input import request_from_chat
from remit.gateway.protocols.chat_output import ChatAnswer
from remit.schema.openai import ChatParams
from remit.server.model_calls import ModelCallResponse
from remit.server.requests import Query, read_params
from remit.server.services import Services


class ChatCompletionsRoutes:
    """Create, streamed or not. Nothing is kept, so there is nothing to list or retrieve."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    def routes(self) -> list[Route]:
        return [Route("/v1/chat/completions", self.create, methods=["POST"])]

    async def create(self, request: Request) -> ASGIApp:
        Query(request)
        services = self._services
        params = await read_params(request, ChatParams, bytes_max=services.settings.body_bytes_max)
        options = params.stream_options
        answer = ChatAnswer(
            f"chatcmpl-{request.scope['request_id'].removeprefix('req_')}",
            params.model,
            created=services.clock.now_us() // 1_000_000,
            includes_usage=options is not None and options.include_usage,
        )
        return ModelCallResponse(
            services, self._calls, request, request_from_chat(params), answer, is_streamed=bool(params.stream)
        )
