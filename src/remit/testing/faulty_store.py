"""A session store whose process dies at a chosen append: for crash enumeration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, cast

from remit.interfaces import SessionStore
from remit.testing.around import around
from remit.values import Append, NewStream, Principal, Value


class Crash(BaseException):
    """The process is dead. Not an Exception: nothing that handles errors may handle this."""


class CrashPlan(Value, frozen=True, kw_only=True):
    """The call at which to die."""

    at: int
    """The number of the append (create_stream counts as one), from 1."""
    when: Literal["before", "after"]
    """Before it reaches the store, or after it is durable but before anyone hears of it."""


class AppendPoint(Value, frozen=True, kw_only=True):
    """One append that was tried; names a crash point."""

    number: int
    stream_id: str
    kind: str
    event_types: tuple[str, ...]

    def describe(self) -> str:
        """A label for a test: `7 session model.started+span.model_request_start`."""
        return f"{self.number} {self.kind} {'+'.join(self.event_types) or 'no events'}"


class FaultyStore:
    """Death in `store`, which is another one with this around it. Counts appends and keeps their `trace`; at the plan's
    append it dies: `die` is called (it raises Crash unless another is given, say one that kills the process), and every later
    call raises Crash. `close` still closes the store inside, for whoever cleans up."""

    def __init__(
        self, store: SessionStore, plan: CrashPlan | None = None, *, die: Callable[[], None] | None = None
    ) -> None:
        self.trace: list[AppendPoint] = []
        self.is_crashed = False
        self.store = around(store, self._call)
        self._inner = store
        self._plan = plan
        self._die = die
        self._kinds: dict[str, str] = {}

    async def _call(
        self,
        name: str,
        method: Callable[..., Awaitable[Any]],  # Any: of whatever the store answers
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
    ) -> Any:
        if name == "close":
            return await method()
        self._require_alive()
        if name not in ("append", "create_stream"):
            return await method(*arguments, **named)
        number = self._note(await self._kind(arguments), cast("Append", arguments[-1]))
        self._maybe_die(number, "before")
        appended = await method(*arguments, **named)
        self._maybe_die(number, "after")
        return appended

    async def _kind(self, arguments: tuple[Any, ...]) -> str:
        """Of the stream that is appended to."""
        principal, append = cast("Principal", arguments[0]), cast("Append", arguments[-1])
        if isinstance(arguments[1], NewStream):
            self._kinds[append.stream_id] = arguments[1].kind
        elif append.stream_id not in self._kinds:
            self._kinds[append.stream_id] = (await self._inner.head(principal, append.stream_id)).kind
            self._require_alive()
        return self._kinds[append.stream_id]

    def _note(self, kind: str, append: Append) -> int:
        number = len(self.trace) + 1
        self.trace.append(
            AppendPoint(
                number=number,
                stream_id=append.stream_id,
                kind=kind,
                event_types=tuple(event.type for event in append.events),
            )
        )
        return number

    def _maybe_die(self, number: int, when: Literal["before", "after"]) -> None:
        # Another task may have died while this one waited for the store: then this one hears nothing either.
        self._require_alive()
        if self._plan is not None and self._plan.at == number and self._plan.when == when:
            self.is_crashed = True
            if self._die is not None:
                self._die()
            self._require_alive()

    def _require_alive(self) -> None:
        if self.is_crashed:
            assert self._plan is not None
            raise Crash(f"died {self._plan.when} append {self._plan.at}")
