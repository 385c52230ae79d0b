"""The stream of a workspace: its accounts, and the model calls that no session makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from remit.errors import NotFound
from remit.gateway.workspace_rows import ROWS, WorkspaceOpened
from remit.interfaces import SessionStore
from remit.schema import streams
from remit.streams.grants import PURPOSES, UNITS
from remit.streams.kinds import StreamKind
from remit.values import (
    Append,
    EventRow,
    NewStream,
    OpenAccount,
    Principal,
    StreamSummary,
    Value,
)


class WorkspaceState(Value, frozen=True, kw_only=True):
    """The state of a workspace's stream: its rows mean nothing more, what counts is its accounts."""

    seq: int = 0
    last_processed_us: int = 0


def _fold(rows: Iterable[EventRow], state: WorkspaceState) -> WorkspaceState:
    return WorkspaceState(seq=max((row.seq for row in rows), default=state.seq))


WORKSPACE = StreamKind[WorkspaceState](
    names=streams.WORKSPACE,
    event_prefix="wevt",
    rows=ROWS,
    start=WorkspaceState,
    fold=_fold,
    summarize=lambda state: StreamSummary(status="open"),
)


def workspace_stream_id(principal: Principal) -> str:
    """The stream whose accounts are the workspace's: it has the workspace's own id."""
    return principal.workspace_id


async def create_workspace_stream(store: SessionStore, principal: Principal) -> None:
    """Create the workspace's stream, its accounts without a cap; nothing happens where it exists."""
    stream_id = workspace_stream_id(principal)
    event_id = f"wevt_{stream_id}"
    opened = WorkspaceOpened(id=event_id).as_row(key="workspace.opened")
    await store.create_stream(
        principal,
        NewStream(stream_id=stream_id, kind=WORKSPACE.name, summary=StreamSummary(status="open")),
        Append(
            stream_id=stream_id,
            events=(opened,),
            effects=tuple(OpenAccount(unit=unit, purpose=purpose) for unit in UNITS for purpose in PURPOSES),
        ),
    )


async def wake_workspace(store: SessionStore, workspace_id: str, *, now_us: int) -> None:
    """Have somebody look at the workspace now: at a start its open calls have lost their process."""
    principal = Principal(workspace_id=workspace_id, actor="system", kind="system")
    with contextlib.suppress(NotFound):  # no call was ever made
        await store.wake(principal, workspace_stream_id(principal), at_us=now_us)
