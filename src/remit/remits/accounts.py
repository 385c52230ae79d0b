"""A remit's money: workspace → remit → session by grants, and back at the end.

Every grant takes its parent's side first and every return its child's, each idempotent by the grant's id, so a crash
between the two holds too much for a while and never too little. Nothing here keeps state: each call reads what stands
in the ledger and does what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.errors import HoldRefused, NotFound, SequenceConflict
from remit.gateway.workspace_rows import AccountGrantClosed, AccountGranted
from remit.gateway.workspace_stream import create_workspace_stream, workspace_stream_id
from remit.interfaces import SessionStore
from remit.remits.events import Amount, Budget
from remit.remits.money import parse_usd
from remit.streams.deciding import decide
from remit.streams.grants import UNITS, GrantNote, give_backs, grant_id_of, grants_out, spent_of_grant
from remit.values import (
    Account,
    Append,
    GrantClose,
    GrantRow,
    Principal,
    Purpose,
    Unit,
    Value,
)

GIVE_BACK_ATTEMPTS_MAX = 20


class StillHeld(Value, frozen=True, kw_only=True):
    """Money of a session is still held by something under way; ask again later."""

    session_id: str


def budget_amount(budget: Budget, unit: Unit) -> int | None:
    """The cap in a unit; None when the budget does not name it."""
    if unit == "tokens":
        return budget.tokens
    return None if budget.usd is None else parse_usd(budget.usd)


def reserved_amount(reserve: Amount, unit: Unit) -> int:
    """Return the amount that the forecast sets aside for verification in a unit."""
    return reserve.tokens if unit == "tokens" else parse_usd(reserve.usd) or 0


def remit_grants(remit_id: str, budget: Budget, reserve: Amount) -> tuple[GrantNote, ...]:
    """The budget split into work and verification, as the workspace grants it."""
    notes: list[GrantNote] = []
    for unit in UNITS:
        total = budget_amount(budget, unit)
        if total is None:
            continue
        for_verification = min(total, reserved_amount(reserve, unit))
        amounts: dict[Purpose, int] = {"work": total - for_verification, "verification": for_verification}
        for purpose, amount in amounts.items():
            notes.append(GrantNote(grant_id=grant_id_of(remit_id), unit=unit, purpose=purpose, amount=amount))
    return tuple(notes)


def session_grants(session_id: str, accounts: Sequence[Account]) -> tuple[GrantNote, ...]:
    """Grant everything that the remit has left to its working session."""
    return tuple(
        GrantNote(
            grant_id=grant_id_of(session_id),
            unit=account.unit,
            purpose=account.purpose,
            amount=account.remaining or 0,
        )
        for account in accounts
        if account.cap is not None
    )


async def grant_from_workspace(
    store: SessionStore, principal: Principal, notes: Sequence[GrantNote], child_stream_id: str
) -> None:
    """Debit the workspace, once however often this is called. Raises HoldRefused when the workspace has a cap."""
    if not notes:
        return
    stream_id = workspace_stream_id(principal)
    await create_workspace_stream(store, principal)
    event = AccountGranted(id=f"wevt_grant_{notes[0].grant_id}", grants=list(notes)).as_row(
        key=f"grant:{notes[0].grant_id}"
    )
    await store.append(
        principal,
        Append(stream_id=stream_id, events=(event,), effects=grants_out(notes, child_stream_id)),
    )


async def close_session_grants(
    store: SessionStore, principal: Principal, remit_id: str, session_id: str, *, epoch: int
) -> StillHeld | None:
    """Take back what the session did not spend, then book what it did. Raises LeaseLost."""
    open_out = [
        grant
        for grant in await store.grants(principal, remit_id)
        if grant.direction == "out" and grant.state == "open" and grant.child_stream_id == session_id
    ]
    if not open_out:
        return None
    if not await _give_back_from_session(store, principal, session_id):
        return StillHeld(session_id=session_id)
    spent = await _spent_by_session(store, principal, session_id, open_out)
    effects = tuple(
        GrantClose(grant_id=g.grant_id, unit=g.unit, purpose=g.purpose, spent=amount)
        for g, amount in zip(open_out, spent, strict=True)
    )
    await store.append(principal, Append(stream_id=remit_id, epoch=epoch, effects=effects))
    return None


async def _give_back_from_session(store: SessionStore, principal: Principal, session_id: str) -> bool:
    """False while something in the session still holds money."""

    async def attempt() -> bool:
        read = await store.read_stream(principal, session_id, limit=0)
        accounts = read.accounts
        effects = give_backs(accounts, await store.grants(principal, session_id))
        if any(account.held or account.granted for account in accounts):
            return False
        if effects:
            append = Append(stream_id=session_id, expected_seq=read.head.seq, effects=effects)
            await store.append(principal, append)
        return True

    try:
        return await decide(
            attempt, attempts_max=GIVE_BACK_ATTEMPTS_MAX, again_on=(SequenceConflict, HoldRefused)
        )
    except NotFound:
        return True  # never made, or deleted: _spent_by_session decides what it spent
    except (SequenceConflict, HoldRefused):
        return False  # it goes on all the time


async def _spent_by_session(
    store: SessionStore, principal: Principal, session_id: str, open_out: Sequence[GrantRow]
) -> list[int]:
    try:
        accounts = await store.accounts(principal, session_id)
        grants = await store.grants(principal, session_id)
    except NotFound:
        return [0 for _ in open_out]  # decided and never made
    return [spent_of_grant(accounts, grants, out) for out in open_out]


async def return_to_workspace(
    store: SessionStore, principal: Principal, remit_id: str, *, epoch: int
) -> None:
    """Give back what the remit did not spend, then book the rest with the workspace. Raises LeaseLost."""
    accounts = await store.accounts(principal, remit_id)
    effects = give_backs(accounts, await store.grants(principal, remit_id))
    if effects:
        await store.append(principal, Append(stream_id=remit_id, epoch=epoch, effects=effects))
        accounts = await store.accounts(principal, remit_id)
    grants = [g for g in await store.grants(principal, remit_id) if g.direction == "in"]
    for grant_id in dict.fromkeys(grant.grant_id for grant in grants):
        ours = [grant for grant in grants if grant.grant_id == grant_id]
        closes = tuple(
            GrantClose(
                grant_id=grant_id,
                unit=grant.unit,
                purpose=grant.purpose,
                spent=spent_of_grant(accounts, grants, grant),
            )
            for grant in ours
        )
        notes = [GrantNote(grant_id=grant_id, unit=c.unit, purpose=c.purpose, amount=c.spent) for c in closes]
        event = AccountGrantClosed(id=f"wevt_close_{grant_id}", grants=notes).as_row(key=f"close:{grant_id}")
        stream_id = workspace_stream_id(principal)
        await store.append(principal, Append(stream_id=stream_id, events=(event,), effects=closes))


class Totals(Value, frozen=True, kw_only=True):
    """Money of a remit over its whole tree, by unit."""

    spent: dict[Unit, int]
    held: dict[Unit, int]


def totals(
    remit_accounts: Sequence[Account],
    remit_grants: Sequence[GrantRow],
    session_accounts: Sequence[Account],
) -> Totals:
    """Sum up what is spent and held now. A child's spending counts once: by the parent's accounts what was
    booked there when a grant was closed, by its own the rest."""
    spent: dict[Unit, int] = dict.fromkeys(UNITS, 0)
    held: dict[Unit, int] = dict.fromkeys(UNITS, 0)
    booked: dict[tuple[str | None, Unit, Purpose], int] = {}
    for grant in remit_grants:
        if grant.direction == "out" and grant.state == "closed":
            name = (grant.child_stream_id, grant.unit, grant.purpose)
            booked[name] = booked.get(name, 0) + (grant.spent or 0)
    for account in remit_accounts:
        spent[account.unit] += account.spent
        held[account.unit] += account.held
    for account in session_accounts:
        held[account.unit] += account.held
        of_remit = booked.get((account.stream_id, account.unit, account.purpose), 0)
        spent[account.unit] += max(0, account.spent - of_remit)
    return Totals(spent=spent, held=held)


async def read_totals(
    store: SessionStore, principal: Principal, remit_id: str, session_ids: Sequence[str]
) -> Totals:
    """The totals as they stand in the ledger."""
    of_sessions: list[Account] = []
    for session_id in session_ids:
        try:
            of_sessions += await store.accounts(principal, session_id)
        except NotFound:
            continue  # decided and not made yet, or deleted
    return totals(
        await store.accounts(principal, remit_id), await store.grants(principal, remit_id), of_sessions
    )
