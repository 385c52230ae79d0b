"""Streams by what people type: a whole id of any kind, or the end of one of those that are listed."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from remit.cli.failure import BadUsage
from remit.client.client import AsyncClient
from remit.client.errors import NotFoundError
from remit.client.stream import JsonObject

A = TypeVar("A")


async def ask(client: AsyncClient, id: str, call: Callable[[str], Awaitable[A]]) -> A:
    """Call it with this id, or with the one remit, session or deployment that ends so. Raises BadUsage."""
    with suppress(NotFoundError):
        return await call(id)
    lists: tuple[AsyncIterable[JsonObject], ...] = (
        client.remits.list(),
        client.sessions.list(),
        client.deployments.list(),
    )
    matches = [one["id"] for found in lists async for one in found if one["id"].endswith(id)]
    if len(matches) != 1:
        what = "no remit, session or deployment" if not matches else f"{len(matches)} streams"
        raise BadUsage(f"{id!r} names {what}.", mend="`remit ls` shows the remits; give more of the id.")
    return await call(matches[0])
