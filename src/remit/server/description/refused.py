"""Operations of official clients that are not served: refused by name, never by a bare 404."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp

from remit.errors import NotServed
from remit.schema.operation import AnyOperation, Operation
from remit.server.operations.router import Route
from remit.values import Principal


class RefusedEndpoint(msgspec.Struct, frozen=True):
    """A method of the official SDK and what it calls."""

    method: str
    http_method: Literal["GET", "POST", "DELETE"]
    path: str
    tier: Literal["core", "admin"]

    @property
    def key(self) -> tuple[str, str]:
        """Return what calls of the endpoint have in common, however their parameters are named."""
        return self.http_method, path_shape(self.path)


class Refusal(Route):
    """A route that reads nothing."""

    async def answer(
        self, request: Request, caller: Principal | None, path: Mapping[str, str], *, body_bytes_max: int
    ) -> ASGIApp:
        """Raises NotServed, always."""
        raise NotServed(self.operation.summary)


@cache
def endpoints() -> tuple[RefusedEndpoint, ...]:
    """Every method of the official SDK that Remit knows by name (`scripts/keep_endpoints.py` writes them down)."""
    text = files("remit.server.description").joinpath("endpoints.json").read_bytes()
    return tuple(msgspec.json.decode(text, type=list[RefusedEndpoint]))


def refusals(served: Iterable[Route]) -> list[Refusal]:
    """A route for every method of the SDK that `served` lacks."""
    taken = {key for route in served for key in operation_keys(route.operation)}
    names: dict[tuple[str, str], list[RefusedEndpoint]] = {}
    for one in endpoints():
        if one.key not in taken:
            names.setdefault((one.http_method, one.path), []).append(one)
    return [_refusal(tuple(called)) for called in names.values()]


def operation_keys(operation: AnyOperation) -> set[tuple[str, str]]:
    """Method and shape of path, for each method of the operation."""
    return {(method, path_shape(operation.path)) for method in operation.methods}


@cache
def _refusal(called: tuple[RefusedEndpoint, ...]) -> Refusal:
    """Says the same for every server of a process."""
    one, names = called[0], " or ".join(each.method for each in called)
    summary = f"{names} ({one.http_method} {one.path}) is not served by this version of Remit; see docs/compatibility.md."
    operation = Operation(one.http_method, one.path, summary, answer=dict[str, Any], is_described=False)
    return Refusal(operation, _never)


async def _never(*_: object) -> None:
    raise AssertionError("a refusal calls no handler")


@cache
def path_shape(path: str) -> str:
    """The path with its parameters made anonymous."""
    return re.sub(r"{[^}]*}", "{}", path)
