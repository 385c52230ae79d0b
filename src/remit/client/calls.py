"""Methods of the client, made of the operations that they call: for an event loop and for programs without one, from one line.

A method's parameters are those of the path, by position, and the fields of the body or query, by name. Its answer is the
operation's: the server's JSON, unchanged. The type says what is in it; a newer server may say more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from remit.client.blocking import BlockingEventStream
from remit.client.stream import EventStream
from remit.schema.lists import ListOf
from remit.schema.operation import AnyOperation, Events, Operation

P = ParamSpec("P")
A = TypeVar("A")
M = TypeVar("M")


class InLoop:
    """Of a client whose methods are awaited."""


class Blocking:
    """Of a client whose methods return when they are done."""


class Caller(Protocol):
    """Carries calls out in one of the two ways; what each answers is said where a method of it is got (`Method` and its
    siblings)."""

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


class Method(Generic[P, A]):
    """One call with one answer."""

    def __init__(self, operation: AnyOperation) -> None:
        self._operation = operation
        self.__doc__ = operation.summary

    @overload
    def __get__(self, of: Resource[InLoop], kind: object = None) -> Callable[P, Coroutine[Any, Any, A]]: ...
    @overload
    def __get__(self, of: Resource[Blocking], kind: object = None) -> Callable[P, A]: ...
    def __get__(self, of: Resource[Any], kind: object = None) -> Any:
        return partial(of._caller.call, self._operation)  # pyright: ignore[reportPrivateUsage]  # one kind of thing


class Items(Generic[P, A]):
    """A list."""

    def __init__(self, operation: AnyOperation) -> None:
        self._operation = operation

    @overload
    def __get__(self, of: Resource[InLoop], kind: object = None) -> Callable[P, AsyncGenerator[A]]: ...
    @overload
    def __get__(self, of: Resource[Blocking], kind: object = None) -> Callable[P, Iterator[A]]: ...
    def __get__(self, of: Resource[Any], kind: object = None) -> Any:
        return partial(of._caller.items, self._operation)  # pyright: ignore[reportPrivateUsage]  # as above


class Stream(Generic[P]):
    """Events of a stream; `after` says where it begins."""

    def __init__(self, operation: AnyOperation, after: str | None) -> None:
        self._operation = operation
        self._after = after

    @overload
    def __get__(self, of: Resource[InLoop], kind: object = None) -> Callable[P, EventStream]: ...
    @overload
    def __get__(self, of: Resource[Blocking], kind: object = None) -> Callable[P, BlockingEventStream]: ...
    def __get__(self, of: Resource[Any], kind: object = None) -> Any:
        return partial(of._caller.stream, self._operation, after=self._after)  # pyright: ignore[reportPrivateUsage]  # as above


class Download(Generic[P]):
    """Bytes, to be read inside of a `with`."""

    def __init__(self, operation: AnyOperation) -> None:
        self._operation = operation

    @overload
    def __get__(
        self, of: Resource[InLoop], kind: object = None
    ) -> Callable[P, AbstractAsyncContextManager[AsyncIterable[bytes]]]: ...
    @overload
    def __get__(
        self, of: Resource[Blocking], kind: object = None
    ) -> Callable[P, AbstractContextManager[Iterator[bytes]]]: ...
    def __get__(self, of: Resource[Any], kind: object = None) -> Any:
        return partial(of._caller.download, self._operation)  # pyright: ignore[reportPrivateUsage]  # as above


def call(operation: Operation[P, Any, Any, A]) -> Method[P, A]:
    """Of a path without parameters."""
    return Method(operation)


def call_one(operation: Operation[P, Any, Any, A]) -> Method[Concatenate[str, P], A]:
    """Of a path with one parameter."""
    return Method(operation)


def call_two(operation: Operation[P, Any, Any, A]) -> Method[Concatenate[str, str, P], A]:
    """Of a path with two."""
    return Method(operation)


def items(operation: Operation[P, Any, Any, ListOf[A]]) -> Items[P, A]:
    """Of a path without parameters."""
    return Items(operation)


def items_of(operation: Operation[P, Any, Any, ListOf[A]]) -> Items[Concatenate[str, P], A]:
    """Of a path with one parameter."""
    return Items(operation)


def stream_of(
    operation: Operation[P, Any, Any, Events], *, after: str | None = None
) -> Stream[Concatenate[str, P]]:
    """Of a path with one parameter; without another `after` it begins there, or now."""
    return Stream(operation, after)


def bytes_of(operation: Operation[[], None, Any, bytes]) -> Download[[str]]:
    """Of a path with one parameter."""
    return Download(operation)


def bytes_of_two(operation: Operation[[], None, Any, bytes]) -> Download[[str, str]]:
    """Of a path with two."""
    return Download(operation)
