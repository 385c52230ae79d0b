"""A session's fold as the store keeps it (streams.kinds.StoredFolds), so that a long log need not be replayed."""

from __future__ import annotations

import msgspec

from remit.session.history import Forgotten, History
from remit.session.state import SessionState
from remit.values import Checkpoint

FOLD_VERSION = 6
"""Raise it with every change to what a fold derives: what was stored before is then replayed instead of trusted."""
ROWS_MIN: int = 256
"""A shorter log is folded as fast as a stored fold is read."""
ROWS_PER_CHECKPOINT = 8
"""A new one after an eighth of the log: all that is ever written stays in proportion to the log."""


class _Body(msgspec.Struct, frozen=True):
    state: msgspec.Raw
    """Without its history."""
    history: msgspec.Raw


def is_due(seq: int, stored_seq: int) -> bool:
    """Return whether to store the fold at `seq`, the last one being at `stored_seq` (0: there is none)."""
    return seq - stored_seq >= max(ROWS_MIN, seq // ROWS_PER_CHECKPOINT)


def encode(state: SessionState) -> Checkpoint:
    """Encode the state for the store."""
    history, state.history = state.history, History()
    try:
        thin = msgspec.json.encode(state)
    finally:
        state.history = history
    body = _Body(msgspec.Raw(thin), msgspec.Raw(msgspec.json.encode(history)))
    return Checkpoint(
        stream_id=state.session_id, seq=state.seq, version=FOLD_VERSION, body=msgspec.json.encode(body)
    )


def decode(checkpoint: Checkpoint | None, *, is_whole: bool) -> SessionState:
    """The fold to go on from; a new one where there is none that this version can use.

    Not whole it has no history: such a state serves everything but the next model call, and stays small however long the session is.
    """
    if checkpoint is None or checkpoint.version != FOLD_VERSION:
        return SessionState(history=History() if is_whole else Forgotten())
    body = msgspec.json.decode(checkpoint.body, type=_Body)
    state = msgspec.json.decode(body.state, type=SessionState)
    state.history = msgspec.json.decode(body.history, type=History) if is_whole else Forgotten()
    return state
