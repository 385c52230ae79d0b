"""JSON against the official SDK's own types, recursively. The SDK itself does not raise on what is missing or wrong."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")

OwnFields = Mapping[str, frozenset[str]]
"""Fields of Remit's own by the name of the SDK's type in which they stand."""


class Comparison:
    """Findings of one comparison after the other; each names the place."""

    def __init__(self, own: OwnFields) -> None:
        self._own = own
        self.own_seen: set[tuple[str, str]] = set()

    def findings(self, value: Any, type: Any, place: str) -> list[str]:
        """What of the value is not as the type says."""
        origin = get_origin(type)
        if type is Any or type is object:
            return []
        if origin is Annotated:
            return self.findings(value, get_args(type)[0], place)
        if origin in (Union, types.UnionType):
            return self._of_union(value, get_args(type), place)
        if origin is Literal:
            return [] if value in get_args(type) else [f"{place}: {value!r} is none of {get_args(type)}"]
        if origin in (list, typing.List):  # noqa: UP006 the SDK writes both
            return self._of_list(value, get_args(type)[0], place)
        if origin is dict:
            return self._of_map(value, get_args(type)[1], place)
        if isinstance(type, type_of_models) and issubclass(type, BaseModel):
            return self._of_model(value, type, place)
        return _of_scalar(value, type, place)

    def _of_model(self, value: Any, model: type[BaseModel], place: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{place}: {value!r} is no object ({model.__name__})"]
        known: set[str] = set()
        found: list[str] = []
        for name, field in model.model_fields.items():
            key = field.alias or name
            known.add(key)
            if key in value:
                found += self.findings(value[key], field.annotation, f"{place}.{key}")
            elif field.is_required():
                found.append(f"{place}.{key}: is missing ({model.__name__})")
        own = self._own.get(model.__name__, frozenset())
        for key in value.keys() - known:
            if key in own:
                self.own_seen.add((model.__name__, key))
            else:
                found.append(f"{place}.{key}: is not in {model.__name__}")
        return found

    def _of_union(self, value: Any, members: tuple[Any, ...], place: str) -> list[str]:
        tagged = [
            one for one in members if isinstance(value, dict) and _tag(one) == value.get("type", object())
        ]
        best: list[str] | None = None
        for member in tagged or members:
            found = self.findings(value, member, place)
            if best is None or len(found) < len(best):
                best = found
        if isinstance(value, dict) and not tagged and best and any(_tag(one) for one in members):
            return [f"{place}: no member of the union has the type {value.get('type')!r}"]
        return best or []

    def _of_list(self, value: Any, item: Any, place: str) -> list[str]:
        if not isinstance(value, list):
            return [f"{place}: {value!r} is no list"]
        return [found for n, one in enumerate(value) for found in self.findings(one, item, f"{place}[{n}]")]

    def _of_map(self, value: Any, item: Any, place: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{place}: {value!r} is no object"]
        return [found for key, one in value.items() for found in self.findings(one, item, f"{place}.{key}")]


type_of_models = type


def _tag(member: Any) -> str | None:
    """The constant of a model's `type`, where it has one."""
    if get_origin(member) is Annotated:
        member = get_args(member)[0]
    field = getattr(member, "model_fields", {}).get("type")
    values = get_args(field.annotation) if field is not None else ()
    return values[0] if len(values) == 1 else None


def _of_scalar(value: Any, type: Any, place: str) -> list[str]:
    if type is datetime:
        fits = isinstance(value, str) and _TIME.match(value) is not None
    elif type is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif type is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif type is types.NoneType:
        fits = value is None
    elif isinstance(type, type_of_models):
        fits = isinstance(value, type)
    else:
        raise AssertionError(f"{place}: the comparison does not know {type!r}")
    return [] if fits else [f"{place}: {value!r} is no {type.__name__}"]
