"""A whole platform in front of model servers on loopback, for the tests of the gateway's routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from api.whole import anthropic, openai, whole_platform
from remit.clock import Clock
from remit.gateway.retry_plan import RetrySettings
from remit.interfaces import ModelProvider
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.models.http.endpoint import ModelTimeouts
from remit.testing.model_server import ModelServer, ServedAnswer
from remit.testing.platform import Options, PlatformUnderTest
from remit.values import EventRow, HoldRow, JsonObject, Principal

MODEL_KEY = "sk-model-key-that-nobody-may-see"
SHORT = ModelTimeouts(connect_seconds=2, silence_seconds=5, listing_seconds=2)
SOMEONE = Principal(workspace_id="wrkspc_one", actor="test", kind="system")
PRICES = {
    f"{provider}/m": {"input_per_million_usd": 1.0, "output_per_million_usd": 5.0}
    for provider in ("anthropic", "chat", "responses", "spare")
}


@dataclass
class GatewayWorld:
    """Servers by provider name; the platform in front of them."""

    platform: PlatformUnderTest
    servers: dict[str, ModelServer]

    def http(self, key: str = "rk_one") -> httpx2.AsyncClient:
        """A bare client."""
        return self.platform.http(key)

    def anthropic(self, key: str = "rk_one", **options: Any) -> AbstractAsyncContextManager[Any]:
        """The official client of the Messages protocol."""
        return anthropic(self.platform, key, **options)

    def openai(self, key: str = "rk_one", **options: Any) -> AbstractAsyncContextManager[Any]:
        """The official client of the other two."""
        return openai(self.platform, key, **options)

    async def rows(self) -> Sequence[EventRow]:
        return await self.platform.services.sessions.read(SOMEONE, "wrkspc_one")

    async def holds(self) -> Sequence[HoldRow]:
        return await self.platform.services.sessions.holds(SOMEONE, "wrkspc_one")

    def sent(self, provider: str) -> Any:  # Any: JSON
        """The body of the last request that reached this provider."""
        return self.servers[provider].requests[-1].body


@asynccontextmanager
async def gateway_world(
    folder: Path,
    by_name: Mapping[str, Sequence[ServedAnswer]] | None = None,
    *,
    routes: Mapping[str, Any] | None = None,
    aliases: Mapping[str, str] | None = None,
    models_said: Mapping[str, Any] | None = None,
    listed: Mapping[str, JsonObject] | None = None,
    retries: RetrySettings | None = None,
    clock: Clock | None = None,
    providers: Mapping[str, ModelProvider] | None = None,
    prices_of: Sequence[str] = (),
    is_at_work: bool = False,
    **answers: Sequence[ServedAnswer],
) -> AsyncIterator[GatewayWorld]:
    """`listed` is what every provider lists, `models_said` the table of the settings. `anthropic`, `chat`, `responses`,
    `spare`: what the provider of this name answers, in turn
    (`by_name` likewise). `spare` speaks Messages. `providers` are further ones, as they
    are; `prices_of` are their models."""
    servers: dict[str, ModelServer] = {}
    models: dict[str, ModelProvider] = dict(providers or {})
    async with AsyncExitStack() as stack:
        for name, given in {**(by_name or {}), **answers}.items():
            server = servers[name] = await stack.enter_async_context(
                ModelServer(given, models=tuple(listed or ()), described=listed).serving()
            )
            if name in ("anthropic", "spare"):
                models[name] = AnthropicProvider(
                    api_key=MODEL_KEY, base_url=server.url, timeouts=SHORT, name=name
                )
            else:
                speaks = OpenAIChatProvider if name == "chat" else OpenAIResponsesProvider
                models[name] = speaks(
                    api_key=MODEL_KEY, base_url=f"{server.url}/v1", timeouts=SHORT, name=name
                )
            stack.push_async_callback(models[name].close)
        options: Options = {
            "settings": {"routes": routes or {}, "aliases": aliases or {}, "models": models_said or {}},
            "models": models,
            "prices": {**PRICES, **dict.fromkeys(prices_of, PRICES["chat/m"])},
            "retries": retries or RetrySettings(),
            "is_at_work": is_at_work,
        }
        if clock is not None:
            options["clock"] = clock
        yield GatewayWorld(
            platform=await stack.enter_async_context(whole_platform(folder, **options)), servers=servers
        )
