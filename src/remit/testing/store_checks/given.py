"""The start of the checks of stores."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager

from remit.errors import RemitError
from remit.interfaces import SessionStore
from remit.testing.clock import FakeClock
from remit.values import (
    Append,
    Appended,
    Effect,
    Lease,
    NewEvent,
    NewStream,
    Principal,
    StreamSummary,
    Visibility,
)

MakeStore = Callable[[], AbstractAsyncContextManager[tuple[SessionStore, FakeClock]]]
"""Enters an empty store and the clock it was given; closes it at the end."""

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
TWO = Principal(workspace_id="wrkspc_two", actor="apikey_two")

IDLE = StreamSummary(status="idle", title="A title", agent_id="agent_1", agent_version=1)


@contextmanager
def refused(error: type[RemitError], saying: str = "") -> Generator[None, None, None]:
    """Check that the block raises exactly this error, with this in its message."""
    raised: RemitError | None = None
    try:
        yield
    except RemitError as refusal:
        raised = refusal
    assert type(raised) is error, f"expected {error.__name__}, got {raised!r}"
    assert saying in str(raised), f"{saying!r} is not in {str(raised)!r}"


@contextmanager
def crashes() -> Generator[None, None, None]:
    """Check that the block raises AssertionError: a programmer's error."""
    try:
        yield
    except AssertionError:
        return
    raise RuntimeError("the programmer's error went unnoticed")


def event(
    event_id: str, *, key: str | None = None, visibility: Visibility = "private", body: bytes = b"{}"
) -> NewEvent:
    """An event to append."""
    return NewEvent(event_id=event_id, type="test.event", visibility=visibility, body=body, key=key)


async def given_stream(
    store: SessionStore,
    stream_id: str = "sesn_1",
    *,
    principal: Principal = ONE,
    kind: str = "session",
    parent_stream_id: str | None = None,
    summary: StreamSummary = IDLE,
    refers_to: tuple[str, ...] = (),
    effects: tuple[Effect, ...] = (),
    wake_at_us: int | None = None,
) -> Appended:
    """A stream with one row."""
    stream = NewStream(
        stream_id=stream_id,
        kind=kind,
        parent_stream_id=parent_stream_id,
        summary=summary,
        refers_to=refers_to,
    )
    append = Append(
        stream_id=stream_id,
        events=(event(f"{stream_id}_created"),),
        effects=effects,
        wake_at_us=wake_at_us,
    )
    return await store.create_stream(principal, stream, append)


async def given_lease(
    store: SessionStore, clock: FakeClock, stream_id: str = "sesn_1", *, owner: str = "worker_1"
) -> Lease:
    """A lease of five seconds on the stream."""
    await store.wake(ONE, stream_id, at_us=clock.now_us())
    (lease,) = await claim(store, owner=owner, stream_id=stream_id)
    return lease


async def claim(
    store: SessionStore,
    *,
    owner: str = "worker_1",
    kinds: tuple[str, ...] = ("session",),
    limit: int = 10,
    stream_id: str | None = None,
    running: Mapping[str, int] | None = None,
    each_max: int | None = None,
) -> list[Lease]:
    """Claim for five seconds."""
    leases = await store.claim(
        owner,
        kinds=kinds,
        lease_seconds=5.0,
        limit=limit,
        stream_id=stream_id,
        running=running,
        each_max=each_max,
    )
    return list(leases)
