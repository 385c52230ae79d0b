"""Grants: how a parent's money reaches its child and what is left comes back. Pure: notes, ledger rows, effects.

Every grant takes the parent's side first and every return the child's, each idempotent by the grant's id, so a crash
between the two holds too much for a while and never too little.
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.values import (
    Account,
    Effect,
    GrantGiveBack,
    GrantIn,
    GrantOut,
    GrantRow,
    OpenAccount,
    Purpose,
    Unit,
    Value,
)

UNITS: tuple[Unit, ...] = ("nano_usd", "tokens")
PURPOSES: tuple[Purpose, ...] = ("work", "verification")


class GrantNote(Value, frozen=True, kw_only=True):
    """A grant as decided in the log, so that both sides of it can be repeated."""

    grant_id: str
    unit: Unit
    purpose: Purpose
    amount: int


def opening_effects(granted: Sequence[GrantNote]) -> tuple[Effect, ...]:
    """Accounts of a stream that lives on grants: empty where a grant will come, without a cap elsewhere (the budget
    does not name that unit, but it is booked)."""
    capped = {note.unit for note in granted}
    return tuple(
        OpenAccount(unit=unit, purpose=purpose, cap=0 if unit in capped else None)
        for unit in UNITS
        for purpose in PURPOSES
    )


def grants_in(notes: Sequence[GrantNote]) -> tuple[Effect, ...]:
    """Return the effects of grants on the child's side."""
    return tuple(GrantIn(grant_id=n.grant_id, unit=n.unit, purpose=n.purpose, amount=n.amount) for n in notes)


def grants_out(notes: Sequence[GrantNote], child_stream_id: str) -> tuple[Effect, ...]:
    """Return the effects of grants on the parent's side."""
    return tuple(
        GrantOut(
            grant_id=n.grant_id,
            unit=n.unit,
            purpose=n.purpose,
            amount=n.amount,
            child_stream_id=child_stream_id,
        )
        for n in notes
    )


def grant_id_of(stream_id: str) -> str:
    """The grant that fills a stream's accounts: one id for all its units and purposes."""
    return f"grant_{stream_id}"


def give_backs(accounts: Sequence[Account], grants: Sequence[GrantRow]) -> tuple[Effect, ...]:
    """Give back what the accounts of a child have left of its grants."""
    left = {(a.unit, a.purpose): max(0, (a.cap or 0) - a.spent - a.held - a.granted) for a in accounts}
    effects: list[Effect] = []
    for grant in grants:
        if grant.direction == "in" and grant.state == "open":
            amount = min(grant.amount, left[grant.unit, grant.purpose])
            left[grant.unit, grant.purpose] -= amount
            effects.append(
                GrantGiveBack(grant_id=grant.grant_id, unit=grant.unit, purpose=grant.purpose, amount=amount)
            )
    return tuple(effects)


def spent_of_grant(accounts: Sequence[Account], grants: Sequence[GrantRow], grant: GrantRow) -> int:
    """Return what a child spent of a grant: what it kept, and what it spent above its cap. A grant that the
    child could not give back (it was deleted) counts with what its account ever spent or held."""
    account = next(a for a in accounts if (a.unit, a.purpose) == (grant.unit, grant.purpose))
    name = (grant.grant_id, grant.unit, grant.purpose)
    own = next(g for g in grants if g.direction == "in" and (g.grant_id, g.unit, g.purpose) == name)
    if own.state == "open":
        earlier = (
            g
            for g in grants
            if g.direction == "in" and g.state == "closed" and (g.unit, g.purpose) == (own.unit, own.purpose)
        )
        return max(0, account.spent + account.held - sum(g.spent or 0 for g in earlier))
    return (own.spent or 0) + max(0, account.spent - (account.cap or 0))
