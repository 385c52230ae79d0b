"""Nothing unknown passes a door: every object of a published request refuses an unknown field by its place. What is
published is read off the official SDKs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typing_extensions
from anthropic.types.beta import (
    BetaContentBlockParam,
    BetaContextManagementConfigParam,
    BetaOutputConfigParam,
    BetaThinkingConfigParam,
    BetaToolChoiceParam,
    BetaToolUnionParam,
)
from anthropic.types.beta.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from remit.errors import InvalidRequest
from remit.gateway.protocols.chat_input import request_from_chat
from remit.gateway.protocols.responses_input import request_from_responses
from remit.schema.messages import REFUSED, read_counted, read_messages
from remit.schema.openai import ChatParams, ResponsesParams
from remit.schema.published import ASKED, BLOCKS, COUNTED, Kinds, Shape, client_tool
from remit.schema.wire import decode
from support.recordings import Recording, objects_of, recordings

HEADERS = {"betas", "user_profile_id", "workspace_id"}
"""What the SDK's functions take and send as headers."""
OLDER = {"temperature", "top_k", "top_p", "output_format"}
"""Published before, and served by models of then."""
UNTYPED = "custom"


def typed_dicts(union: object) -> Iterator[tuple[str, set[str]]]:
    """The objects of a union of the SDK, as their type and the names of their fields."""
    if typing_extensions.is_typeddict(union):
        hints = get_type_hints(union)
        kind = hints.get("type")
        while get_origin(kind) in (typing_extensions.Required, Annotated, typing_extensions.NotRequired):
            kind = get_args(kind)[0]
        names = get_args(kind) if get_origin(kind) is Literal else ()
        for name in names or (UNTYPED,):
            yield name, set(hints)
        return
    for part in get_args(union):
        yield from typed_dicts(part)


def fields_of(shape: Shape | Kinds | None, kind: str) -> set[str]:
    assert isinstance(shape, Kinds)
    return set(shape.shapes[kind].fields) if kind in shape.shapes else set()


NOT_TAKEN = {"container_upload", "mcp_tool_listing"}
"""Blocks that work at the provider: their length or price is unknown here."""


def test_the_blocks_are_those_that_the_sdk_has() -> None:
    published = dict(typed_dicts(BetaContentBlockParam))
    for kind, fields in published.items():
        assert fields_of(BLOCKS, kind) == (set() if kind in NOT_TAKEN else fields), kind
    assert set(BLOCKS.shapes) - set(published) == {"tool_reference", "browser_state"}, "those of results"


@pytest.mark.parametrize(
    ("field", "union"),
    [("thinking", BetaThinkingConfigParam), ("tool_choice", BetaToolChoiceParam)],
)
def test_the_kinds_are_those_that_the_sdk_has(field: str, union: object) -> None:
    expected = COUNTED.fields[field]
    assert isinstance(expected, Kinds)
    published = dict(typed_dicts(union))
    assert set(expected.shapes) == set(published)
    for kind, fields in published.items():
        assert fields_of(expected, kind) == fields


def test_the_client_s_tools_are_those_that_the_sdk_has() -> None:
    taken = {kind for kind, _ in typed_dicts(BetaToolUnionParam) if client_tool(kind) is not None}
    assert taken == {
        kind
        for kind, _ in typed_dicts(BetaToolUnionParam)
        if kind.startswith(("custom", "bash_", "text_editor_", "computer_", "memory_", "browser_toolset_"))
    }
    for kind, fields in typed_dicts(BetaToolUnionParam):
        shape = client_tool(kind)
        if shape is not None:
            assert fields <= set(shape.fields), kind


def test_the_fields_of_requests_are_those_that_the_sdk_has() -> None:
    asked = set(get_type_hints(MessageCreateParamsNonStreaming)) - HEADERS | {"stream"}
    assert asked | OLDER == set(ASKED.fields) | set(REFUSED) | {"thread"}
    counted = set(get_type_hints(MessageCountTokensParams)) - HEADERS
    assert counted - set(REFUSED) - {"thread"} <= set(COUNTED.fields)
    config, edits = ASKED.fields["output_config"], ASKED.fields["context_management"]
    assert isinstance(config, Shape)
    assert isinstance(edits, Shape)
    assert set(config.fields) == set(get_type_hints(BetaOutputConfigParam))
    assert set(edits.fields) == set(get_type_hints(BetaContextManagementConfigParam))
    assert set(ChatParams.__struct_fields__) <= set(get_type_hints(CompletionCreateParamsNonStreaming))
    published = set(get_type_hints(ResponseCreateParamsNonStreaming)) | {"client_metadata"}
    assert set(ResponsesParams.__struct_fields__) <= published


@pytest.mark.parametrize(
    "type",
    ["web_search_20260318", "code_execution_20260521", "advisor_20260301", "mcp_toolset", "bash_code_20270101",
     "custom_20270101", "computer", "tool_of_next_year", 7],
)  # fmt: skip
def test_no_other_tool_is_the_client_s(type: object) -> None:
    assert client_tool(type) is None


# --------------------------------------------------------------------------------------- unknown fields

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        ]},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}], "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
        ]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "hi"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "bash", "parameters": {}}}],
    "tool_choice": {"type": "function", "function": {"name": "bash"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
    "stream_options": {"include_usage": True},
}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "model": "m",
    "input": [
        {"role": "user", "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": "https://x/y.png", "detail": "high"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        ]},
        {"type": "local_shell_call", "id": "l", "call_id": "s", "status": "completed",
         "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "local_shell_call_output", "call_id": "s", "output": "hi"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ],
    "tools": [
        {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "local_shell"},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "f"}]},
    ],
    "tool_choice": {"type": "custom", "name": "patch"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
    "stream_options": {"include_usage": True},
}  # fmt: skip
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 10,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "document", "title": "a", "citations": {"enabled": True}, "source": {
                "type": "content", "content": [{"type": "text", "text": "page"}]}},
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "r"}]},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "tool_use", "id": "c", "name": "bash", "input": {}, "caller": {"type": "direct"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c", "content": [
                {"type": "tool_reference", "tool_name": "b"}, {"type": "text", "text": "hi"}]},
        ]},
        {"role": "system", "content": "On.", "output_config": {"effort": "low"}},
        {"role": "system", "content": [
            {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"name": "n",
                "input_schema": {}}}},
            {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "b"}}]},
    ],
    "tools": [{"name": "bash", "input_schema": {}}, {"type": "bash_20250124", "name": "bash2"}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "x"}},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}},
        "task_budget": {"type": "tokens", "total": 1}},
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919",
        "keep": {"type": "tool_uses", "value": 1}, "trigger": {"type": "input_tokens", "value": 1}}]},
    "metadata": {"user_id": "u"},
    "diagnostics": {"previous_message_id": "m"},
    "cache_control": {"type": "ephemeral"},
}  # fmt: skip
FREE_ALSO = ("schema", "env")

DOORS = {
    "messages": lambda body: read_messages(body),
    "count": lambda body: read_counted(body),
    "chat": lambda body: request_from_chat(decode(body, ChatParams)),
    "responses": lambda body: request_from_responses(decode(body, ResponsesParams)),
}


def requests() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A name, a door and a whole request."""
    yield "every object of Messages", "messages", MESSAGES
    counted = {name: MESSAGES[name] for name in MESSAGES if name in COUNTED.fields}
    yield "every object that is counted", "count", counted
    yield "every object of Chat Completions", "chat", CHAT
    yield "every object of Responses", "responses", RESPONSES
    for each in recordings():
        yield each.name, "messages" if each.is_messages else "responses", each.body


LEFT_OUT = "web_search"
"""A tool of the vendor's: nothing of it goes out, so nothing in it is judged."""


def places(body: dict[str, Any]) -> list[str]:
    return [
        place
        for place, given in objects_of(body)
        if given.get("type") != LEFT_OUT
        and not any(place.endswith(f".{free}") or f".{free}." in place for free in FREE_ALSO)
    ]


def at(body: dict[str, Any], place: str) -> dict[str, Any]:
    return dict(objects_of(body))[place]


@pytest.mark.parametrize(
    ("door", "body"), [each[1:] for each in requests()], ids=[each[0] for each in requests()]
)
def test_an_unknown_field_of_any_object_is_refused_by_its_place(door: str, body: dict[str, Any]) -> None:
    DOORS[door](json.dumps(body).encode())  # as it is, it passes
    for place in places(body):
        changed = copy.deepcopy(body)
        at(changed, place)["priority_of_next_year"] = "high"
        with pytest.raises(InvalidRequest) as refused:
            DOORS[door](json.dumps(changed).encode())
        name = f"{place}.priority_of_next_year" if place else "priority_of_next_year"
        assert refused.value.message.startswith(f"`{name}`"), refused.value.message


@pytest.mark.parametrize(
    "recording", [each for each in recordings() if each.is_messages], ids=lambda each: each.name
)
def test_a_block_of_an_unknown_kind_is_refused(recording: Recording) -> None:
    for kind in ("container_upload", "mcp_tool_listing", "block_of_next_year", None, 7):
        body = copy.deepcopy(recording.body)
        body["messages"][0]["content"][0] = {"type": kind, "file_id": "file_1"}
        with pytest.raises(InvalidRequest, match=r"`messages\[0\]\.content\[0\]\.type`"):
            read_messages(json.dumps(body).encode())


@given(
    name=st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1),
    value=st.sampled_from([1, "x", None, {}]),
)
@pytest.mark.parametrize("door", DOORS)
def test_any_name_that_is_not_published_is_refused(door: str, name: str, value: object) -> None:
    whole = {"messages": MESSAGES, "count": MESSAGES, "chat": CHAT, "responses": RESPONSES}[door]
    known = {
        "messages": {*ASKED.fields, *REFUSED, "thread"},
        "count": {*COUNTED.fields, *REFUSED, "thread"},
        "chat": set(ChatParams.__struct_fields__),
        "responses": set(ResponsesParams.__struct_fields__),
    }[door]
    if name in known:
        return
    body = {key: whole[key] for key in whole if key in known}
    with pytest.raises(InvalidRequest, match=f"`{name}`"):
        DOORS[door](json.dumps({**body, name: value}).encode())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("cache_control.ttl", "24h"),
        ("system[0].cache_control.type", "lasting"),
        ("messages[1].role", "developer"),
        ("messages[0].role", ["user"]),
    ],
)
def test_a_word_that_has_a_price_or_a_meaning_of_its_own_is_refused(place: str, value: object) -> None:
    body = copy.deepcopy(MESSAGES)
    above, _, last = place.rpartition(".")
    at(body, above)[last] = value
    with pytest.raises(InvalidRequest) as refused:
        read_messages(json.dumps(body).encode())
    assert refused.value.message.startswith(f"`{place}`")
