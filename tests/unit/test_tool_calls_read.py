"""Ids, names and arguments of calls, however they are written."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.models.drivers.tool_call_recovery import recover_tool_calls
from remit.models.drivers.tool_calls import CallIds, input_of, tool_name
from remit.toolsets.inputs import BadToolInput, parse_input
from remit.values import UNPARSED_INPUT, JsonObject, ModelRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    taken=st.lists(st.text(max_size=60)), given_ids=st.lists(st.text(max_size=60) | st.none() | st.integers())
)
def test_ids_are_well_formed_and_no_two_are_the_same(taken: list[str], given_ids: list[Any]) -> None:
    blocks: list[Any] = [{"type": "tool_use", "id": id} for id in taken]
    asked = ModelRequest(model="m", messages=({"role": "assistant", "content": blocks},), max_tokens=1)
    ids = CallIds(asked)
    made = [ids.new(id, otherwise=f"call__{number}") for number, id in enumerate(given_ids)]
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,40}", id) for id in made)
    assert len({*made, *taken}) == len(made) + len(set(taken))


@given(input=st.dictionaries(st.text(), JSON, max_size=4), times=st.integers(0, 2))
def test_an_object_is_the_input_however_often_it_is_encoded(input: dict[str, Any], times: int) -> None:
    written: Any = input
    for _ in range(times):
        written = json.dumps(written)
    assert input_of(written) == input


@given(written=st.text() | JSON)
def test_what_is_no_object_is_told_and_nothing_is_lost(written: Any) -> None:
    read = input_of(written)
    assert isinstance(read, dict)
    if set(read) == {UNPARSED_INPUT} and written != read:
        assert read[UNPARSED_INPUT] == written


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("bash", "bash"),
        ("functions.bash", "bash"),
        ("functions.bash:12", "bash"),
        ("bash<|channel|>commentary", "bash"),
        (" bash", "bash"),
        ("mcp__x.y", "mcp__x_y"),
        ("", "unnamed"),
        (None, "unnamed"),
        ("ä" * 100, "_"),
    ],
)
def test_a_name_is_that_of_a_tool_or_at_least_one_that_can_be_sent(written: Any, name: str) -> None:
    assert tool_name(written, frozenset({"bash"})) == name


@pytest.mark.parametrize("name", ["bash", "read", "edit"])
def test_the_model_is_told_what_it_wrote_and_no_name_that_it_did_not(name: str) -> None:
    with pytest.raises(BadToolInput) as told:
        parse_input(name, {UNPARSED_INPUT: '{"command": "ls'})
    assert '{"command": "ls' in str(told.value)
    assert "one JSON object" in str(told.value)
    assert UNPARSED_INPUT not in str(told.value)


WRITTEN = (
    "<function=bash>\n<parameter=command>\n5\n</parameter>\n<parameter=timeout>\n5\n</parameter>\n"
    '<parameter=env>\n{"a": 1}\n</parameter>\n</function>'
)


def test_a_parameter_without_quotes_is_what_its_schema_says() -> None:
    properties: JsonObject = {
        "command": {"type": "string"},
        "timeout": {"type": "integer"},
        "env": {"type": "object"},
    }
    tool: JsonObject = {"name": "bash", "input_schema": {"type": "object", "properties": properties}}
    recovered = recover_tool_calls(f"I run it.\n{WRITTEN}", frozenset({"bash"}), (tool,))
    assert recovered.text == "I run it."
    assert [call.input for call in recovered.calls] == [{"command": "5", "timeout": 5, "env": {"a": 1}}]


def test_a_call_that_is_only_shown_is_not_made() -> None:
    text = f"This is how it is written:\n```xml\n{WRITTEN}\n```\nNow you know."
    assert recover_tool_calls(text, frozenset({"bash"})) == (text, ())
