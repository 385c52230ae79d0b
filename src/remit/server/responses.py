"""POST /v1/responses: the Responses protocol for anyone with a key, served by any model."""

from __future__ import annotations

from starlette.types import ASGIApp

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.responses_input import request_from_responses
from remit.gateway.protocols.responses_output import ResponsesAnswer
from remit.schema import model_calls
from remit.schema.openai import ResponsesParams
from remit.schema.operation import NoQuery
from remit.server.model_calls import ModelCallResponse
from remit.server.routes import Call, handles
from remit.server.services import Services


class ResponsesRoutes:
    """Create, streamed or not. Nothing is kept, so there is nothing to retrieve or continue by id."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    @handles(model_calls.RESPONSES)
    async def create(self, call: Call[ResponsesParams, NoQuery]) -> ASGIApp:
        services, params = self._services, call.body
        answer = ResponsesAnswer(
            f"resp_{call.request_id.removeprefix('req_')}",
            params,
            created=services.clock.now_us() // 1_000_000,
        )
        return ModelCallResponse(
            services,
            self._calls,
            call,
            request_from_responses(params),
            answer,
            is_streamed=bool(params.stream),
        )
