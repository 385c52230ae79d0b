"""Forecasts: a stated prior, and budgets that cannot bind are refused."""

from __future__ import annotations

import pytest

from remit.errors import InvalidRequest, Unpriced
from remit.remits.events import Amount, Budget, RemitForecast
from remit.remits.forecast import forecast, reserve
from remit.remits.money import format_usd, parse_usd
from remit.values import Rate

RATE = Rate(
    input=3_000,
    output=15_000,
    cache_read=300,
    cache_write_5m=3_750,
    cache_write_1h=6_000,
    source="a list",
    input_dearest=6_000,
    output_dearest=15_000,
)
TWO_DOLLARS = Budget(usd="2")
FREE = Rate(input=0, output=0, cache_read=0, cache_write_5m=0, cache_write_1h=0, source="free")


def make(
    *, rate: Rate | None = RATE, budget: Budget = TWO_DOLLARS, input_bytes: int = 40_000
) -> RemitForecast:
    return forecast(model="m", rate=rate, budget=budget, input_bytes=input_bytes, priced_verifiers=0)


def test_low_likely_and_high_are_in_order_and_the_basis_is_said() -> None:
    made = make()
    assert made.usd is not None
    figures = [parse_usd(str(figure)) or 0 for figure in (made.usd.low, made.usd.likely, made.usd.high)]
    assert 0 < figures[0] < figures[1] < figures[2]
    assert "No history yet" in made.basis
    assert "a list" in made.basis


def test_a_larger_input_costs_more() -> None:
    small, large = make(input_bytes=1_000), make(input_bytes=10_000_000)
    assert small.tokens is not None
    assert large.tokens is not None
    assert int(str(small.tokens.likely)) < int(str(large.tokens.likely))


def test_a_dollar_budget_without_a_price_shows_the_line_that_adds_one() -> None:
    with pytest.raises(Unpriced, match=r'\[prices\."m"\]'):
        make(rate=None)


def test_a_token_budget_without_a_price_is_fine() -> None:
    assert make(rate=None, budget=Budget(tokens=50_000)).usd is None


def test_a_dollar_budget_alone_for_a_free_model_names_the_flag() -> None:
    with pytest.raises(InvalidRequest, match="--budget 50000tokens"):
        make(rate=FREE)


def test_a_free_model_says_that_the_token_budget_binds() -> None:
    made = make(rate=FREE, budget=Budget(usd="1", tokens=50_000))
    assert "This model costs nothing: the token budget binds." in made.notes


@pytest.mark.parametrize(
    ("priced", "worst", "expected"),
    [
        (0, None, Amount()),
        (1, None, Amount(usd="0.2", tokens=6)),
        (1, Amount(usd="0.5", tokens=20), Amount(usd="0.5", tokens=20)),
        (1, Amount(usd="1.000000001", tokens=26), Amount(usd="0.2", tokens=6)),
    ],
)
def test_the_verification_reserve(priced: int, worst: Amount | None, expected: Amount) -> None:
    assert reserve(Budget(usd="2", tokens=51), priced, worst) == expected


@pytest.mark.parametrize("text", ["0", "2", "0.5", "0.000000001", "999999999.999999999"])
def test_dollars_are_exact_both_ways(text: str) -> None:
    nano_usd = parse_usd(text)
    assert nano_usd is not None
    assert format_usd(nano_usd) == text


@pytest.mark.parametrize("text", ["", "-1", "1.", ".5", "1e3", "0.0000000001", "1,5", "NaN"])
def test_what_is_no_amount_is_none(text: str) -> None:
    assert parse_usd(text) is None
