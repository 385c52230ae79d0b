"""Models: listed from the providers that are configured, paged by ids, without asking them each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import ModelInfo as SdkModelInfo
from anthropic.types.beta import BetaModelCapabilities, BetaModelInfo

from api.running import running
from api.world import KEY_ONE, World
from remit.client.asgi import StreamingASGITransport
from remit.gateway.routing import ModelRouter
from remit.schema.claude import documented_capabilities
from remit.server.app import create_app
from remit.server.model_calls.models import KEPT_SECONDS, ModelList, ModelRoutes
from remit.values import JsonObject, ModelDelta, ModelInfo, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio

SCRIPTS = {name: {"steps": [{"text": name}]} for name in ("one", "two", "three", "four", "five")}


class CountingProvider:
    """A vendor that lists its models and counts how often it is asked."""

    def __init__(self, *models: str) -> None:
        self.models_listed = models
        self.described: dict[str, Any] = {}
        self.asked = 0

    async def models(self) -> Sequence[ModelInfo]:
        self.asked += 1
        return [
            ModelInfo(
                id=model,
                display_name=model.upper(),
                context_tokens=1,
                max_output_tokens=8_192,
                provider="x",
                described=self.described,
            )
            for model in self.models_listed
        ]

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        raise AssertionError("no call is made here")
        yield

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        return None


async def test_models_are_listed_both_ways_with_every_field(tmp_path: Path) -> None:
    async with running(tmp_path, scripts=SCRIPTS) as (client, _):
        everything = [model.id async for model in client.beta.models.list()]
        paged = [model.id async for model in client.models.list(limit=2)]
        first = await client.models.list(limit=2)
        assert first.last_id is not None
        after = await client.models.list(limit=2, after_id=first.last_id)
        before = await client.models.list(limit=2, before_id=everything[3])
        retrieved = await client.beta.models.retrieve("scripted/one")
        raw = await client.models.with_raw_response.retrieve("scripted/two")
        none = await client.models.list(lifecycle=["retired"])
        with pytest.raises(anthropic.NotFoundError, match="scripted/six"):
            await client.models.retrieve("scripted/six")
        with pytest.raises(anthropic.BadRequestError, match="after_id"):
            await client.models.list(after_id="scripted/six")
        with pytest.raises(anthropic.BadRequestError, match="before_id"):
            await client.models.list(after_id=everything[0], before_id=everything[1])
    assert sorted(everything) == sorted(f"scripted/{name}" for name in SCRIPTS)
    assert paged == everything
    assert [model.id for model in first.data] == everything[:2]
    assert (first.has_more, first.first_id, first.last_id) == (True, everything[0], everything[1])
    assert [model.id for model in after.data] == everything[2:4]
    assert [model.id for model in before.data] == everything[1:3]
    assert before.has_more is True
    assert none.data == []
    assert (retrieved.type, retrieved.lifecycle) == ("model", "active")
    assert (retrieved.max_input_tokens, retrieved.max_tokens) == (200_000, 32_000)
    body = (await raw.json()) if not isinstance(raw, httpx2.Response) else raw.json()
    assert set(body) == set(BetaModelInfo.model_fields)
    assert set(SdkModelInfo.model_fields) <= set(body)


async def test_providers_are_asked_once_in_a_while_and_prices_know_the_window(world: World) -> None:
    vendor = CountingProvider("claude-sonnet-4-5", "claude-unheard-of")
    router = ModelRouter({"anthropic": vendor}, aliases={"fast": "claude-unheard-of"})
    app = create_app(world.services, ModelRoutes(ModelList(router, world.clock)))
    async with httpx2.AsyncClient(transport=StreamingASGITransport(app)) as http:
        client = AsyncAnthropic(api_key=KEY_ONE, base_url="http://remit", http_client=http)
        for _ in range(3):
            listed = {model.id: model async for model in client.beta.models.list()}
            await client.models.retrieve("fast")
        assert vendor.asked == 1
        world.clock.jump(KEPT_SECONDS)
        await client.models.list()
        assert vendor.asked == 2
    assert list(listed) == ["claude-sonnet-4-5", "claude-unheard-of", "fast"]
    assert listed["claude-sonnet-4-5"].max_input_tokens == 200_000  # from the price list
    assert listed["fast"].max_input_tokens == 1  # from the provider
    assert listed["claude-sonnet-4-5"].max_tokens == 8_192


async def test_capabilities_are_the_providers_without_what_is_refused_here(world: World) -> None:
    vendor = CountingProvider("claude-opus-5-5")
    vendor.described = {
        "created_at": "2026-09-01T00:00:00Z",
        "line": "opus",
        "capabilities": {
            **cast("JsonObject", documented_capabilities("claude-opus-5-5")),
            "batch": {"supported": True},
        },
    }
    router = ModelRouter({"anthropic": vendor, "other": CountingProvider("unheard-of")}, aliases={})
    app = create_app(world.services, ModelRoutes(ModelList(router, world.clock)))
    async with httpx2.AsyncClient(transport=StreamingASGITransport(app)) as http:
        client = AsyncAnthropic(api_key=KEY_ONE, base_url="http://remit", http_client=http)
        opus = await client.beta.models.retrieve("claude-opus-5-5")
        unknown = await client.beta.models.retrieve("other/unheard-of")
    assert (opus.line, opus.created_at.year) == ("opus", 2026)
    known = opus.capabilities
    assert known is not None
    assert set(known.to_dict()) == set(BetaModelCapabilities.model_fields)
    assert known.thinking.types.adaptive.supported
    assert not known.batch.supported
    assert not known.server_tools.web_search.supported
    assert (unknown.line, unknown.capabilities) == (None, None)
