"""Something to stand around a part of a platform: every call goes through one function, by the method's name."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")


class AroundCall(Protocol):
    """Makes a call, or does something else in its place."""

    async def __call__(
        self,
        name: str,
        method: Callable[..., Awaitable[Any]],  # Any: of whatever the part answers
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
    ) -> Any:
        """Return what the caller is answered."""
        ...


def around(part: T, call: AroundCall) -> T:
    """Return the part, with `call` around all its coroutine methods; the rest of it is as it is."""
    return cast("T", _Around(part, call))


class _Around:
    def __init__(self, part: object, call: AroundCall) -> None:
        self._part = part
        self._call = call

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def called(*arguments: Any, **named: Any) -> Any:
            return await self._call(name, found, arguments, named)

        return called
