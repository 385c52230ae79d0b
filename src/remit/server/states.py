"""Folds of sessions that were asked for lately, so that a request reads only the rows that are new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from remit.errors import NotFound
from remit.interfaces import SessionStore
from remit.resources.rows import BYTES_PER_READ, ROWS_PER_READ
from remit.session import checkpoints
from remit.session.folding import fold
from remit.session.state import SessionState
from remit.values import Account, Principal, StreamHead

STATES_MAX = 256
"""More than a page of a list, which would otherwise replay each session every time."""


class LoadedSession(NamedTuple):
    """A session as it was when it was read; the state may be of a later moment than the head and the accounts."""

    state: SessionState
    head: StreamHead
    accounts: Sequence[Account]


class SessionStates:
    """A bounded cache; losing it costs a replay.

    A state is shared by concurrent requests and grows in place: decide on it without awaiting anything in between, and
    put its `seq` into `expected_seq`. It has no history: nothing here calls a model.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._states: OrderedDict[tuple[str, str], SessionState] = OrderedDict()

    async def load(self, principal: Principal, session_id: str) -> tuple[SessionState, StreamHead]:
        """The fold of every row that was durable before the call. Raises NotFound, also for a deleted session."""
        loaded = await self.load_all(principal, session_id)
        return loaded.state, loaded.head

    async def load_all(
        self, principal: Principal, session_id: str, *, with_deleted: bool = False
    ) -> LoadedSession:
        """The same with the accounts, in one round trip; `with_deleted`: also when a deletion is recorded but not yet
        carried out."""
        known = self._states.get((principal.workspace_id, session_id))
        try:
            # Of a session that is not known nothing but the head: a stored fold may spare its rows.
            read = await self._store.read_stream(
                principal,
                session_id,
                after_seq=0 if known is None else known.seq,
                limit=0 if known is None else ROWS_PER_READ,
                bytes_max=BYTES_PER_READ,
            )
        except NotFound as error:
            self._states.pop((principal.workspace_id, session_id), None)
            raise _no_session(session_id) from error
        if known is not None:
            # Another request may have folded some of these rows while this one was reading.
            fold((row for row in read.rows if row.seq > known.seq), known)
        state = await self.at(principal, read.head)
        if state.is_deleted and not with_deleted:
            raise _no_session(session_id)
        return LoadedSession(state, read.head, read.accounts)

    def forget(self, principal: Principal, session_id: str) -> None:
        """Let go of a session that is deleted."""
        self._states.pop((principal.workspace_id, session_id), None)

    async def at(self, principal: Principal, head: StreamHead) -> SessionState:
        """The fold of every row up to this head, and maybe of later ones. Raises NotFound."""
        session_id, key = head.stream_id, (principal.workspace_id, head.stream_id)
        if head.kind != "session":
            raise _no_session(session_id)
        state = self._states.get(key)
        if state is None:
            state = await self._begin(principal, head)
            # Another request may have begun meanwhile.
            state = self._states.setdefault(key, state)
        self._states.move_to_end(key)
        while len(self._states) > STATES_MAX:
            self._states.popitem(last=False)
        while state.seq < head.seq:
            rows = await self._store.read(
                principal,
                session_id,
                after_seq=state.seq,
                limit=ROWS_PER_READ,
                bytes_max=BYTES_PER_READ,
            )
            if not rows:
                raise _no_session(session_id)
            # Another request may have folded some of these rows while this one was reading.
            fold((row for row in rows if row.seq > state.seq), state)
        return state

    async def _begin(self, principal: Principal, head: StreamHead) -> SessionState:
        stored = None
        if head.seq >= checkpoints.ROWS_MIN:
            stored = await self._store.checkpoint(principal, head.stream_id)
        return checkpoints.from_checkpoint(stored, with_history=False)


def _no_session(session_id: str) -> NotFound:
    return NotFound(f"No session {session_id!r} in this workspace.")
