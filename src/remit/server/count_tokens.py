"""POST /v1/messages/count_tokens: the provider's own count, which costs nothing; an estimate where it has none."""

from __future__ import annotations

import msgspec
from starlette.types import ASGIApp

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.messages import request_from_messages
from remit.schema import model_calls
from remit.schema.messages import GivenMessages
from remit.schema.operation import NoQuery
from remit.server.requests import betas_of, json_response
from remit.server.routes import Call, handles
from remit.server.services import Services
from remit.values import ModelRequest

BYTES_PER_TOKEN = 4


class CountTokensRoutes:
    """Count, without a call."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    @handles(model_calls.COUNT_TOKENS)
    async def count(self, call: Call[GivenMessages, NoQuery]) -> ASGIApp:
        counted_request = request_from_messages(call.body, betas=betas_of(call.request.headers))
        counted = await self._calls.count_tokens(counted_request)
        response = json_response(
            {"input_tokens": counted if counted is not None else estimate(counted_request)}
        )
        if counted is None:
            response.headers["remit-estimated"] = "true"
        return response


def estimate(request: ModelRequest) -> int:
    """A guess from the length of the text, said to be one."""
    encoded = msgspec.json.encode([request.system, request.messages, request.tools])
    return -(-len(encoded) // BYTES_PER_TOKEN)
