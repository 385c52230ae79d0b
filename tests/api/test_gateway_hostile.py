"""Model calls of a clumsy or hostile client: refused with a word on what is wrong, and never our own failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.gateway_world import gateway_world
from remit.testing.model_server import ServedAnswer

pytestmark = pytest.mark.anyio

MESSAGES, CHAT, RESPONSES = "/v1/messages", "/v1/chat/completions", "/v1/responses"
PROMPTS = {
    MESSAGES: '"messages": [{"role": "user", "content": "hello"}]',
    CHAT: '"messages": [{"role": "user", "content": "hello"}]',
    RESPONSES: '"input": "hello"',
}


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        (MESSAGES, r'"model": "m", "max_tokens": 9, "later": 1e999', "out of range"),
        (MESSAGES, r'"model": "m", "max_tokens": 9, "later": {"deep": -1e999}', "out of range"),
        (MESSAGES, r'"model": "m", "max_tokens": 9223372036854775807', "`max_tokens`"),
        (MESSAGES, r'"model": "m", "max_tokens": -1', "`max_tokens`"),
        (MESSAGES, r'"model": "m\r\nx-evil: 1", "max_tokens": 9', "`model`"),
        (MESSAGES, r'"model": "m\n", "max_tokens": 9', "`model`"),
        (CHAT, r'"model": "m", "max_completion_tokens": 1e30', "`max_completion_tokens`"),
        (CHAT, r'"model": "m", "max_tokens": 5, "max_completion_tokens": 9', "`max_tokens`"),
        (CHAT, r'"model": "m\u0000"', "`model`"),
        (RESPONSES, r'"model": "m", "max_output_tokens": 9223372036854775808', "`max_output_tokens`"),
        (RESPONSES, r'"model": "m", "max_output_tokens": 2147483648', "`max_output_tokens`"),
        (RESPONSES, r'"model": "m\tx"', "`model`"),
    ],
)
async def test_what_no_call_could_mean_is_refused_by_name_before_anybody_is_asked(
    tmp_path: Path, path: str, fields: str, says: str
) -> None:
    async with (
        gateway_world(tmp_path, aliases={"m": "chat/m"}, chat=[ServedAnswer()]) as world,
        world.http() as http,
    ):
        answer = await http.post(path, content=f"{{{fields}, {PROMPTS[path]}}}")
        assert answer.status_code == 400, answer.text
        assert says in answer.json()["error"]["message"]
        assert world.servers["chat"].requests == []
