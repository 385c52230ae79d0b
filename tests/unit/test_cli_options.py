"""What the words of a command line mean."""

from __future__ import annotations

from decimal import Decimal

import pytest

from remit.cli.failure import BadUsage
from remit.cli.options import BudgetOption, consent_above_usd, needs_question, parse_budget


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2"], BudgetOption(usd=Decimal(2))),
        (["$2"], BudgetOption(usd=Decimal(2))),
        (["2usd"], BudgetOption(usd=Decimal(2))),
        (["0.50 USD"], BudgetOption(usd=Decimal("0.50"))),
        ([".5"], BudgetOption(usd=Decimal("0.5"))),
        (["50000tokens"], BudgetOption(tokens=50000)),
        (["50_000 tokens"], BudgetOption(tokens=50000)),
        (["1.5k tokens"], BudgetOption(tokens=1500)),
        (["2", "50000tokens"], BudgetOption(usd=Decimal(2), tokens=50000)),
        (["2,50000tokens"], BudgetOption(usd=Decimal(2), tokens=50000)),
    ],
)
def test_a_budget_is_dollars_or_tokens_or_both(texts: list[str], expected: BudgetOption) -> None:
    assert parse_budget(texts) == expected


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["0"],
        ["-1"],
        ["x"],
        ["1", "2"],
        ["1tokens", "2tokens"],
        ["1.5tokens"],
        ["0tokens"],
        ["nan"],
        ["1e3"],
        ["0.0000000001"],
        ["2,"],
        ["∞"],
        ["٣"],
    ],
)
def test_anything_else_is_refused_with_how_to_write_it(texts: list[str]) -> None:
    with pytest.raises(BadUsage) as caught:
        parse_budget(texts)
    assert "--budget" in str(caught.value.mend)


def test_a_budget_goes_to_the_wire_without_an_exponent() -> None:
    assert parse_budget(["0.000000001"]).dollars == "0.000000001"


@pytest.mark.parametrize(
    ("high", "cap", "expected"),
    [
        ("0.99", "2", False),
        ("1.00", "2", False),
        ("1.01", "2", True),
        ("9", "0.5", False),
        ("0", None, False),
    ],
)
def test_what_is_at_stake_decides_whether_to_ask(high: str, cap: str | None, expected: bool) -> None:
    assert needs_question({"usd": {"high": high}}, {"usd": cap}, Decimal(1)) is expected


def test_without_a_forecast_in_dollars_it_is_asked() -> None:
    assert needs_question({"usd": None}, {"usd": "0.10"}, Decimal(1))


def test_a_threshold_that_is_no_amount_is_refused() -> None:
    assert consent_above_usd({"REMIT_CONSENT_ABOVE_USD": "5"}) == 5
    for text in ("lots", "nan", "-1"):
        with pytest.raises(BadUsage, match="REMIT_CONSENT_ABOVE_USD"):
            consent_above_usd({"REMIT_CONSENT_ABOVE_USD": text})
