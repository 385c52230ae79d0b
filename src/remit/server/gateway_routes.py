"""All operations of the gateway, put together."""

from __future__ import annotations

from remit.gateway.direct_calls import DirectCalls
from remit.server.chat_completions import ChatCompletionsRoutes
from remit.server.count_tokens import CountTokensRoutes
from remit.server.messages import MessagesRoutes
from remit.server.responses import ResponsesRoutes
from remit.server.services import Services


def gateway_routes(services: Services, calls: DirectCalls) -> list[object]:
    """Three protocols, one ledger."""
    return [
        MessagesRoutes(services, calls),
        CountTokensRoutes(services, calls),
        ChatCompletionsRoutes(services, calls),
        ResponsesRoutes(services, calls),
    ]
