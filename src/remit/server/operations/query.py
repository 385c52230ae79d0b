"""Reading a query as its Struct says: a name that it lacks is a 400, `beta` is passed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from remit.clock import parse_rfc3339
from remit.errors import InvalidRequest

Q = TypeVar("Q")
Read = Callable[[str, list[str]], Any]  # Any: the value of one field, checked by the Struct's own types
JsonSchema = dict[str, Any]  # Any: JSON

PAIRS_MAX = 1_000
DIGITS_MAX = 20
"""Of a number in a query, leading zeros included."""


def read_query(type: Callable[..., Q], query: bytes) -> Q:
    """The query of a request. Raises InvalidRequest."""
    if not query:
        return type()
    fields = _fields(type)
    given = _given(query, fields)
    return type(**{name: read(wire, given[wire]) for wire, (name, read) in fields.items() if wire in given})


def query_names(type: Any) -> Mapping[str, JsonSchema]:  # Any: a Struct's type
    """Return the fields of a query, by the names that documentation has for them, each with its schema."""
    (_, components) = msgspec.json.schema_components([type])
    properties: dict[str, JsonSchema] = components[type.__name__]["properties"]
    return {_documented(name, schema): _plain(schema) for name, schema in properties.items()}


def _documented(name: str, schema: JsonSchema) -> str:
    return f"{name}[]" if schema.get("type") == "array" else name


def _plain(schema: JsonSchema) -> JsonSchema:
    """Without null and default: a query has neither."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    plain = {key: value for key, value in options[0].items() if key != "default"}
    return {**plain, "minLength": 1} if plain == {"type": "string"} else plain


def _given(query: bytes, fields: Mapping[str, object]) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=PAIRS_MAX
        )
    except ValueError as error:
        raise InvalidRequest(
            f"The query cannot be read; it must be UTF-8 with at most {PAIRS_MAX} parameters."
        ) from error
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        plain = name.removesuffix("[]")
        if plain == "beta":
            continue
        if plain not in fields:
            takes = ", ".join(sorted(fields)) or "none"
            raise InvalidRequest(f"`{name}`: there is no such query parameter; this call takes: {takes}.")
        given.setdefault(plain, []).append(value)
    return given


@cache
def _fields(type: Any) -> dict[str, tuple[str, Read]]:  # Any: a Struct's type
    """How each field is read, by its name in the query."""
    info = inspect.type_info(type)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: (field.name, _reader(field.type)) for field in info.fields}


def _reader(type: inspect.Type) -> Read:
    match type:
        case inspect.UnionType(types=types):
            (one,) = [each for each in types if not isinstance(each, inspect.NoneType)]
            return _reader(one)
        case inspect.Metadata(extra={"form": "a time"}):
            return _time
        case inspect.Metadata(type=inner):
            return _reader(inner)
        case inspect.IntType(ge=int(minimum), le=int(maximum)):
            return lambda name, values: _number(name, _one(name, values), minimum, maximum)
        case inspect.BoolType():
            return _flag
        case inspect.LiteralType(values=words):
            return lambda name, values: _choice(name, _one(name, values), [str(word) for word in words])
        case inspect.VarTupleType(item_type=inspect.LiteralType(values=words)):
            among = frozenset(str(word) for word in words)
            return lambda name, values: _texts(name, values, among)
        case inspect.VarTupleType(item_type=inspect.StrType(), max_length=int(limit)):
            return lambda name, values: _any_texts(name, values, limit)
        case inspect.StrType():
            return _one
        case _:
            raise TypeError(f"A query has no fields of {type!r}.")


def _one(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise InvalidRequest(f"`{name}`: is given {len(values)} times; give it once.")
    if not values[0]:
        raise InvalidRequest(f"`{name}`: is empty; give it a value or leave it out.")
    return values[0]


def _number(name: str, text: str, minimum: int, maximum: int) -> int:
    is_readable = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    if not is_readable or not minimum <= int(text) <= maximum:
        raise InvalidRequest(
            f"`{name}`: must be a whole number from {minimum} to {maximum}, not {text[:80]!r}."
        )
    return int(text)


def _flag(name: str, values: list[str]) -> bool:
    text = _one(name, values)
    if text not in ("true", "false"):
        raise InvalidRequest(f"`{name}`: must be true or false, not {text!r}.")
    return text == "true"


def _choice(name: str, text: str, words: list[str]) -> str:
    if text not in words:
        raise InvalidRequest(f"`{name}`: must be one of {', '.join(words)}, not {text!r}.")
    return text


def _texts(name: str, values: list[str], among: frozenset[str]) -> tuple[str, ...]:
    """All different values, sorted."""
    if len(values) > len(among):
        raise InvalidRequest(f"`{name}[]`: {len(values)} values; at most {len(among)}.")
    for value in values:
        if value not in among:
            raise InvalidRequest(f"`{name}[]`: {value!r} is none of: {', '.join(sorted(among))}.")
    return tuple(sorted(set(values)))


def _any_texts(name: str, values: list[str], limit: int) -> tuple[str, ...]:
    """All different values, in their order."""
    found = tuple(dict.fromkeys(values))
    if len(found) > limit:
        raise InvalidRequest(f"`{name}[]`: {len(found)} values; at most {limit}.")
    return found


def _time(name: str, values: list[str]) -> str:
    text = _one(name, values)
    written = text.replace(" ", "+") if "T" in text else text  # an unquoted + arrives as a space
    try:
        parse_rfc3339(written)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"`{name}`: must be a time such as 2026-01-31T12:00:00Z, not {text!r}."
        ) from error
    return written
