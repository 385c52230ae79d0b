"""Operations with their handlers: what is read before a handler is called, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, cast

from starlette.requests import Request
from starlette.types import ASGIApp

from remit.schema.operation import Answer, AnyOperation, Operation
from remit.schema.wire import decode
from remit.server.operations.query import read_query
from remit.server.operations.requests import (
    check_betas,
    json_response,
    read_body,
    read_nothing,
    refuse_compressed,
)
from remit.values import Principal

B = TypeVar("B")
Q = TypeVar("Q")
A = TypeVar("A")
S = TypeVar("S")
Path = ParamSpec("Path")

_MARK = "__operations__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[B, Q]):
    """One request, read as its operation says."""

    request: Request
    """For its headers, and the pieces of an upload."""
    operation: AnyOperation
    caller: Principal | None
    body: B
    query: Q

    @property
    def principal(self) -> Principal:
        """Return the principal that asks."""
        assert self.caller is not None, "an operation for anybody has no principal"
        return self.caller

    @property
    def request_id(self) -> str:
        """Return the request's id as it stands in the answer's header."""
        return self.request.scope["request_id"]


Handler = Callable[
    ..., Awaitable[Any]
]  # Any: the answer, or an application that gives it; `handles` checks it


def handles(
    *operations: Operation[..., B, Q, A],
) -> Callable[
    [Callable[Concatenate[S, Call[B, Q], Path], Awaitable[A | ASGIApp]]],
    Callable[Concatenate[S, Call[B, Q], Path], Awaitable[A | ASGIApp]],
]:
    """Mark a method as what answers these operations. Parameters of their paths come as arguments of their names; the
    answer is JSON, or a response."""

    def mark(
        handler: Callable[Concatenate[S, Call[B, Q], Path], Awaitable[A | ASGIApp]],
    ) -> Callable[Concatenate[S, Call[B, Q], Path], Awaitable[A | ASGIApp]]:
        setattr(handler, _MARK, operations)
        return handler

    return mark


@dataclass(frozen=True)
class Route:
    """An operation and who answers it."""

    operation: AnyOperation
    handler: Handler

    async def answer(
        self,
        request: Request,
        caller: Principal | None,
        path: Mapping[str, str],
        *,
        body_bytes_max: int,
    ) -> ASGIApp:
        """Read the request and have it handled. Raises errors of `remit.errors`."""
        operation = self.operation
        check_betas(request.headers, operation.beta)
        query, body = None, None
        if operation.method != "*":
            query = read_query(operation.query, request.scope["query_string"])
            bytes_max = operation.body_bytes_max or body_bytes_max
            body = await _read_body(operation, request, bytes_max=bytes_max)
        call = Call(request=request, operation=operation, caller=caller, body=body, query=query)
        answer = await self.handler(call, **path)
        return json_response(cast("object", answer)) if isinstance(answer, dict | Answer) else answer


async def _read_body(
    operation: AnyOperation, request: Request, *, bytes_max: int
) -> Any:  # Any: of the operation's own type
    if operation.method == "GET":
        return None
    refuse_compressed(request)
    if operation.upload is not None:
        return None
    if operation.body is None:
        await read_nothing(request)
        return None
    body = await read_body(request, bytes_max=bytes_max)
    if operation.is_body_optional and not body.strip():
        return operation.body()
    return operation.reads(body) if operation.reads is not None else decode(body, operation.body)


def routes_of(*objects: object) -> Iterator[Route]:
    """The routes of each object's methods that answer operations, in the order in which they are written."""
    for one in objects:
        for name, method in vars(type(one)).items():
            for operation in getattr(method, _MARK, ()):
                yield Route(operation, getattr(one, name))


class FoundRoute(NamedTuple):
    """The route of a request, and what the path says; without a route, which methods the path takes."""

    route: Route | None
    path: Mapping[str, str]
    methods: frozenset[str] = frozenset()


class Router:
    """Finds the route of a request. Where a path could be several, what is written out goes before a parameter."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node, parts = self._root, route.operation.path.split("/")[1:]
            for part in parts:
                node = node.child(part)
            node.routes.update(dict.fromkeys(route.operation.methods, route))

    def find(self, method: str, path: str) -> FoundRoute:
        """Find the route of a request; a HEAD is a GET whose body nobody wants."""
        sought = "GET" if method == "HEAD" else method
        methods: set[str] = set()
        for routes, values in self._root.ends(path.split("/")[1:], 0, ()):
            route = routes.get(sought) or routes.get("*")
            if route is not None:
                return FoundRoute(route, dict(zip(route.operation.path_parameters, values, strict=True)))
            methods |= routes.keys()
        return FoundRoute(None, {}, frozenset(methods | {"HEAD"} if "GET" in methods else methods))


class _Node:
    """What paths that begin alike go on with."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        """Those that end here, by method."""
        self._literal: dict[str, _Node] = {}
        self._parameter: _Node | None = None
        self._rest: _Node | None = None

    def child(self, part: str) -> _Node:
        """The node behind a part of an operation's path, made if it is not there."""
        if part.endswith(":path}"):
            self._rest = self._rest or _Node()
            return self._rest
        if part.startswith("{"):
            self._parameter = self._parameter or _Node()
            return self._parameter
        return self._literal.setdefault(part, _Node())

    def ends(
        self, parts: Sequence[str], at: int, values: tuple[str, ...]
    ) -> Iterator[tuple[Mapping[str, Route], tuple[str, ...]]]:
        """Where the path can lead, with the values of its parameters."""
        if at == len(parts):
            yield self.routes, values
            return
        part = parts[at]
        literal = self._literal.get(part)
        if literal is not None:
            yield from literal.ends(parts, at + 1, values)
        if self._parameter is not None and part:
            yield from self._parameter.ends(parts, at + 1, (*values, part))
        if self._rest is not None:
            yield self._rest.routes, (*values, "/".join(parts[at:]))
