"""What a server lists of its models, and the settings say, bounds what is asked of them and stands in the list of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.gateway_world import gateway_world
from remit.testing.model_server import ServedAnswer

pytestmark = pytest.mark.anyio

LONG = "word " * 1_000


@pytest.mark.parametrize(
    ("said", "context", "output"),
    [({}, 8_192, 8_192), ({"chat/m": {"context_tokens": 6_000, "max_output_tokens": 2_000}}, 6_000, 2_000)],
    ids=["listed", "said"],
)
async def test_no_more_is_asked_for_than_the_server_has_room_for(
    tmp_path: Path, said: dict[str, Any], context: int, output: int
) -> None:
    listed: dict[str, Any] = {"m": {"max_model_len": 8_192}}
    async with (
        gateway_world(
            tmp_path, models_said=said, listed=listed, chat=[ServedAnswer(chunks=("hi",))]
        ) as world,
        world.anthropic() as client,
    ):
        await client.messages.create(
            model="chat/m", max_tokens=16_384, messages=[{"role": "user", "content": LONG}]
        )
        asked = world.sent("chat")["max_tokens"]
        shown = await client.models.retrieve("chat/m")

    assert isinstance(asked, int)
    assert asked <= min(output, context - 1_000)
    assert asked >= min(output, context // 2)
    assert (shown.max_input_tokens, shown.max_tokens) == (context, output)
