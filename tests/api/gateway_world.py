"""A whole platform in front of model servers on loopback, for the tests of the gateway's routes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from api.answers import CheckedAnswers
from remit.app import Assembled, Parts, assemble, load_settings
from remit.blobs.directory import DirectoryBlobStore
from remit.bus.memory import MemoryBus
from remit.client.asgi import StreamingASGITransport
from remit.clock import Clock, SystemClock
from remit.gateway.course import RetrySettings
from remit.ids import Ids
from remit.interfaces import ModelProvider
from remit.ledger.prices import PriceTable, parse_overrides
from remit.models.anthropic import AnthropicProvider
from remit.models.http import ModelTimeouts
from remit.models.openai_chat import OpenAIChatProvider
from remit.models.openai_responses import OpenAIResponsesProvider
from remit.models.scripted import ScriptedProvider
from remit.sandboxes.local import LocalProvider
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.model_server import Answer, ModelServer
from remit.values import EventRow, HoldRow, JsonObject, KeyRow, Principal

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

    assembled: Assembled
    servers: dict[str, ModelServer]

    @asynccontextmanager
    async def http(self, key: str = "rk_one") -> AsyncIterator[httpx2.AsyncClient]:
        """A bare client."""
        async with httpx2.AsyncClient(
            transport=StreamingASGITransport(CheckedAnswers(self.assembled.asgi)),
            base_url="http://remit",
            headers={"authorization": f"Bearer {key}"},
        ) as client:
            yield client

    @asynccontextmanager
    async def anthropic(self, key: str = "rk_one", **options: Any) -> AsyncIterator[AsyncAnthropic]:
        """The official client of the Messages protocol."""
        async with httpx2.AsyncClient(
            transport=StreamingASGITransport(CheckedAnswers(self.assembled.asgi))
        ) as http:
            yield AsyncAnthropic(
                api_key=key, base_url="http://remit", http_client=http, **{"max_retries": 0, **options}
            )

    @asynccontextmanager
    async def openai(self, key: str = "rk_one", **options: Any) -> AsyncIterator[AsyncOpenAI]:
        """The official client of the other two."""
        async with httpx2.AsyncClient(
            transport=StreamingASGITransport(CheckedAnswers(self.assembled.asgi))
        ) as http:
            yield AsyncOpenAI(
                api_key=key, base_url="http://remit/v1", http_client=http, **{"max_retries": 0, **options}
            )

    async def rows(self) -> Sequence[EventRow]:
        return await self.assembled.services.sessions.read(SOMEONE, "wrkspc_one")

    async def holds(self) -> Sequence[HoldRow]:
        return await self.assembled.services.sessions.holds(SOMEONE, "wrkspc_one")

    def sent(self, provider: str) -> JsonObject:
        """The body of the last request that reached this provider."""
        return self.servers[provider].requests[-1].body


@asynccontextmanager
async def gateway_world(
    folder: Path,
    *,
    routes: Mapping[str, Any] | None = None,
    aliases: Mapping[str, str] | None = None,
    models_said: Mapping[str, Any] | None = None,
    listed: Mapping[str, JsonObject] | None = None,
    retries: RetrySettings | None = None,
    clock: Clock | None = None,
    providers: Mapping[str, ModelProvider] | None = None,
    prices_of: Sequence[str] = (),
    **answers: Sequence[Answer],
) -> AsyncIterator[GatewayWorld]:
    """`listed` is what every provider lists, `models_said` the table of the settings. `anthropic`, `chat`, `responses`, `spare`: what the provider of this name answers, in turn. `spare` speaks Messages.
    `providers` are further ones, as they are; `prices_of` are their models."""
    clock = clock or SystemClock()
    ids = Ids(clock)
    catalog = MemoryCatalog(clock)
    blobs = DirectoryBlobStore(folder / "blobs")
    sandboxes = LocalProvider(folder / "runtime", blobs, ids)
    servers: dict[str, ModelServer] = {}
    models: dict[str, ModelProvider] = {"scripted": ScriptedProvider({}, clock=clock), **(providers or {})}
    async with AsyncExitStack() as stack:
        for name, given in answers.items():
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
        assembled = assemble(
            Parts(
                settings=load_settings(
                    {}, data=folder, routes=routes or {}, aliases=aliases or {}, models=models_said or {}
                ),
                clock=clock,
                ids=ids,
                sessions=MemorySessionStore(clock),
                catalog=catalog,
                blobs=blobs,
                bus=MemoryBus(),
                sandboxes=sandboxes,
                models=models,
                prices=PriceTable(
                    parse_overrides({**PRICES, **dict.fromkeys(prices_of, PRICES["chat/m"])}), clock=clock
                ),
                retries=retries or RetrySettings(),
            )
        )
        for number in ("one", "two"):
            await catalog.put_key(
                KeyRow(
                    id=f"apikey_{number}",
                    sha256=hashlib.sha256(f"rk_{number}".encode()).hexdigest(),
                    kind="api_key",
                    name=number,
                    scopes=("*",),
                    workspace_id=f"wrkspc_{number}",
                    created_at_us=clock.now_us(),
                )
            )
        yield GatewayWorld(assembled=assembled, servers=servers)
        await assembled.held.close()
        await sandboxes.close()
