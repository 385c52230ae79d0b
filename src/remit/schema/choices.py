"""The values that a field takes, found where a caller sent another one: of every enum and tag there is, by its type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import inspect

_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<item>\d+|\.\.\.)\]")
_ANY_KEY = "..."
"""How msgspec names the value of a map, whatever its key."""
_UNREAD: Any = object()  # Any: stands for JSON that could not be read
_SHOWN_CHARACTERS_MAX = 80


class Choices(NamedTuple):
    """A field with a closed set of values, and the value that is none of them."""

    place: str
    values: tuple[str, ...]
    given: str
    """As it is shown to people."""
    is_met: bool
    is_missing: bool
    is_closed: bool
    """Nothing but these values (or null) may stand there."""

    @property
    def listed(self) -> str:
        """The values in words."""
        return ", ".join(self.values)

    @property
    def wording(self) -> str:
        """Describe the values that are allowed."""
        return f"one of {self.listed}" if len(self.values) > 1 else self.listed

    def explains(self, what: str) -> bool:
        """Return whether msgspec's word for what is wrong is about these values; of a wrong type only where
        nothing else may stand in the field."""
        return self.is_closed or not what.startswith("Expected ")


def find_choices(
    type: Any, path: str, body: bytes | None
) -> Choices | None:  # Any: what msgspec decodes into
    """The first field at `path` (as msgspec says it, such as `events[0].type`) whose value is none of those it may
    have; None: no closed set of values is asked for there. `body` None, or one that is no JSON: what the type alone says."""
    steps = [_step(found) for found in _STEP.finditer(path if path.startswith("[") else f".{path}")]
    data = _UNREAD if body is None else _read(body)
    found = _walk(_alternatives(_type_info(type)), steps, data, "")
    wrong = [one for one in found if not one.is_met]
    if not wrong:
        return None
    values = chain.from_iterable(one.values for one in (wrong[:1] if data is not _UNREAD else wrong))
    return wrong[0]._replace(values=tuple(dict.fromkeys(values)))


def _step(found: re.Match[str]) -> str | int:
    item = found["item"]
    if item is None:
        return found["field"]
    return item if item == _ANY_KEY else int(item)


@lru_cache(maxsize=64)
def _type_info(type: Any) -> inspect.Type:  # Any: as above
    return inspect.type_info(type)


def _read(body: bytes) -> Any:  # Any: JSON
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UNREAD  # what comes behind the wrong value is broken as well


def _as_object(data: Any) -> dict[str, Any] | None:  # Any: JSON
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None  # Any: JSON


def _as_list(data: Any) -> list[Any]:  # Any: JSON
    return cast("list[Any]", data) if isinstance(data, list) else []  # Any: JSON


def _alternatives(info: inspect.Type) -> list[inspect.Type]:
    while isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, inspect.UnionType):
        return list(chain.from_iterable(map(_alternatives, info.types)))
    return [info]


def _walk(
    alternatives: Sequence[inspect.Type],
    steps: Sequence[str | int],
    data: Any,  # Any: JSON
    place: str,
    *,
    is_missing: bool = False,
) -> Iterator[Choices]:
    if not steps:
        values = list(chain.from_iterable(map(_values, alternatives)))
        if values:
            rest = [one for one in alternatives if not _values(one) and not isinstance(one, inspect.NoneType)]
            yield _choices(place, values, data, is_missing=is_missing, is_closed=not rest)
    elif isinstance(steps[0], int):
        items = _as_list(data)
        item = items[steps[0]] if steps[0] < len(items) else _UNREAD
        yield from _walk(_of_items(alternatives), steps[1:], item, f"{place}[{steps[0]}]")
    elif steps[0] == _ANY_KEY:
        known = _as_object(data)
        for key, value in known.items() if known is not None else [(_ANY_KEY, _UNREAD)]:
            yield from _walk(_of_items(alternatives), steps[1:], value, f"{place}.{key}")
    else:
        yield from _walk_field(alternatives, steps[0], steps[1:], data, place)


def _walk_field(
    alternatives: Sequence[inspect.Type],
    name: str,
    rest: Sequence[str | int],
    data: Any,  # Any: JSON
    place: str,
) -> Iterator[Choices]:
    where = f"{place}.{name}" if place else name
    structs = [one for one in alternatives if isinstance(one, inspect.StructType)]
    known = _as_object(data)
    if known is None and data is not _UNREAD:
        return
    value: Any = _UNREAD if known is None else known.get(name)  # Any: JSON
    is_missing = known is not None and name not in known
    tags = [one for one in structs if one.tag_field == name]
    if tags and not rest:
        told = [one for one in tags if getattr(one.cls, "IS_TOLD", True)] or tags
        yield _choices(where, [one.tag for one in told], value, is_missing=is_missing, is_closed=True)
        return
    for one in structs:
        if known is not None and one.tag_field is not None and known.get(one.tag_field) != one.tag:
            continue
        for field in one.fields:
            if field.encode_name == name:
                yield from _walk(_alternatives(field.type), rest, value, where, is_missing=is_missing)


def _choices(
    place: str,
    values: Sequence[Any],  # Any: text and numbers
    given: Any,  # Any: JSON
    *,
    is_missing: bool,
    is_closed: bool,
) -> Choices:
    return Choices(
        place=place or "body",
        values=tuple(dict.fromkeys(str(value) for value in values)),
        given=_shown(given),
        is_met=any(type(value) is type(given) and value == given for value in values),
        is_missing=is_missing,
        is_closed=is_closed,
    )


def _shown(given: Any) -> str:  # Any: JSON
    if given is _UNREAD:
        return ""
    shown = repr(given) if isinstance(given, str) else msgspec.json.encode(given).decode()
    return shown if len(shown) <= _SHOWN_CHARACTERS_MAX else f"{shown[:_SHOWN_CHARACTERS_MAX]}…"


def _values(info: inspect.Type) -> Sequence[Any]:  # Any: text and numbers
    if isinstance(info, inspect.LiteralType):
        return info.values
    if isinstance(info, inspect.EnumType):
        return [member.value for member in info.cls]
    return ()


def _of_items(alternatives: Sequence[inspect.Type]) -> list[inspect.Type]:
    found: list[inspect.Type] = []
    for one in alternatives:
        if isinstance(one, inspect.DictType):
            found += _alternatives(one.value_type)
        elif isinstance(one, inspect.ListType | inspect.VarTupleType | inspect.SetType):
            found += _alternatives(one.item_type)
    return found
