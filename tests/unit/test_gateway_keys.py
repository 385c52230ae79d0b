"""Which key goes where: a vendor's own key to the vendor alone."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from remit.clock import SystemClock
from remit.config import load_settings
from remit.errors import InvalidRequest
from remit.models.configured import model_providers
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.testing.model_server import ModelServer, ServedAnswer
from remit.values import ModelRequest

pytestmark = pytest.mark.anyio

HELLO = ModelRequest(model="m", messages=({"role": "user", "content": "hello"},), max_tokens=10)


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({"OPENAI_API_KEY": "sk-vendor"}, None),
        ({"OPENAI_API_KEY": "sk-vendor", "REMIT_OPENAI_API_KEY": "sk-mine"}, "Bearer sk-mine"),
    ],
)
async def test_a_vendors_key_is_not_sent_to_another_server(
    tmp_path: Path, variables: dict[str, str], sent: str | None
) -> None:
    server = ModelServer([ServedAnswer(chunks=("x",))])
    with anyio.fail_after(5):
        async with server.serving():
            settings = load_settings(
                {**variables, "REMIT_OPENAI_BASE_URL": f"{server.url}/v1"}, data=tmp_path
            )
            providers = model_providers(settings, SystemClock())
            async for _ in providers["local"].stream(HELLO):
                pass
            for provider in providers.values():
                await provider.close()
    assert server.requests[-1].headers.get("authorization") == sent


async def test_a_vendors_key_alone_opens_the_vendor(tmp_path: Path) -> None:
    settings = load_settings({"OPENAI_API_KEY": "sk-vendor"}, data=tmp_path)
    assert "openai" in model_providers(settings, SystemClock())
    elsewhere = load_settings(
        {"OPENAI_API_KEY": "sk-vendor", "REMIT_OPENAI_BASE_URL": "https://models.example.com/v1"},
        data=tmp_path,
    )
    provider = model_providers(elsewhere, SystemClock())["openai"]
    assert "sk-vendor" not in str(vars(vars(provider)["_endpoint"]))


async def test_the_protocol_is_a_setting(tmp_path: Path) -> None:
    variables = {"OPENAI_API_KEY": "sk-vendor", "REMIT_OPENAI_PROTOCOL": "responses"}
    settings = load_settings(variables, data=tmp_path)
    assert isinstance(model_providers(settings, SystemClock())["openai"], OpenAIResponsesProvider)
    with pytest.raises(InvalidRequest, match="REMIT_OPENAI_PROTOCOL"):
        load_settings({"REMIT_OPENAI_PROTOCOL": "smoke signals"}, data=tmp_path)
    assert "sk-vendor" not in repr(settings)
