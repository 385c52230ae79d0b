"""The stream of a workspace: its accounts, and the model calls that no session makes."""

from __future__ import annotations

import contextlib

import msgspec

from remit.errors import NotFound
from remit.interfaces import SessionStore
from remit.values import Append, NewEvent, NewStream, OpenAccount, Principal, Purpose, StreamSummary, Unit

_UNITS: tuple[Unit, ...] = ("nano_usd", "tokens")
_PURPOSES: tuple[Purpose, ...] = ("work", "verification")


def workspace_stream_id(principal: Principal) -> str:
    """The stream whose accounts are the workspace's: it has the workspace's own id."""
    return principal.workspace_id


async def create_workspace_stream(store: SessionStore, principal: Principal) -> None:
    """With accounts that have no cap; nothing happens where it is there already."""
    stream_id = workspace_stream_id(principal)
    event_id = f"wevt_{stream_id}"
    opened = NewEvent(
        event_id=event_id,
        type="workspace.opened",
        visibility="private",
        body=msgspec.json.encode({"id": event_id, "type": "workspace.opened"}),
        key="workspace.opened",
    )
    await store.create_stream(
        principal,
        NewStream(stream_id=stream_id, kind="workspace", summary=StreamSummary(status="open")),
        Append(
            stream_id=stream_id,
            events=(opened,),
            effects=tuple(
                OpenAccount(unit=unit, purpose=purpose) for unit in _UNITS for purpose in _PURPOSES
            ),
        ),
    )


async def wake_workspace(store: SessionStore, workspace_id: str, *, now_us: int) -> None:
    """Have somebody look at the workspace now: at a start its open calls have lost their process."""
    principal = Principal(workspace_id=workspace_id, actor="system", kind="system")
    with contextlib.suppress(NotFound):  # no call was ever made
        await store.wake(principal, workspace_stream_id(principal), at_us=now_us)
