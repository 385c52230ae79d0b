"""POST /v1/messages/count_tokens: the provider's own count, which costs nothing; an estimate where it has none."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.gateway.direct_calls import DirectCalls
from remit.gateway.protocols.messages import request_from_messages
from remit.schema.messages import read_counted
from remit.server.messages import betas_of
from remit.server.requests import Query, json_response, read_body
from remit.server.services import Services
from remit.values import ModelRequest

BYTES_PER_TOKEN = 4


class CountTokensRoutes:
    """Count, without a call."""

    def __init__(self, services: Services, calls: DirectCalls) -> None:
        self._services = services
        self._calls = calls

    def routes(self) -> list[Route]:
        return [Route("/v1/messages/count_tokens", self.count, methods=["POST"])]

    async def count(self, request: Request) -> Response:
        Query(request)
        given = read_counted(await read_body(request, bytes_max=self._services.settings.body_bytes_max))
        counted_request = request_from_messages(given, betas=betas_of(request))
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
