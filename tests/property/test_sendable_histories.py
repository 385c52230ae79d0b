"""Whatever people, tools and models said: the request made of it breaks no published rule."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.models.drivers.anthropic_request import request_body
from remit.models.drivers.openai_chat_request import chat_body
from remit.models.drivers.openai_responses_request import responses_body
from remit.models.http.endpoint import encode_body
from remit.session.folding import fold
from remit.session.history import History
from remit.session.sendable import distinct_uses, within_limits
from remit.session.state import SessionState
from remit.session.view import request
from remit.testing.messages_rules import SOURCES, body_of, violations
from remit.values import EventRow, JsonObject, ModelRequest

BLANKS = [
    "", " ", "\n\n", "\t", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x1f", "\x7f", "\x85", "\u00a0", "\u00ad", "\u1680",
    "\u180e", "\u2003", "\u200b", "\u200d", "\u2028", "\u2029", "\u202f", "\u2060", "\u3000", "\ufeff", " \u200b\n\ufeff ",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from([*BLANKS, "a\0b", "\0x", "x"]), st.text(max_size=12))
IDS = st.one_of(
    st.sampled_from(
        ["", "call_0", "toolu_1", "call_0_2", "functions.bash:0", "id with spaces", "ü|x/y=", "\0", "a" * 90]
    ),
    st.text(max_size=8),
)
NAMES = st.sampled_from(["bash", "read", "functions.bash", "", "no such tool!", "x" * 200, "wörk"])
INPUTS: st.SearchStrategy[Any] = st.sampled_from([{}, {"command": "ls"}, {"a": [1, None]}, {"a\0": ["\0"]}])


def png(width: int, height: int, *, bytes_more: int = 0) -> str:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"
    return base64.b64encode(head + bytes(bytes_more)).decode()


def image(data: str, media_type: str = "image/png") -> JsonObject:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def text(said: str) -> JsonObject:
    return {"type": "text", "text": said}


def search_result(said: str) -> JsonObject:
    return {"type": "search_result", "source": "s", "title": "t", "content": [text(said)]}


def tool_use(id: str, name: str, given: JsonObject) -> JsonObject:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


DATA = [
    png(1, 1),
    png(2001, 10),
    png(9000, 10),
    png(0, 5),
    png(8000, 8000),
    "aGk=",
    "",
    "?",
    png(1, 1) + "A",
    png(1, 1)[:-3],
    "R0lGODlhAQABAAAA",
]
IMAGES = st.builds(image, st.sampled_from(DATA), st.sampled_from(["image/png", "image/jpeg", "image/gif"]))
OTHER_MEDIA: st.SearchStrategy[JsonObject] = st.sampled_from(
    [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "url", "url": "ftp://example.com/a.png"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": " "}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        {
            "type": "document",
            "title": "",
            "context": " ",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
        },
        {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": "aGk="}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"},
        },
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "aGkKJVBERi0xLjQK"},
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK\n"},
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "\u200b"}},
    ]
)
SEARCH_RESULTS = st.builds(search_result, TEXTS)
TEXT_BLOCKS = st.builds(text, TEXTS)
USER = st.lists(st.one_of(TEXT_BLOCKS, IMAGES, OTHER_MEDIA), min_size=1, max_size=4)
RESULTS = st.lists(st.one_of(TEXT_BLOCKS, IMAGES, OTHER_MEDIA, SEARCH_RESULTS), max_size=3)
THINKING = st.sampled_from(
    [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking", "thinking": "Of another.", "signature": "openai:rs_1:sealed"},
        {"type": "redacted_thinking", "data": "c2ln"},
    ]
)
USES = st.builds(tool_use, IDS, NAMES, INPUTS)
ANSWERS = st.lists(st.one_of(TEXT_BLOCKS, THINKING, USES), max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("user"), USER),
        st.tuples(st.just("answer"), ANSWERS),
        st.tuples(st.just("old answer"), ANSWERS),
        st.tuples(st.just("late result"), RESULTS),
        st.tuples(st.just("note"), st.just([])),
        st.tuples(st.just("clear"), st.just([])),
        st.tuples(st.just("compact"), st.just([])),
        st.tuples(st.just("other tools"), st.just([])),
    ),
    max_size=10,
)


class Log:
    """A session's rows, as its writer would append them."""

    def __init__(self) -> None:
        self.state = SessionState()
        self.number = 0
        self.agent: JsonObject = {"model": {"id": "m"}, "system": " ", "tools": []}
        self.append("session.created", session={}, agent=self.agent, thread_id="sthr_1")

    def append(self, type: str, *, visibility: str = "private", **fields: Any) -> str:
        self.number += 1
        id = f"sevt_{self.number}"
        body = {"id": id, "type": type, "processed_at": "2026-01-01T00:00:00Z", **fields}
        row = EventRow(
            workspace_id="w",
            stream_id="sesn_1",
            seq=self.number,
            event_id=id,
            type=type,
            visibility=cast("Any", visibility),
            schema_version=1,
            created_at_us=self.number,
            body=msgspec.json.encode(body),
        )
        self.state = fold([row], self.state)
        return id

    def answer(
        self, content: list[JsonObject], results: Callable[[], list[JsonObject]], *, is_old: bool
    ) -> None:
        """A model's answer and a result of each tool use. An old log may have two uses of one id."""
        said = content if is_old else list(distinct_uses(content))
        ids = {
            str(block["id"]): f"sevt_use_{self.number}_{index}"
            for index, block in enumerate(said)
            if block["type"] == "tool_use"
        }
        self.append(
            "model.ended",
            call_id=f"call_{self.number}",
            content=said,
            stop_reason="end_turn",
            tool_use_ids=ids,
        )
        for use_id in ids.values():
            content = results()
            self.append(
                "agent.tool_result",
                visibility="public",
                tool_use_id=use_id,
                content=content,
                is_error=len(content) % 2 == 1,
            )

    def check(self) -> None:
        state = self.state
        if not state.needs_model or state.tool_uses:
            return
        asked = within_limits(request(state, ()))
        # The Messages driver's own body: with its ids, its cache marks, and without what other models thought.
        found = violations(msgspec.json.decode(encode_body(request_body(asked))))
        assert not found, (found, asked.messages)
        for is_vendor in (True, False):
            _check_chat(
                chat_body(asked, is_vendor=is_vendor)["messages"], id_length_max=40 if is_vendor else 1000
            )
        _check_responses(responses_body(asked)["input"])


def _check_chat(messages: Any, *, id_length_max: int) -> None:
    """What OpenAI's Chat Completions refuse: calls and answers that do not belong together, messages of nothing."""
    open_ids: list[str] = []
    for said in messages:
        if said["role"] == "tool":
            assert said["tool_call_id"] in open_ids
            open_ids.remove(said["tool_call_id"])
            assert said["content"]
            continue
        assert not open_ids, "a call without an answer"
        open_ids = [call["id"] for call in said.get("tool_calls", ())]
        assert len(set(open_ids)) == len(open_ids)
        assert all(0 < len(id) <= id_length_max for id in open_ids)
        assert said["content"] or (open_ids and said["content"] is None), said
        assert "\\u0000" not in msgspec.json.encode(said).decode()
    assert not open_ids


def _check_responses(items: Any) -> None:
    """What Responses refuse: outputs without calls, calls without outputs, messages of nothing."""
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in items if item["type"] == "function_call_output"]
    assert sorted(calls) == sorted(outputs)
    assert len(set(calls)) == len(calls)
    assert all(0 < len(id) <= 64 for id in calls)
    assert all(item["content"] for item in items if item["type"] == "message")


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, data=st.data())
def test_a_request_made_of_any_log_is_one_that_a_strict_provider_takes(
    steps: list[tuple[str, list[JsonObject]]], data: st.DataObject
) -> None:
    log = Log()
    for kind, blocks in steps:
        match kind:
            case "user":
                log.append("user.message", visibility="public", content=blocks)
            case "answer" | "old answer":
                log.answer(blocks, lambda: data.draw(RESULTS), is_old=kind == "old answer")
            case "late result":
                log.state.history.add_tool_result("sevt_gone", blocks, seq=log.number, is_error=True)
                log.state.needs_model = True
            case "note":
                log.append("model.note", name="n", text="<system>Go on.</system>")
            case "clear":
                log.append("context.cleared", before_seq=max(1, log.number - 2))
            case "compact":
                log.append("context.compacted", summary=" ")
            case _:
                log.append("session.updated", visibility="public", agent={**log.agent, "tools": [{}]})
                log.agent = log.state.agent
        log.check()


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.sampled_from([(1, 1), (2001, 9), (8000, 10)]), max_size=140), heavy=st.booleans())
def test_any_number_of_images_is_brought_within_a_request(sizes: list[tuple[int, int]], heavy: bool) -> None:
    history = History()
    for width, height in sizes:
        data = png(width, height, bytes_more=600_000 if heavy else 0)
        block: JsonObject = {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": data},
        }
        history.add_user([block])
    history.add_user([{"type": "text", "text": "Look."}])
    asked = within_limits(ModelRequest(model="m", messages=history.encode(), max_tokens=1))
    assert violations(body_of(asked)) == []
    assert len(cast("list[Any]", asked.messages[0]["content"])) == len(sizes) + 1
    if len(sizes) <= 20 and not heavy:
        assert str(asked).count("image/png") == len(sizes)


def message(role: str, *blocks: JsonObject) -> JsonObject:
    return {"role": role, "content": list(blocks)}


USE: JsonObject = {"type": "tool_use", "id": "u1", "name": "bash", "input": {}}
RESULT: JsonObject = {"type": "tool_result", "tool_use_id": "u1", "content": [text("ok")]}
FAILED: JsonObject = {**RESULT, "is_error": True, "content": [image(png(1, 1))]}
HI = message("user", text("hi"))
THOUGHT: JsonObject = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
MARK: JsonObject = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
BROKEN: dict[str, list[JsonObject]] = {
    "not_empty": [],
    "role": [HI, message("wizard", text("x")), HI],
    "begins_with_user": [message("assistant", text("x")), HI],
    "ends_with_user": [HI, message("assistant", text("x"))],
    "content": [HI, message("assistant"), HI],
    "blank_text": [message("user", text(" \n"))],
    "nul": [message("user", text("a\0b"))],
    "block_type": [message("user", THOUGHT)],
    "use_id": [
        HI,
        message("assistant", {**USE, "id": "a b"}),
        message("user", {**RESULT, "tool_use_id": "a b"}),
    ],
    "use_id_twice": [HI, *[message("assistant", USE), message("user", RESULT)] * 2],
    "use_name": [HI, message("assistant", {**USE, "name": "a.b"}), message("user", RESULT)],
    "use_input": [HI, message("assistant", {**USE, "input": "x"}), message("user", RESULT)],
    "unanswered": [HI, message("assistant", USE), HI],
    "orphan": [HI, message("assistant", text("x")), message("user", RESULT)],
    "answered_twice": [HI, message("assistant", USE), message("user", RESULT, RESULT)],
    "results_first": [HI, message("assistant", USE), message("user", text("x"), RESULT)],
    "error_is_text": [HI, message("assistant", USE), message("user", FAILED)],
    "image_type": [message("user", image(png(1, 1), "image/jpeg"))],
    "image_bytes": [message("user", image(png(1, 1, bytes_more=4_000_000)))],
    "image_side": [message("user", image(png(8001, 1)))],
    "image_side_of_many": [message("user", *[image(png(2001, 1))] * 21)],
    "images": [message("user", *[image(png(1, 1))] * 101)],
    "document": [message("user", {"type": "document", "source": {"type": "text", "data": ""}})],
    "thinking_signature": [HI, message("assistant", {**THOUGHT, "signature": ""}, text("x")), HI],
    "thinking_last": [HI, message("assistant", text("x"), THOUGHT), HI],
    "cache_marks": [message("user", *[MARK] * 5)],
    "request_bytes": [message("user", text("x" * (33 << 20)))],
}
"""The least request that breaks each rule; the two that are of no message follow below."""


@pytest.mark.parametrize("rule", [*BROKEN, "max_tokens", "tool_names"])
def test_each_rule_is_broken_by_its_own_request_and_has_a_source(rule: str) -> None:
    body: JsonObject = {"model": "m", "max_tokens": 1, "messages": list(BROKEN.get(rule, [HI]))}
    if rule == "max_tokens":
        body["max_tokens"] = 0
    if rule == "tool_names":
        body["tools"] = [{"name": "a"}, {"name": "a"}]
    assert {one.rule for one in violations(body)} == {rule}
    assert all(one.source for one in violations(body))


def test_every_rule_is_broken_by_a_request_above() -> None:
    assert set(SOURCES) == {*BROKEN, "max_tokens", "tool_names"}
