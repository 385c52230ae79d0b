"""A model provider from outside: its answer is a session's, and its calls are held, priced and settled as any other's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from api.running import open_session, said, send, texts, until_idle
from extending.opened import opened
from remit.app import Parts
from remit.interfaces import ModelProvider
from remit.values import JsonObject, ModelDelta, ModelInfo, ModelRequest, ModelResponse, Usage

pytestmark = pytest.mark.anyio

PARROT = ModelInfo(
    id="parrot", display_name="Parrot", context_tokens=8_000, max_output_tokens=1_000, provider="zoo"
)
PRICES = {"zoo/parrot": {"input_per_million_usd": 2.0, "output_per_million_usd": 10.0}}


class Zoo(ModelProvider):
    """Has a model that says what it was told, in capitals."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        last = cast("Sequence[JsonObject]", request.messages[-1]["content"])[-1]
        text = str(last["text"]).upper()
        yield ModelDelta(texts=(text,))
        yield ModelResponse(
            content=({"type": "text", "text": text},),
            stop_reason="end_turn",
            usage=Usage(input_tokens=1_000, output_tokens=100),
            model=request.model,
        )

    async def models(self) -> Sequence[ModelInfo]:
        return (PARROT,)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


def extend(parts: Parts) -> Parts:
    return replace(parts, models={**parts.models, "zoo": Zoo()})


async def test_a_provider_answers_a_turn_and_its_cost_is_settled(tmp_path: Path) -> None:
    async with opened(tmp_path, extend, prices=PRICES) as here:
        listed = [model["id"] for model in (await here.client.models.list())["data"]]
        session = await open_session(
            here.sdk,
            model="zoo/parrot",
            budget={"type": "limit", "max_list_cost": {"amount": "100", "currency": "USD"}},
        )
        await send(here.sdk, session.id, said("hello"))
        events = await until_idle(here.sdk, session.id)
        accounts = (await here.client.sessions.accounts(session.id))["data"]
    assert "zoo/parrot" in listed
    assert texts(events) == ["HELLO"]
    (work,) = [one for one in accounts if (one["purpose"], one["unit"]) == ("work", "nano_usd")]
    assert (work["spent"], work["held"]) == (1_000 * 2_000 + 100 * 10_000, 0)
