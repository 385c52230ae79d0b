"""Loads the ledger rows that effects need, lets `ledger.accounts` do the arithmetic, writes the changes back."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from remit.ledger.accounts import LedgerRows, RowsNeeded, apply_effects, rows_needed
from remit.stores.sqlite.cursor import Cursor
from remit.stores.sqlite.rows import bindings_of, columns_of, value_of
from remit.values import Account, Effect, GrantRow, HoldRow

ACCOUNT_COLUMNS, HOLD_COLUMNS, GRANT_COLUMNS = map(columns_of, (Account, HoldRow, GrantRow))

_PUT_ACCOUNT = f"""
INSERT INTO accounts ({ACCOUNT_COLUMNS}, workspace_id) VALUES ({bindings_of(Account)}, :workspace_id)
ON CONFLICT (stream_id, purpose, unit) DO UPDATE SET
    cap = excluded.cap, spent = excluded.spent, held = excluded.held, granted = excluded.granted,
    is_stopped = excluded.is_stopped
"""

_PUT_HOLD = f"""
INSERT INTO holds ({HOLD_COLUMNS}, workspace_id) VALUES ({bindings_of(HoldRow)}, :workspace_id)
ON CONFLICT (stream_id, hold_id, unit) DO UPDATE SET
    state = excluded.state, settled = excluded.settled, is_overrun = excluded.is_overrun,
    settled_at_us = excluded.settled_at_us
"""

_PUT_GRANT = f"""
INSERT INTO grants ({GRANT_COLUMNS}, workspace_id) VALUES ({bindings_of(GrantRow)}, :workspace_id)
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
    for statement, rows in (
        (_PUT_ACCOUNT, changed.accounts),
        (_PUT_HOLD, changed.holds),
        (_PUT_GRANT, changed.grants),
    ):
        for row in rows:
            cursor.execute(statement, {**asdict(row), "workspace_id": workspace_id})


def load_accounts(
    cursor: Cursor, stream_id: str, purposes: Sequence[str] | None = None
) -> tuple[Account, ...]:
    """Load accounts by (purpose, unit): the order of the primary key."""
    condition = "" if purposes is None else f"AND purpose IN ({', '.join('?' * len(purposes))})"
    found = cursor.execute(
        f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE stream_id = ? {condition} ORDER BY purpose, unit",
        (stream_id, *(purposes or ())),
    )
    return tuple(value_of(Account, row) for row in found)


def load_holds(cursor: Cursor, stream_id: str, *, only_open: bool) -> tuple[HoldRow, ...]:
    """Load holds in order of creation."""
    condition = "AND state = 'open'" if only_open else ""
    found = cursor.execute(
        f"SELECT {HOLD_COLUMNS} FROM holds WHERE stream_id = ? {condition} ORDER BY position", (stream_id,)
    )
    return tuple(value_of(HoldRow, row) for row in found)


def load_grants(cursor: Cursor, stream_id: str) -> tuple[GrantRow, ...]:
    """Load grants in order of creation."""
    found = cursor.execute(
        f"SELECT {GRANT_COLUMNS} FROM grants WHERE stream_id = ? ORDER BY position", (stream_id,)
    )
    return tuple(value_of(GrantRow, row) for row in found)


def _load(cursor: Cursor, stream_id: str, needed: RowsNeeded) -> LedgerRows:
    holds: list[HoldRow] = []
    for key in needed.holds:
        found = cursor.execute(
            f"SELECT {HOLD_COLUMNS} FROM holds WHERE stream_id = ? AND hold_id = ? AND unit = ?",
            (stream_id, *key),
        ).fetchone()
        if found is not None:
            holds.append(value_of(HoldRow, found))
    grants: list[GrantRow] = []
    for key in needed.grants:
        found = cursor.execute(
            f"SELECT {GRANT_COLUMNS} FROM grants "
            "WHERE stream_id = ? AND grant_id = ? AND unit = ? AND purpose = ? AND direction = ?",
            (stream_id, *key),
        ).fetchone()
        if found is not None:
            grants.append(value_of(GrantRow, found))
    purposes = sorted({*needed.purposes, *(hold.purpose for hold in holds)})
    accounts = load_accounts(cursor, stream_id, purposes)
    return LedgerRows(accounts=accounts, holds=tuple(holds), grants=tuple(grants))
