"""POST /v1/responses: the Responses protocol for anyone with a key, served by any model."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.responses_input import request_from_responses
from remit.gateway.protocols.responses_output import ResponsesAnswer
from remit.schema.openai import ResponsesParams
from remit.server.model_calls import ModelCallResponse
from remit.server.requests import Query, read_params
from remit.server.services import Services


class ResponsesRoutes:
    """Create, streamed or not. Nothing is kept, so there is nothing to retrieve or continue by id."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    def routes(self) -> list[Route]:
        return [Route("/v1/responses", self.create, methods=["POST"])]

    async def create(self, request: Request) -> ASGIApp:
        Query(request)
        services = self._services
        params = await read_params(request, ResponsesParams, bytes_max=services.settings.body_bytes_max)
        answer = ResponsesAnswer(
            f"resp_{request.scope['request_id'].removeprefix('req_')}",
            params,
            created=services.clock.now_us() // 1_000_000,
        )
        return ModelCallResponse(
            services,
            self._calls,
            request,
            request_from_responses(params),
            answer,
            is_streamed=bool(params.stream),
        )
