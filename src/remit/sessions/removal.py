"""Removal of everything that a session owned, after `session.deleted`."""

from __future__ import annotations

from contextlib import suppress

from remit.catalog.files import Files
from remit.catalog.owned_blobs import OwnedBlobs
from remit.errors import NotFound
from remit.interfaces import LiveBus, SessionStore
from remit.session.state import SessionState
from remit.sessions.outputs import session_file_ids
from remit.streams.deciding import decide
from remit.values import LiveItem, Principal


class SessionRemoval:
    """Removes sessions that are deleted. Whoever dies in it leaves what can be done again from the beginning."""

    def __init__(self, *, sessions: SessionStore, files: Files, blobs: OwnedBlobs, bus: LiveBus) -> None:
        self._sessions = sessions
        self._files = files
        self._blobs = blobs
        self._bus = bus

    async def remove(self, principal: Principal, state: SessionState) -> None:
        """Remove files, rows, blobs, in this order: what is left is found by what goes later."""
        session_id = state.session_id
        await self._files.delete_all(principal, await session_file_ids(state, self._blobs))
        with suppress(NotFound):  # somebody was quicker
            await self._remove_rows(principal, session_id)
        self._bus.publish(LiveItem(stream_id=session_id, is_deleted=True))
        await self._blobs.forget(principal, session_id)

    async def _remove_rows(self, principal: Principal, session_id: str) -> None:
        """After `session.deleted` only a worker that puts its things away can still append."""

        async def attempt() -> None:
            head = await self._sessions.head(principal, session_id)
            await self._sessions.delete_stream(principal, session_id, expected_seq=head.seq)

        await decide(attempt)
