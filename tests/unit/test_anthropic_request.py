"""What goes to an Anthropic model: whether it may think, and which parts of the prompt are marked for the cache."""

from __future__ import annotations

from typing import Any

import pytest

from remit.models.drivers.anthropic_request import request_body
from remit.schema.claude import claude_model, default_effort, documented_capabilities
from remit.values import JsonObject, ModelRequest

TOOL = {"name": "bash", "description": "Run a command", "input_schema": {"type": "object"}}


def request(*messages: JsonObject, **fields: Any) -> ModelRequest:
    asked = messages or ({"role": "user", "content": "hello"},)
    return ModelRequest(**{"model": "claude-opus-5-5", "messages": asked, "max_tokens": 100, **fields})


def said(role: str, *texts: str) -> JsonObject:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def marked(part: Any) -> list[int]:
    """Places of the blocks that carry a mark."""
    return [index for index, block in enumerate(part) if "cache_control" in block]


@pytest.mark.parametrize(
    "model",
    ["claude-opus-4-6", "claude-sonnet-4-6", "claude-sonnet-5-5", "us.anthropic.claude-opus-4-7-v1:0"],
)
def test_a_model_that_decides_by_itself_may_think(model: str) -> None:
    assert request_body(request(model=model, thinks=True))["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    "model", ["claude-haiku-4-5-20251001", "claude-opus-4-5", "claude-3-haiku", "my-own"]
)
def test_a_model_that_does_not_is_not_asked_to(model: str) -> None:
    assert "thinking" not in request_body(request(model=model, thinks=True))


def test_nobody_thinks_unasked_and_what_a_caller_says_of_thinking_stands() -> None:
    assert "thinking" not in request_body(request())
    own = {"thinking": {"type": "disabled"}}
    assert request_body(request(thinks=True, fields=own))["thinking"] == {"type": "disabled"}


def test_marks_stand_behind_the_system_prompt_and_the_newest_two_user_messages() -> None:
    turns = [said(role, "a", "b") for role in ("user", "assistant", "user", "assistant", "user")]
    body: Any = request_body(request(*turns, system="Be brief.", tools=(TOOL,)))
    assert marked(body["system"]) == [0]
    assert marked(body["tools"]) == []  # they come before the system prompt: its mark keeps them too
    assert [marked(message["content"]) for message in body["messages"]] == [[], [], [1], [], [1]]


def test_without_a_system_prompt_the_tools_are_marked() -> None:
    body: Any = request_body(request(tools=(TOOL, {**TOOL, "name": "read"})))
    assert marked(body["tools"]) == [1]


@pytest.mark.parametrize(
    ("model", "id"),
    [
        ("claude-sonnet-4-5-20250929", "sonnet"),
        ("claude-opus-5-20260724", "opus"),
        ("vertex/claude-haiku-5-5@20261008", "haiku"),
        ("claude-opus-4-20250514", None),
        ("claude-opus-4-1", None),
        ("gpt-6-sol", None),
    ],
)
def test_a_model_is_known_by_whatever_name_it_is_served(model: str, id: str | None) -> None:
    known = claude_model(model)
    assert (known.line if known is not None else None) == id


def test_documented_capabilities_tell_generations_apart() -> None:
    new, old = documented_capabilities("claude-haiku-5-5"), documented_capabilities("claude-haiku-4-5")
    assert new is not None
    assert old is not None
    assert (new["thinking"]["types"]["adaptive"], old["thinking"]["types"]["adaptive"]) == (
        {"supported": True},
        {"supported": False},
    )
    assert (new["effort"]["supported"], old["effort"]["supported"]) == (True, False)
    assert documented_capabilities("my-own") is None


def test_effort_has_a_default_where_it_means_something() -> None:
    models = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-sonnet-4-5", "my-own")
    assert [default_effort(model) for model in models] == ["medium", "high", None, None]
