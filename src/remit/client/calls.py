"""Methods of the client, made of the operations that they call: for an event loop and for programs without one, from one line.

A method's parameters are those of the path, by position, and the fields of the body or query, by name. Its answer is the
operation's: the server's JSON, unchanged. The type says what is in it; a newer server may say more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from remit.client.blocking import BlockingEventStream
from remit.client.stream import EventStream
from remit.schema.lists import ListOf
from remit.schema.operation import AnyOperation, Events, Operation

P = ParamSpec("P")
A = TypeVar("A")
M = TypeVar("M")
L = TypeVar("L")
B = TypeVar("B")


class InLoop:
    """The types of a client whose methods are awaited."""


class Blocking:
    """The types of a client whose methods return when they are done."""


class Caller(Protocol):
    """Carries calls out in one of the two ways; what each answers is said where a method of it is got (`Member`)."""

    def call(self, operation: AnyOperation, *path: str, **fields: object) -> object:
        """The answer of one call."""
        ...

    def items(self, operation: AnyOperation, *path: str, **fields: object) -> object:
        """Every item of a list, page by page."""
        ...

    def stream(self, operation: AnyOperation, *path: str, **fields: object) -> object:
        """Events as they come."""
        ...

    def download(self, operation: AnyOperation, *path: str) -> object:
        """Bytes as they come."""
        ...


class Resource(Generic[M]):
    """Calls that belong together; `M` says whether they are awaited."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller


class Member(Generic[L, B]):
    """One call of a resource: `L` of a client whose methods are awaited, `B` of one whose methods block."""

    def __init__(
        self,
        operation: AnyOperation,
        how: Literal["call", "items", "stream", "download"],
        **more: object,
    ) -> None:
        self._operation = operation
        self._how = how
        self._more = more
        self.__doc__ = operation.summary

    @overload
    def __get__(self, of: Resource[InLoop], kind: object = None) -> L: ...
    @overload
    def __get__(self, of: Resource[Blocking], kind: object = None) -> B: ...
    def __get__(self, of: Resource[Any], kind: object = None) -> Any:
        carry_out = getattr(of._caller, self._how)  # pyright: ignore[reportPrivateUsage]  # one kind of thing
        return partial(carry_out, self._operation, **self._more)


Method = Member[Callable[P, Coroutine[Any, Any, A]], Callable[P, A]]
"""One answer."""
Items = Member[Callable[P, AsyncGenerator[A]], Callable[P, Iterator[A]]]
"""A list, page by page."""
Stream = Member[Callable[P, EventStream], Callable[P, BlockingEventStream]]
"""Events as they come; `after` says where it begins."""
Download = Member[
    Callable[P, AbstractAsyncContextManager[AsyncIterable[bytes]]],
    Callable[P, AbstractContextManager[Iterator[bytes]]],
]
"""Bytes, to be read inside of a `with`."""


def call(operation: Operation[P, Any, Any, A]) -> Method[P, A]:
    """Make the method of an operation whose path has no parameters."""
    return Member(operation, "call")


def call_one(operation: Operation[P, Any, Any, A]) -> Method[Concatenate[str, P], A]:
    """Make the method of an operation whose path has one parameter."""
    return Member(operation, "call")


def call_two(operation: Operation[P, Any, Any, A]) -> Method[Concatenate[str, str, P], A]:
    """Make the method of an operation whose path has two parameters."""
    return Member(operation, "call")


def items(operation: Operation[P, Any, Any, ListOf[A]]) -> Items[P, A]:
    """Make the iterator of a list whose path has no parameters."""
    return Member(operation, "items")


def items_of(operation: Operation[P, Any, Any, ListOf[A]]) -> Items[Concatenate[str, P], A]:
    """Make the iterator of a list whose path has one parameter."""
    return Member(operation, "items")


def stream_of(
    operation: Operation[P, Any, Any, Events], *, after: str | None = None
) -> Stream[Concatenate[str, P]]:
    """Make the stream of a path with one parameter; without another `after` it begins there, or now."""
    return Member(operation, "stream", after=after)


def bytes_of(operation: Operation[[], None, Any, bytes]) -> Download[[str]]:
    """Make the download of a path with one parameter."""
    return Member(operation, "download")


def bytes_of_two(operation: Operation[[], None, Any, bytes]) -> Download[[str, str]]:
    """Make the download of a path with two parameters."""
    return Member(operation, "download")
