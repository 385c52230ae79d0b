"""A remit that ended at its budget goes on with a higher one: what it is granted, and how that reaches its session.

The workspace grants what the new budget is above what was spent, under an id of its own, so that what was granted first
stays closed as it is. Where a call once cost more than its cap, raising the budget is the decision to go on all the
same: the cap is set to cover it, once.
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.client.anew import anew_line
from remit.errors import InvalidRequest, NotFound, WrongState
from remit.interfaces import SessionStore
from remit.remits.accounts import budget_amount, read_totals, reserved_amount, session_grants
from remit.remits.events import Amount, Budget
from remit.remits.money import format_usd
from remit.remits.state import RemitState
from remit.remits.views import remit_log_view
from remit.streams.grants import UNITS, GrantNote, grant_id_of, grants_in
from remit.values import Account, Effect, Principal, Purpose, SetCap, Unit
from remit.wording import exact_usd

VERIFICATION_PARTS = 10
"""Where graders are paid, they get at least one of so many parts of what is granted anew."""


def raised(budget: Budget, new: Budget) -> Budget:
    """The whole budget after a raise: what it does not name stays."""
    return Budget(
        usd=budget.usd if new.usd is None else new.usd,
        tokens=budget.tokens if new.tokens is None else new.tokens,
    )


async def is_to_be_raised(
    store: SessionStore, principal: Principal, remit_id: str, state: RemitState, new: Budget
) -> bool:
    """Return whether a raise is new; False: it is under way. Raises WrongState, InvalidRequest."""
    if pending := next((one for one in state.pending if one.type == "remit.raise"), None):
        if pending.budget == new:
            return False
        raise WrongState(f"Remit {remit_id!r} is being raised to another budget; look at it first.")
    if state.ended is None:
        raise WrongState(
            f"Remit {remit_id!r} has not ended ({state.status}): its budget can be raised once it is reached."
        )
    anew = anew_line(remit_log_view(remit_id, state))
    if state.ended.status != "budget_reached":
        raise WrongState(
            f"Remit {remit_id!r} has ended ({state.status}), not at its budget, so it cannot go on. Start anew: {anew}"
        )
    for session_id in state.session_ids:
        try:
            await store.head(principal, session_id)
        except NotFound as error:
            raise WrongState(
                f"The working session of remit {remit_id!r} was deleted, so it cannot go on. Start anew: {anew}"
            ) from error
    sums = await read_totals(store, principal, remit_id, state.session_ids)
    require_raised(remit_id, state.budget, new, sums.spent)
    return True


def require_raised(remit_id: str, budget: Budget, new: Budget, spent: dict[Unit, int]) -> None:
    """Raise InvalidRequest, with the figures, unless no unit is lowered and each leaves something to spend. The same
    budget is enough where something else was in the way (a cap of the key)."""
    for unit in UNITS:
        field = "tokens" if unit == "tokens" else "usd"
        is_named, whole = budget_amount(new, unit) is not None, budget_amount(raised(budget, new), unit)
        if is_named and budget_amount(budget, unit) is None:
            other = "usd" if unit == "tokens" else "tokens"
            raise InvalidRequest(
                f"`{field}`: remit {remit_id!r} has no budget in it, so there is nothing to raise; give `{other}`."
            )
        if whole is not None and whole <= spent[unit]:
            what = "is the whole budget" if is_named else "stays the whole budget where it is not named"
            raise InvalidRequest(
                f"`{field}`: {_amount(whole, unit)} {what}, and {_amount(spent[unit], unit)} are spent already; "
                f"give more than {_plain(spent[unit], unit)}.",
                code="budget_not_raised",
            )
    before = {unit: budget_amount(budget, unit) for unit in UNITS}
    after = {unit: budget_amount(raised(budget, new), unit) for unit in UNITS}
    for unit in UNITS:
        old, whole = before[unit], after[unit]
        if old is not None and whole is not None and whole < old:
            raise InvalidRequest(
                f"`{'tokens' if unit == 'tokens' else 'usd'}`: {_amount(whole, unit)} is below the budget there is "
                f"({_amount(old, unit)}); give at least {_plain(old, unit)}.",
                code="budget_not_raised",
            )


def reopening_grants(
    remit_id: str, number: int, budget: Budget, reserve: Amount, accounts: Sequence[Account]
) -> tuple[GrantNote, ...]:
    """Compute the workspace's grants for the `number`-th reopening: what the whole budget is above what was
    spent, and of that a part for verification that leaves at least half to the work."""
    notes: list[GrantNote] = []
    for unit in UNITS:
        whole = budget_amount(budget, unit)
        if whole is None:
            continue
        spent = sum(account.spent for account in accounts if account.unit == unit)
        left = max(0, whole - spent)
        reserved = reserved_amount(reserve, unit)
        if reserved:  # it was measured by the first budget
            reserved = max(reserved, -(-left // VERIFICATION_PARTS))
        for_verification = min(left // 2, reserved)
        amounts: dict[Purpose, int] = {"work": left - for_verification, "verification": for_verification}
        notes += [
            GrantNote(grant_id=_grant_id(remit_id, number), unit=unit, purpose=purpose, amount=amount)
            for purpose, amount in amounts.items()
            if amount > 0  # an account that is stopped grants nothing, not even nothing
        ]
    return tuple(notes)


def reopened_session_grants(
    session_id: str, number: int, accounts: Sequence[Account]
) -> tuple[GrantNote, ...]:
    """Grant all that the remit has to its session, under an id of its own."""
    return tuple(
        GrantNote(
            grant_id=_grant_id(session_id, number), unit=note.unit, purpose=note.purpose, amount=note.amount
        )
        for note in session_grants(session_id, accounts)
        if note.amount > 0
    )


def arriving(notes: Sequence[GrantNote], accounts: Sequence[Account]) -> tuple[Effect, ...]:
    """The child's side of a reopening's grants: an account that is above its cap gets all that was granted on top."""
    amounts = {(note.unit, note.purpose): note.amount for note in notes}
    caps = [
        SetCap(unit=account.unit, purpose=account.purpose, cap=used + amount)
        for account in accounts
        if account.cap is not None
        and (used := account.spent + account.held + account.granted) > account.cap
        and (amount := amounts.get((account.unit, account.purpose), 0)) > 0
    ]
    return (*grants_in(notes), *caps)


def _grant_id(stream_id: str, number: int) -> str:
    return f"{grant_id_of(stream_id)}_{number}"


def _amount(amount: int, unit: Unit) -> str:
    return f"{amount:,} tokens" if unit == "tokens" else exact_usd(format_usd(amount))


def _plain(amount: int, unit: Unit) -> str:
    return str(amount) if unit == "tokens" else f'"{format_usd(amount)}"'
