"""A session store whose process dies at a chosen append: for crash enumeration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from remit.interfaces import SessionStore
from remit.values import (
    Account,
    Append,
    Appended,
    Checkpoint,
    EventRow,
    GrantRow,
    HoldRow,
    Lease,
    NewStream,
    OutboxItem,
    Page,
    Principal,
    StreamFilter,
    StreamHead,
    StreamRead,
    Value,
    Visibility,
)


class Crash(BaseException):
    """The process is dead. Not an Exception: nothing that handles errors may handle this."""


class CrashPlan(Value, frozen=True, kw_only=True):
    """Where to die."""

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
    """`SessionStore` around another one. Counts appends and keeps their `trace`; at the plan's append it dies: `die` is
    called (it raises Crash unless another is given, say one that kills the process), and every later call raises Crash.
    `close` still closes the store inside, for whoever cleans up."""

    def __init__(
        self, store: SessionStore, plan: CrashPlan | None = None, *, die: Callable[[], None] | None = None
    ) -> None:
        self.trace: list[AppendPoint] = []
        self.is_crashed = False
        self._store = store
        self._plan = plan
        self._die = die
        self._kinds: dict[str, str] = {}

    # ------------------------------------------------------------------------------- what is counted

    async def create_stream(self, principal: Principal, stream: NewStream, append: Append) -> Appended:
        self._require_alive()
        self._kinds[stream.stream_id] = stream.kind
        number = self._note(stream.kind, append)
        self._maybe_die(number, "before")
        appended = await self._store.create_stream(principal, stream, append)
        self._maybe_die(number, "after")
        return appended

    async def append(self, principal: Principal, append: Append) -> Appended:
        self._require_alive()
        if append.stream_id not in self._kinds:
            self._kinds[append.stream_id] = (await self._store.head(principal, append.stream_id)).kind
            self._require_alive()
        number = self._note(self._kinds[append.stream_id], append)
        self._maybe_die(number, "before")
        appended = await self._store.append(principal, append)
        self._maybe_die(number, "after")
        return appended

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

    # ----------------------------------------------------------------------------- what is passed on

    async def read(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        self._require_alive()
        return await self._store.read(
            principal,
            stream_id,
            after_seq=after_seq,
            limit=limit,
            bytes_max=bytes_max,
            visibility=visibility,
        )

    async def read_stream(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
    ) -> StreamRead:
        self._require_alive()
        return await self._store.read_stream(
            principal, stream_id, after_seq=after_seq, limit=limit, bytes_max=bytes_max
        )

    async def read_before(
        self,
        principal: Principal,
        stream_id: str,
        *,
        before_seq: int,
        limit: int,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        self._require_alive()
        return await self._store.read_before(
            principal,
            stream_id,
            before_seq=before_seq,
            limit=limit,
            bytes_max=bytes_max,
            visibility=visibility,
        )

    async def find_events(self, principal: Principal, stream_id: str, event_id: str) -> Sequence[EventRow]:
        self._require_alive()
        return await self._store.find_events(principal, stream_id, event_id)

    async def head(self, principal: Principal, stream_id: str) -> StreamHead:
        self._require_alive()
        return await self._store.head(principal, stream_id)

    async def list_streams(
        self, principal: Principal, filter: StreamFilter, page: Page
    ) -> Sequence[StreamHead]:
        self._require_alive()
        return await self._store.list_streams(principal, filter, page)

    async def delete_stream(self, principal: Principal, stream_id: str, *, expected_seq: int) -> None:
        self._require_alive()
        await self._store.delete_stream(principal, stream_id, expected_seq=expected_seq)

    async def accounts(
        self, principal: Principal, stream_id: str, *, purposes: Sequence[str] | None = None
    ) -> Sequence[Account]:
        self._require_alive()
        return await self._store.accounts(principal, stream_id, purposes=purposes)

    async def holds(
        self, principal: Principal, stream_id: str, *, only_open: bool = False
    ) -> Sequence[HoldRow]:
        self._require_alive()
        return await self._store.holds(principal, stream_id, only_open=only_open)

    async def grants(self, principal: Principal, stream_id: str) -> Sequence[GrantRow]:
        self._require_alive()
        return await self._store.grants(principal, stream_id)

    async def claim(
        self,
        owner: str,
        *,
        kinds: Sequence[str],
        lease_seconds: float,
        limit: int,
        stream_id: str | None = None,
        running: Mapping[str, int] | None = None,
        each_max: int | None = None,
    ) -> Sequence[Lease]:
        self._require_alive()
        return await self._store.claim(
            owner,
            kinds=kinds,
            lease_seconds=lease_seconds,
            limit=limit,
            stream_id=stream_id,
            running=running,
            each_max=each_max,
        )

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        self._require_alive()
        return await self._store.renew(leases, lease_seconds=lease_seconds)

    async def release(
        self, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool = False
    ) -> None:
        self._require_alive()
        await self._store.release(lease, seen_seq=seen_seq, wake_at_us=wake_at_us, is_near=is_near)

    async def wake(self, principal: Principal, stream_id: str, *, at_us: int) -> None:
        self._require_alive()
        await self._store.wake(principal, stream_id, at_us=at_us)

    async def next_wake_us(self, kinds: Sequence[str], *, owner: str | None = None) -> int | None:
        self._require_alive()
        return await self._store.next_wake_us(kinds, owner=owner)

    async def raise_epochs(self) -> None:
        self._require_alive()
        await self._store.raise_epochs()

    async def outbox_due(self, limit: int) -> Sequence[tuple[int, str, OutboxItem]]:
        self._require_alive()
        return await self._store.outbox_due(limit)

    async def outbox_done(self, positions: Sequence[int]) -> None:
        self._require_alive()
        await self._store.outbox_done(positions)

    async def put_checkpoint(self, principal: Principal, checkpoint: Checkpoint) -> None:
        self._require_alive()
        await self._store.put_checkpoint(principal, checkpoint)

    async def checkpoint(self, principal: Principal, stream_id: str) -> Checkpoint | None:
        self._require_alive()
        return await self._store.checkpoint(principal, stream_id)

    async def close(self) -> None:
        await self._store.close()
