"""The session that works for a remit: how it is made, interrupted and set going again. It is an ordinary session; what
the remit puts into it is ordinary input, keyed so that a repetition is recognised."""

from __future__ import annotations

from typing import Protocol

from remit.errors import NotFound
from remit.interfaces import SessionStore
from remit.remits.events import RemitCreated, RemitSessionCreated
from remit.remits.steps import ReopenOutcome, reopening_id
from remit.session import events
from remit.values import Append, JsonObject, Principal


class SessionOpener(Protocol):
    """Makes the session that a remit's log has decided."""

    async def open(
        self, principal: Principal, *, remit_id: str, created: RemitCreated, session: RemitSessionCreated
    ) -> None:
        """Make it with its outcome, its input and the child's side of its grants, due at once; nothing if it exists.
        Raises NotFound or WrongState when the agent is gone or archived."""
        ...


async def forward_interrupt(
    store: SessionStore, principal: Principal, session_id: str, command_id: str, *, now_us: int
) -> None:
    """Interrupt the session, once per command. A session that is gone needs none."""
    event: JsonObject = {"id": _event_id(command_id), "type": "user.interrupt"}
    try:
        await _put(store, principal, session_id, event, key=f"remit:{command_id}", now_us=now_us)
    except NotFound:
        return


async def reopen_outcome(
    store: SessionStore,
    principal: Principal,
    session_id: str,
    step: ReopenOutcome,
    outcome_event: JsonObject,
    *,
    now_us: int,
) -> None:
    """Give the session its outcome again, with the iterations that are left."""
    event: JsonObject = {
        **outcome_event,
        "id": reopening_id(step.resume_id),
        "outcome_id": "outc_" + step.resume_id.partition("_")[2],
        "max_iterations": step.max_iterations,
    }
    await _put(store, principal, session_id, event, key=f"remit:{step.resume_id}", now_us=now_us)


async def _put(
    store: SessionStore,
    principal: Principal,
    session_id: str,
    event: JsonObject,
    *,
    key: str,
    now_us: int,
) -> None:
    row = events.received(event, key=key)
    await store.append(principal, Append(stream_id=session_id, events=(row,), wake_at_us=now_us))


def _event_id(command_id: str) -> str:
    return "sevt_" + command_id.partition("_")[2]
