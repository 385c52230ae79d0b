"""Wherever a closed set of values is asked for, a wrong value is answered with those there are: all of the schema."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
import pytest
from msgspec import inspect

import remit.schema
from remit.errors import InvalidRequest
from remit.schema.choices import find_choices
from remit.schema.events import SendEvents
from remit.schema.wire import Params, convert, decode

WRONG = "no-such-value"


class Place(NamedTuple):
    """A field of a request that takes a closed set of values, and a body that is right up to there."""

    root: type[Params]
    path: str
    body: Any
    values: frozenset[str]
    told: frozenset[str]


def _requests() -> list[type[Params]]:
    """Every struct of the schema that is read from callers."""
    for module in pkgutil.iter_modules(remit.schema.__path__):
        importlib.import_module(f"remit.schema.{module.name}")
    found: list[type[Params]] = []
    waiting: list[type[Params]] = [Params]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found += [one for one in children if one.__module__.startswith("remit.schema.")]
    return found


def _plain(info: inspect.Type) -> list[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        return _plain(info.type)
    if isinstance(info, inspect.UnionType):
        return [one for member in info.types for one in _plain(member)]
    return [info]


def _walk(
    info: inspect.Type, path: str, depth: int
) -> Iterator[tuple[str, Any, frozenset[str], frozenset[str]]]:
    """Places at and below a field, each with the value that leads there."""
    members = _plain(info)
    literals = [one for one in members if isinstance(one, inspect.LiteralType)]
    structs = [one for one in members if isinstance(one, inspect.StructType)]
    if literals:
        values = frozenset(str(value) for one in literals for value in one.values)
        yield path, WRONG, values, values
    if len(structs) > 1 or any(one.tag is not None for one in structs):
        tags = frozenset(str(one.tag) for one in structs)
        told = frozenset(str(one.tag) for one in structs if getattr(one.cls, "IS_TOLD", True)) or tags
        yield f"{path}.type".lstrip("."), {"type": WRONG}, tags, told
    if depth == 0:
        return
    for one in structs:
        start = {} if one.tag is None else {one.tag_field: one.tag}
        for field in one.fields:
            for below, value, values, told in _walk(
                field.type, f"{path}.{field.encode_name}".lstrip("."), depth - 1
            ):
                yield below, {**start, field.encode_name: value}, values, told
    for one in members:
        if isinstance(one, inspect.ListType):
            for below, value, values, told in _walk(one.item_type, f"{path}[0]", depth - 1):
                yield below, [value], values, told
        if isinstance(one, inspect.DictType):
            for below, value, values, told in _walk(one.value_type, f"{path}.some", depth - 1):
                yield below, {"some": value}, values, told


def _places() -> list[Place]:
    return [
        Place(root, *found)
        for root in _requests()
        if root.__struct_config__.tag is None  # those with a tag are met where they stand
        for found in _walk(inspect.type_info(root), "", 6)
    ]


PLACES = _places()


def test_there_are_many_places_and_all_kinds_of_them() -> None:
    assert len(PLACES) > 100
    assert {"events[0].type", "config.type", "config.networking.type", "model.effort", "scope"} <= {
        one.path for one in PLACES
    }


@pytest.mark.requirement("errors values")
def test_a_wrong_value_is_answered_with_those_there_are_wherever_it_stands() -> None:
    for place in PLACES:
        with pytest.raises(InvalidRequest) as caught:
            decode(msgspec.json.encode(place.body), place.root)
        said = caught.value.message
        assert said.startswith(f"`{place.path}`: must be "), (place, said)
        assert said.endswith(f", not '{WRONG}'."), (place, said)
        listed = said.removeprefix(f"`{place.path}`: must be ").removesuffix(f", not '{WRONG}'.")
        assert frozenset(listed.removeprefix("one of ").split(", ")) == place.told, (place, said)


@pytest.mark.requirement("errors values")
def test_the_type_alone_says_the_values_where_the_body_breaks_off_behind_the_wrong_one() -> None:
    for place in PLACES:
        broken = msgspec.json.encode(place.body)[:-1]
        found = find_choices(place.root, place.path, broken)
        assert found is not None
        assert place.told <= set(found.values)


class Small(Params, frozen=True):
    """A request with an enum beside an object, and one of numbers in a map."""

    level: Literal["low", "high"] | dict[str, int] | None = None
    counts: dict[str, Literal[1, 2]] | None = None
    only: Literal["one"] | None = None


@pytest.mark.parametrize(
    ("type", "body", "said"),
    [
        (
            SendEvents,
            b'{"events":[{"content":[]}]}',
            "`events[0].type` is required; add it: one of user.message, ",
        ),
        (SendEvents, b'{"events":[{"type":7}]}', "`events[0].type`: must be one of user.message, "),
        (SendEvents, b'{"events":[{"type":"user.shout"}', "`events[0].type`: must be one of user.message, "),
        (Small, b'{"level":"mid"}', "`level`: must be one of high, low, not 'mid'."),
        (Small, b'{"level":7}', "`level`: expected `str | object | null`, got `int`."),
        (Small, b'{"counts":{"a":1,"b":3}}', "`counts.b`: must be one of 1, 2, not 3."),
        (Small, b'{"counts":{"a":"1"}}', "`counts.a`: must be one of 1, 2, not '1'."),
        (Small, b'{"only":"two"}', "`only`: must be one, not 'two'."),
        (Small, b'{"only":[1]}', "`only`: must be one, not [1]."),
    ],
)
def test_each_form_of_it(type: Any, body: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(body, type)
    assert caught.value.message.startswith(said)


def test_a_value_that_is_decoded_already_is_answered_alike() -> None:
    with pytest.raises(InvalidRequest, match="`level`: must be one of high, low, not 'mid'"):
        convert({"level": "mid"}, Small, what="body")


def test_a_long_value_is_cut() -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(msgspec.json.encode({"only": "x" * 10_000}), Small)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("word", ["anthropic_cloud", "self_hosted", "package_managers_and_custom"])
def test_what_is_older_or_refused_is_not_told(word: str) -> None:
    assert any(word in one.values for one in PLACES)
    assert not any(word in one.told for one in PLACES)
