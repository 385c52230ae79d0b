"""A model that nobody serves is not found, in the words of each protocol."""

from __future__ import annotations

from pathlib import Path

import anthropic
import openai
import pytest

from api.gateway_world import gateway_world

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "hello"}]


async def test_the_messages_protocol_says_not_found(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.anthropic() as client:
        with pytest.raises(anthropic.NotFoundError) as created:
            await client.messages.create(model="nobody/x", max_tokens=50, messages=HELLO)
        with pytest.raises(anthropic.NotFoundError) as streamed:
            async with client.messages.stream(model="nobody/x", max_tokens=50, messages=HELLO):
                pass
        with pytest.raises(anthropic.NotFoundError) as counted:
            await client.messages.count_tokens(model="nobody/x", messages=HELLO)
    for refused in (created, streamed, counted):
        assert (refused.value.type, refused.value.error_code) == ("not_found_error", "model_not_found")
        assert "'nobody/x'" in str(refused.value)


async def test_the_openai_protocols_say_model_not_found(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world, world.openai() as client:
        with pytest.raises(openai.NotFoundError) as completed:
            await client.chat.completions.create(model="nobody/x", messages=HELLO)
        with pytest.raises(openai.NotFoundError) as responded:
            await client.responses.create(model="nobody/x", input="hello")
    assert (completed.value.code, responded.value.code) == ("model_not_found", "model_not_found")
