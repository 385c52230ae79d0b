"""A session's budget on the wire, and its accounts in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from remit.errors import InvalidRequest, Unpriced
from remit.interfaces import Prices
from remit.schema.sessions import BudgetLimit
from remit.values import Account, Effect, JsonObject, OpenAccount, Purpose, SetCap, Unit

NANO_USD_PER_CENT = 10_000_000
VERIFICATION_RESERVE_PERCENT = 10


def budget_body(budget: BudgetLimit) -> JsonObject:
    """Encode a budget as it is stored and shown."""
    return cast("JsonObject", msgspec.to_builtins(budget))


def budget_nano_usd(budget: BudgetLimit) -> int:
    """The cap in the ledger's unit."""
    return int(budget.max_list_cost.amount) * NANO_USD_PER_CENT


def check_priced(model: str, prices: Prices) -> None:
    """Raises Unpriced: a model without a price cannot serve a dollar budget."""
    if prices.rate(model) is None:
        raise Unpriced(
            f"`budget`: model {model!r} has no price, so dollars cannot bind it. Add a price override for it "
            "or leave the budget out."
        )


def has_priced_verifier(events: Sequence[JsonObject]) -> bool:
    """Return whether an outcome among these events is judged by a model."""
    return any(
        verifier.get("type") == "rubric"
        for event in events
        for verifier in cast("Sequence[JsonObject]", event.get("verifiers") or ())
    )


def verification_reserve(total: int) -> int:
    """Return the part of a cap that graders get."""
    return total * VERIFICATION_RESERVE_PERCENT // 100


def session_accounts(
    *, nano_usd: int | None, tokens: int | None = None, has_priced_verifier: bool = False
) -> tuple[Effect, ...]:
    """The accounts of a session that has no grants: `work` and `verification`, in dollars and tokens."""
    effects: list[Effect] = []
    totals: tuple[tuple[Unit, int | None], ...] = (("nano_usd", nano_usd), ("tokens", tokens))
    for unit, total in totals:
        if total is None:
            work = verification = None
        else:
            verification = verification_reserve(total) if has_priced_verifier else 0
            work = total - verification
        effects.append(OpenAccount(unit=unit, purpose="work", cap=work))
        effects.append(OpenAccount(unit=unit, purpose="verification", cap=verification))
    return tuple(effects)


def reserve_for_graders(accounts: Sequence[Account]) -> tuple[Effect, ...]:
    """Move the reserve over when a graded outcome comes to a capped session that kept nothing for graders.
    Raises InvalidRequest when too little is left."""
    effects: list[Effect] = []
    for verification in accounts:
        if verification.purpose != "verification" or verification.cap != 0:
            continue
        work = next(a for a in accounts if a.unit == verification.unit and a.purpose == "work")
        assert work.cap is not None  # both caps of a unit are set together
        reserve = verification_reserve(work.cap)
        if work.remaining is None or work.remaining <= reserve or reserve == 0:
            raise InvalidRequest(
                "`events`: too little of the budget is left to pay a grader; raise `budget` first.",
                code="budget_reached",
            )
        effects.append(SetCap(unit=work.unit, purpose="work", cap=work.cap - reserve))
        effects.append(SetCap(unit=work.unit, purpose="verification", cap=reserve))
    return tuple(effects)


def change_budget(budget: BudgetLimit | None, accounts: Sequence[Account]) -> tuple[Effect, ...]:
    """A new cap (or none) for a session that has one; graders keep what they have. Raises InvalidRequest."""
    own: dict[Purpose, Account] = {a.purpose: a for a in accounts if a.unit == "nano_usd"}
    if budget is None:
        return tuple(SetCap(unit="nano_usd", purpose=purpose, cap=None) for purpose in own)
    work, verification = own["work"], own["verification"]
    work_cap = budget_nano_usd(budget) - (verification.cap or 0)
    used = work.spent + work.held + work.granted
    if work_cap <= used:
        cents = -(-(used + (verification.cap or 0) + 1) // NANO_USD_PER_CENT)
        raise InvalidRequest(
            f"`budget.max_list_cost.amount`: must exceed what is spent, held or kept for graders; use at least "
            f'"{cents}" cents.',
            code="budget_not_raised",
        )
    return (SetCap(unit="nano_usd", purpose="work", cap=work_cap),)
