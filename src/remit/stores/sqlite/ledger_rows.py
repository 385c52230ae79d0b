"""Loads the ledger rows that effects need, lets `ledger.accounts` do the arithmetic, writes the changes back."""

from __future__ import annotations

from collections.abc import Sequence

from remit.ledger.accounts import LedgerRows, RowsNeeded, apply_effects, rows_needed
from remit.stores.sqlite.cursor import Cursor
from remit.stores.sqlite.rows import (
    ACCOUNT_COLUMNS,
    GRANT_COLUMNS,
    HOLD_COLUMNS,
    account,
    grant,
    hold,
)
from remit.values import Account, Effect, GrantRow, HoldRow

_PUT_ACCOUNT = """
INSERT INTO accounts (stream_id, purpose, unit, workspace_id, cap, spent, held, granted, is_stopped)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream_id, purpose, unit) DO UPDATE SET
    cap = excluded.cap, spent = excluded.spent, held = excluded.held, granted = excluded.granted,
    is_stopped = excluded.is_stopped
"""

_PUT_HOLD = """
INSERT INTO holds (stream_id, hold_id, unit, workspace_id, purpose, amount, state, settled, is_overrun, seq,
                   created_at_us, settled_at_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream_id, hold_id, unit) DO UPDATE SET
    state = excluded.state, settled = excluded.settled, is_overrun = excluded.is_overrun,
    settled_at_us = excluded.settled_at_us
"""

_PUT_GRANT = """
INSERT INTO grants (stream_id, grant_id, unit, purpose, direction, workspace_id, amount, state, spent,
                    child_stream_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream_id, grant_id, unit, purpose, direction) DO UPDATE SET
    state = excluded.state, spent = excluded.spent
"""


def apply_effects_in(
    cursor: Cursor,
    workspace_id: str,
    stream_id: str,
    effects: Sequence[Effect],
    *,
    seq: int,
    now_us: int,
) -> None:
    """Apply effects to the stream's rows. Raises HoldRefused."""
    view = _load(cursor, stream_id, rows_needed(effects))
    changed = apply_effects(view, effects, stream_id=stream_id, seq=seq, now_us=now_us)
    for row in changed.accounts:
        _put_account(cursor, workspace_id, row)
    for row in changed.holds:
        _put_hold(cursor, workspace_id, row)
    for row in changed.grants:
        _put_grant(cursor, workspace_id, row)


def load_accounts(
    cursor: Cursor, stream_id: str, purposes: Sequence[str] | None = None
) -> tuple[Account, ...]:
    """By (purpose, unit): the order of the primary key."""
    condition = "" if purposes is None else f"AND purpose IN ({', '.join('?' * len(purposes))})"
    found = cursor.execute(
        f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE stream_id = ? {condition} ORDER BY purpose, unit",
        (stream_id, *(purposes or ())),
    )
    return tuple(account(stream_id, row) for row in found)


def load_holds(cursor: Cursor, stream_id: str, *, only_open: bool) -> tuple[HoldRow, ...]:
    """In order of creation."""
    condition = "AND state = 'open'" if only_open else ""
    found = cursor.execute(
        f"SELECT {HOLD_COLUMNS} FROM holds WHERE stream_id = ? {condition} ORDER BY position", (stream_id,)
    )
    return tuple(hold(stream_id, row) for row in found)


def load_grants(cursor: Cursor, stream_id: str) -> tuple[GrantRow, ...]:
    """In order of creation."""
    found = cursor.execute(
        f"SELECT {GRANT_COLUMNS} FROM grants WHERE stream_id = ? ORDER BY position", (stream_id,)
    )
    return tuple(grant(stream_id, row) for row in found)


def _load(cursor: Cursor, stream_id: str, needed: RowsNeeded) -> LedgerRows:
    holds: list[HoldRow] = []
    for key in needed.holds:
        found = cursor.execute(
            f"SELECT {HOLD_COLUMNS} FROM holds WHERE stream_id = ? AND hold_id = ? AND unit = ?",
            (stream_id, *key),
        ).fetchone()
        if found is not None:
            holds.append(hold(stream_id, found))
    grants: list[GrantRow] = []
    for key in needed.grants:
        found = cursor.execute(
            f"SELECT {GRANT_COLUMNS} FROM grants "
            "WHERE stream_id = ? AND grant_id = ? AND unit = ? AND purpose = ? AND direction = ?",
            (stream_id, *key),
        ).fetchone()
        if found is not None:
            grants.append(grant(stream_id, found))
    purposes = sorted({*needed.purposes, *(hold.purpose for hold in holds)})
    accounts = load_accounts(cursor, stream_id, purposes)
    return LedgerRows(accounts=accounts, holds=tuple(holds), grants=tuple(grants))


def _put_account(cursor: Cursor, workspace_id: str, row: Account) -> None:
    cursor.execute(
        _PUT_ACCOUNT,
        (
            row.stream_id,
            row.purpose,
            row.unit,
            workspace_id,
            row.cap,
            row.spent,
            row.held,
            row.granted,
            row.is_stopped,
        ),
    )


def _put_hold(cursor: Cursor, workspace_id: str, row: HoldRow) -> None:
    cursor.execute(
        _PUT_HOLD,
        (
            row.stream_id,
            row.hold_id,
            row.unit,
            workspace_id,
            row.purpose,
            row.amount,
            row.state,
            row.settled,
            row.is_overrun,
            row.seq,
            row.created_at_us,
            row.settled_at_us,
        ),
    )


def _put_grant(cursor: Cursor, workspace_id: str, row: GrantRow) -> None:
    cursor.execute(
        _PUT_GRANT,
        (
            row.stream_id,
            row.grant_id,
            row.unit,
            row.purpose,
            row.direction,
            workspace_id,
            row.amount,
            row.state,
            row.spent,
            row.child_stream_id,
        ),
    )
