"""Users of an environment: sessions as long as they exist, and remits that have not ended."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from remit.errors import NotFound
from remit.interfaces import SessionStore
from remit.schema.remits import RemitStatus
from remit.streams.reading import list_all
from remit.values import Principal, StreamFilter

SHOWN_MAX = 3
"""Streams that a refusal names."""
_OPEN_REMITS = tuple(sorted(set(get_args(RemitStatus)) - {"satisfied", "unsatisfied", "stopped"}))


class _Named(msgspec.Struct):
    """How a remit's first row names it."""

    id: str


class _Created(msgspec.Struct):
    """What a stream's first row says of its environment."""

    environment_id: str | None = None
    environment: _Named | None = None


async def environment_users(
    sessions: SessionStore, principal: Principal, environment_id: str, *, most: int = SHOWN_MAX
) -> list[str]:
    """The newest few streams of the workspace that refer to the environment; empty: nobody does. Deleting is rare, and
    what a stream refers to stands in its first row alone: so all are looked at."""
    found: list[str] = []
    kinds: tuple[tuple[Literal["session", "remit"], tuple[str, ...]], ...] = (
        ("session", ()),
        ("remit", _OPEN_REMITS),
    )
    for kind, statuses in kinds:
        filter = StreamFilter(kind=kind, statuses=statuses, include_archived=True)
        async for head in list_all(sessions, principal, filter):
            if await _environment_of(sessions, principal, head.stream_id) == environment_id:
                found.append(head.stream_id)
                if len(found) == most:
                    return found
    return found


async def _environment_of(sessions: SessionStore, principal: Principal, stream_id: str) -> str | None:
    try:
        rows = await sessions.read(principal, stream_id, limit=1)
    except NotFound:  # deleted since the list was read
        return None
    if not rows:
        return None
    created = msgspec.json.decode(rows[0].body, type=_Created)
    return created.environment.id if created.environment is not None else created.environment_id
