"""The SDK's loop over local tools begins with a thread at the server; told that there is none, it goes on without."""

from __future__ import annotations

from pathlib import Path

import anthropic
import pytest
from anthropic import beta_async_tool

from api.gateway_world import gateway_world
from remit.testing.model_server import ServedAnswer, ServedToolUse

pytestmark = pytest.mark.anyio

ASKS = ServedAnswer(
    tool_uses=(ServedToolUse(id="toolu_1", name="double", input={"number": 21}),), stop_reason="tool_use"
)
QUESTION = [{"role": "user", "content": "What is twice 21?"}]


@beta_async_tool
async def double(number: int) -> str:
    """Twice a number."""
    return str(2 * number)


async def test_the_sdks_tool_runner_works_with_its_defaults(tmp_path: Path) -> None:
    answers = [ASKS, ServedAnswer(chunks=("42",))]
    async with gateway_world(tmp_path, anthropic=answers) as world, world.anthropic() as client:
        runner = client.beta.messages.tool_runner(
            model="anthropic/m", max_tokens=500, tools=[double], messages=QUESTION
        )
        said = [message async for message in runner]
    assert said[-1].content[0].text == "42"
    assert [message["role"] for message in world.sent("anthropic")["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


async def test_a_thread_is_refused_with_the_code_that_the_sdk_knows(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, anthropic=[]) as world, world.anthropic() as client:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.messages.create(
                model="anthropic/m",
                max_tokens=500,
                messages=QUESTION,
                extra_body={"thread": {"type": "create"}},
            )
    assert refused.value.error_code == "thread_unsupported_request"
    assert "send all messages" in str(refused.value)
