"""Forecasts of cost. With no history a stated prior, from the model's prices and the input's size."""

from __future__ import annotations

from typing import Literal

from remit.errors import InvalidRequest
from remit.ledger.prices import unpriced
from remit.remits.accounts import budget_amount
from remit.remits.events import Amount, Budget, Range, RemitForecast
from remit.remits.money import format_usd
from remit.values import Rate, Value

BYTES_PER_TOKEN = 4
PROMPT_TOKENS = 3_000
"""System prompt, tools and the outcome; sent with every step."""
READ_TOKENS_MAX = 100_000
"""However large the input: an agent reads no more of it than this."""
RESERVE_PERCENT = 10


class Scenario(Value, frozen=True, kw_only=True):
    """A way the work may go: model calls, the share of the input read, tokens written per call."""

    steps: int
    read_percent: int
    output_tokens: int


LOW = Scenario(steps=6, read_percent=2, output_tokens=300)
LIKELY = Scenario(steps=20, read_percent=10, output_tokens=500)
HIGH = Scenario(steps=60, read_percent=50, output_tokens=900)


class Estimate(Value, frozen=True, kw_only=True):
    """One scenario's figures; no dollars for a model without a price."""

    tokens: int
    nano_usd: int | None


def forecast(
    *,
    model: str,
    rate: Rate | None,
    budget: Budget,
    input_bytes: int,
    priced_verifiers: int,
    verification_worst: Amount | None = None,
) -> RemitForecast:
    """The prior. `verification_worst` is the worst case of one run of every priced verifier, where it is known.
    Raises Unpriced, InvalidRequest when the budget cannot bind this model."""
    check_budget(model, rate, budget)
    estimates = [estimate(scenario, rate, input_bytes) for scenario in (LOW, LIKELY, HIGH)]
    low, likely, high = estimates
    dollars = None
    if low.nano_usd is not None and likely.nano_usd is not None and high.nano_usd is not None:
        dollars = Range(
            low=format_usd(low.nano_usd), likely=format_usd(likely.nano_usd), high=format_usd(high.nano_usd)
        )
    return RemitForecast(
        usd=dollars,
        tokens=Range(low=low.tokens, likely=likely.tokens, high=high.tokens),
        basis=_basis(model, rate, input_bytes),
        verification_reserve=reserve(budget, priced_verifiers, verification_worst),
        notes=tuple(_notes(model, rate, budget, likely)),
    )


def check_budget(model: str, rate: Rate | None, budget: Budget) -> None:
    """Check that a budget can bind the model's calls."""
    if budget.usd is not None and rate is None:
        raise unpriced(model)
    if budget.tokens is None and rate is not None and is_free(rate):
        raise InvalidRequest(
            f"`budget`: the model {model!r} costs nothing, so a dollar budget alone would never bind. "
            'Give a token budget: `--budget 50000tokens`, or "budget": {"tokens": 50000}.'
        )


def is_free(rate: Rate) -> bool:
    """Return whether nothing this model does costs money."""
    return rate.input_dearest == 0 and rate.output_dearest == 0 and rate.input == 0 and rate.output == 0


def estimate(scenario: Scenario, rate: Rate | None, input_bytes: int) -> Estimate:
    """Estimate a scenario: each step sends everything so far again; what is new is written to the cache, the
    rest is read from it."""
    steps, written = scenario.steps, scenario.output_tokens * scenario.steps
    read = min(input_bytes // BYTES_PER_TOKEN * scenario.read_percent // 100, READ_TOKENS_MAX)
    fresh = PROMPT_TOKENS + read + written
    sent = PROMPT_TOKENS * steps + (read + written) * steps // 2
    resent = max(0, sent - fresh)
    nano_usd = None
    if rate is not None:
        write_rate = max(rate.input, rate.cache_write_5m)
        nano_usd = fresh * write_rate + resent * rate.cache_read + written * rate.output
    return Estimate(tokens=fresh + resent + written, nano_usd=nano_usd)


def reserve(budget: Budget, priced_verifiers: int, worst: Amount | None) -> Amount:
    """Compute what is set aside for graders: nothing without one; one run of each at its worst case, where
    that is known and leaves at least half of the budget to the work; else a tenth, rounded up."""
    if priced_verifiers == 0:
        return Amount()
    usd = _reserve_of(budget_amount(budget, "nano_usd"), _known(worst, "nano_usd"))
    tokens = _reserve_of(budget_amount(budget, "tokens"), _known(worst, "tokens"))
    return Amount(usd=format_usd(usd), tokens=tokens)


def _known(worst: Amount | None, unit: Literal["nano_usd", "tokens"]) -> int | None:
    return None if worst is None else budget_amount(Budget(usd=worst.usd, tokens=worst.tokens), unit)


def _reserve_of(total: int | None, worst: int | None) -> int:
    if total is None:
        return 0
    if worst is not None and worst * 2 <= total:
        return worst
    return -(-total * RESERVE_PERCENT // 100)


def _basis(model: str, rate: Rate | None, input_bytes: int) -> str:
    price = f"prices of {model} ({rate.source})" if rate is not None else f"no price is known for {model}"
    return (
        f"No history yet. A prior: {LOW.steps} to {HIGH.steps} model calls (likely {LIKELY.steps}), an input of about "
        f"{input_bytes // BYTES_PER_TOKEN} tokens ({input_bytes} bytes) read in part, {price}."
    )


def _notes(model: str, rate: Rate | None, budget: Budget, likely: Estimate) -> list[str]:
    notes: list[str] = []
    if rate is None:
        notes.append(f"{model} has no known price: the token budget binds, dollars are not counted.")
    elif is_free(rate):
        notes.append("This model costs nothing: the token budget binds.")
    if budget.tokens is not None and likely.tokens > budget.tokens:
        notes.append("The likely use is above the token budget: the work may end with `budget_reached`.")
    cap = budget_amount(budget, "nano_usd")
    if cap is not None and likely.nano_usd is not None and likely.nano_usd > cap:
        notes.append("The likely cost is above the dollar budget: the work may end with `budget_reached`.")
    return notes
