"""Prices: from the offline list, from overrides, never guessed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from genai_prices import Usage as ListedUsage
from genai_prices import calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.clock import SystemClock
from remit.errors import InvalidRequest
from remit.gateway.routing import DEFAULT_MODELS
from remit.ledger.prices import PriceOverride, PriceTable, cost, parse_overrides, unpriced
from remit.testing.clock import FakeClock
from remit.values import Rate, Usage

TABLE = PriceTable({}, clock=SystemClock())


def rate_of(model: str, table: PriceTable = TABLE) -> Rate:
    rate = table.rate(model)
    assert rate is not None
    return rate


@pytest.mark.parametrize("model", ["anthropic/claude-opus-5-5", "claude-opus-5-5"])
def test_a_listed_model_is_priced_by_bare_or_full_id(model: str) -> None:
    rate = rate_of(model)

    assert (rate.input, rate.output, rate.cache_read) == (4_000, 20_000, 200)
    assert (rate.cache_write_5m, rate.cache_write_1h) == (5_000, 8_000)
    assert "genai-prices" in rate.source


def test_the_models_used_by_default_have_a_price() -> None:
    for provider, model in DEFAULT_MODELS:
        assert rate_of(f"{provider}/{model}").input > 0


@pytest.mark.parametrize(
    "model", ["llama-99", "anthropic/claude-nonsense-9", "homemade/x", "gpt-nonsense", ""]
)
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert TABLE.rate(model) is None


@pytest.mark.parametrize("model", ["local/qwen", "scripted/demo", "local/gpt-5", "local/org/name"])
def test_local_and_scripted_models_cost_nothing(model: str) -> None:
    assert cost(rate_of(model), Usage(input_tokens=10**6, output_tokens=10**6)) == 0


def test_an_override_prices_any_model_and_wins() -> None:
    override = PriceOverride(input_per_million_usd=2.0, output_per_million_usd=8.0)
    table = PriceTable(
        {"scripted/demo": override, "claude-opus-5-5": override, "homemade/x": override}, clock=SystemClock()
    )

    for model in ("scripted/demo", "anthropic/claude-opus-5-5", "claude-opus-5-5", "homemade/x"):
        rate = rate_of(model, table)
        assert (rate.input, rate.output, rate.cache_read) == (2_000, 8_000, 2_000)
        assert (rate.cache_write_5m, rate.cache_write_1h) == (2_500, 4_000)
        assert "settings" in rate.source


def test_a_price_below_a_nano_dollar_a_token_is_rounded_up() -> None:
    override = PriceOverride(input_per_million_usd=0.0001, output_per_million_usd=0.0025)
    rate = rate_of("x", PriceTable({"x": override}, clock=SystemClock()))

    assert (rate.input, rate.output) == (1, 3)


def test_a_long_context_is_paid_at_its_tier_as_a_whole() -> None:
    rate = rate_of("claude-haiku-5-5")
    below = Usage(input_tokens=99_000, cache_read_input_tokens=1_000, output_tokens=10)
    above = Usage(input_tokens=99_000, cache_read_input_tokens=1_001, output_tokens=10)

    assert cost(rate, below) == 99_000 * 100 + 1_000 * 10 + 10 * 500
    assert cost(rate, above) == 99_000 * 500 + 1_001 * 50 + 10 * 2_500
    assert rate.input_dearest == 1_000
    assert rate.output_dearest == 2_500


def test_a_price_that_changed_on_a_day_follows_the_clock() -> None:
    april_2026_us, february_2026_us = 1_775_000_000_000_000, 1_770_000_000_000_000
    before = rate_of("claude-sonnet-4-6", PriceTable({}, clock=FakeClock(february_2026_us)))
    after = rate_of("claude-sonnet-4-6", PriceTable({}, clock=FakeClock(april_2026_us)))

    assert [tier.above_input_tokens for tier in before.tiers] == [200_000]
    assert after.tiers == ()


usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 400_000),
    output_tokens=st.integers(0, 100_000),
    cache_read_input_tokens=st.integers(0, 400_000),
    cache_creation_5m_input_tokens=st.integers(0, 100_000),
    cache_creation_1h_input_tokens=st.integers(0, 100_000),
)


@settings(max_examples=200, deadline=None)
@given(usage=usages, model=st.sampled_from(["claude-opus-5-5", "claude-haiku-5-5", "claude-sonnet-4-5"]))
def test_costs_equal_the_lists_own_calculation(usage: Usage, model: str) -> None:
    written = usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens
    listed = calc_price(
        ListedUsage(
            input_tokens=usage.total_tokens - usage.output_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_input_tokens,
            cache_write_tokens=written,
            cache_write_1h_tokens=usage.cache_creation_1h_input_tokens,
        ),
        model,
        provider_id="anthropic",
    )

    assert cost(rate_of(model), usage) == listed.total_price * Decimal(10**9)


def test_the_error_for_an_unpriced_model_shows_lines_that_price_it() -> None:
    import tomllib

    message = unpriced("homemade/x-1").message
    lines = message[message.index("[prices") : message.index("(with")]

    overrides = parse_overrides(tomllib.loads(lines)["prices"])

    assert rate_of("homemade/x-1", PriceTable(overrides, clock=SystemClock())).input == 1_000


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input_per_million_usd": 1.0}, "output_per_million_usd"),
        ({"input_per_million_usd": "1", "output_per_million_usd": 1}, "input_per_million_usd"),
        ({"input_per_million_usd": 1, "output_per_million_usd": 1, "outptu": 1}, "outptu"),
    ],
)
def test_a_wrong_override_names_the_model_and_the_field(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_overrides({"some/model": fields})

    assert "some/model" in refused.value.message
    assert named in refused.value.message


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="zero or more"):
        PriceTable(
            {"x": PriceOverride(input_per_million_usd=-1, output_per_million_usd=1)}, clock=SystemClock()
        )
