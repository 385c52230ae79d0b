"""Prices of models: integer nano-dollars, rounded up, from genai-prices (offline) and overrides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from remit.clock import Clock
from remit.errors import InvalidRequest, Unpriced
from remit.values import Rate, RateTier, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo as PricedModel
    from genai_prices.types import ModelPrice

ZERO_PRICED_PREFIXES = ("local/", "scripted/")
NANO_USD_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000

# Where the provider of a bare model id is plain from its name.
BARE_ID_PROVIDERS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"(gpt-|chatgpt-|o\d)"), "openai"),
)

# When an override names only input and output: Anthropic's multiples, so that a write is never under-priced.
CACHE_WRITE_5M_FACTOR = 1.25
CACHE_WRITE_1H_FACTOR = 2.0


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[prices."MODEL"]` of the settings file: dollars per million tokens."""

    input_per_million_usd: float
    output_per_million_usd: float
    cache_read_per_million_usd: float | None = None
    """Left out: the input rate."""
    cache_write_5m_per_million_usd: float | None = None
    """Left out: 1.25 times the input rate."""
    cache_write_1h_per_million_usd: float | None = None
    """Left out: twice the input rate."""


class PriceTable:
    """Rates by model id; implements `interfaces.Prices`."""

    def __init__(self, overrides: Mapping[str, PriceOverride], *, clock: Clock) -> None:
        self._overrides = {model: _override_rate(model, override) for model, override in overrides.items()}
        self._clock = clock

    def rate(self, model: str) -> Rate | None:
        """None: unpriced. `local/` and `scripted/` are zero unless overridden."""
        provider, name = split_model_id(model)
        for known_as in (model, f"{provider}/{name}", name):
            if known_as in self._overrides:
                return self._overrides[known_as]
        if model.startswith(ZERO_PRICED_PREFIXES):
            return _zero_rate(provider or "local")
        return self._listed_rate(provider, name)

    def _listed_rate(self, provider: str | None, name: str) -> Rate | None:
        if provider is None or (model := _find(provider, name)) is None:
            return None
        import genai_prices

        now = datetime.fromtimestamp(self._clock.now_us() / 1_000_000, tz=UTC)
        return _rate_of(
            model.get_prices(now), source=f"genai-prices {genai_prices.__version__}: {provider}/{model.id}"
        )


class ListedModel(NamedTuple):
    """The facts that genai-prices knows of a model beside its price."""

    context_tokens: int | None
    is_deprecated: bool


def listed_model(model: str) -> ListedModel | None:
    """None: it is not listed."""
    provider, name = split_model_id(model)
    if provider is None or model.startswith(ZERO_PRICED_PREFIXES):
        return None
    found = _find(provider, name)
    return ListedModel(found.context_window, bool(found.deprecated)) if found is not None else None


def load_price_list() -> None:
    """Read all that genai-prices lists: a tenth of a second, which whoever needs it first would wait for otherwise."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def _find(provider: str, name: str) -> PricedModel | None:
    # Imported here: 30,000 lines of data (0.2 s) that a session on a zero-price model never needs.
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(name, None, provider, None)[1]
    except LookupError:
        return None


def split_model_id(model: str) -> tuple[str | None, str]:
    """The provider and the provider's own id: by an explicit `provider/`, else by the form of a bare id."""
    if "/" in model:
        provider, _, name = model.partition("/")
        return provider, name
    for pattern, provider in BARE_ID_PROVIDERS:
        if pattern.match(model):
            return provider, model
    return None, model


def cost(rate: Rate, usage: Usage) -> int:
    """Compute the cost of a call, in nano-dollars."""
    applicable: Rate | RateTier = rate
    input_tokens = usage.total_tokens - usage.output_tokens
    for tier in rate.tiers:
        if input_tokens > tier.above_input_tokens:
            applicable = tier
    return (
        usage.input_tokens * applicable.input
        + usage.output_tokens * applicable.output
        + usage.cache_read_input_tokens * applicable.cache_read
        + usage.cache_creation_5m_input_tokens * applicable.cache_write_5m
        + usage.cache_creation_1h_input_tokens * applicable.cache_write_1h
    )


def unpriced(model: str) -> Unpriced:
    """The error for a model without a price, with the lines that give it one."""
    return Unpriced(
        f"model {model!r} has no known price, so it cannot serve a dollar budget. Add its price to the settings file:\n"
        f'[prices."{model}"]\ninput_per_million_usd = 1.00\noutput_per_million_usd = 5.00\n'
        "(with the provider's real figures), or give a token budget instead, such as `--budget 50000tokens`."
    )


def parse_overrides(table: Mapping[str, Any]) -> dict[str, PriceOverride]:  # Any: TOML as tomllib gives it
    """The `prices` table of the settings file. Raises InvalidRequest naming the model and the field."""
    overrides: dict[str, PriceOverride] = {}
    for model, fields in table.items():
        try:
            overrides[model] = msgspec.convert(fields, PriceOverride)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f'settings, [prices."{model}"]: {error}') from error
    return overrides


def _override_rate(model: str, override: PriceOverride) -> Rate:
    input_usd = override.input_per_million_usd
    prices = {
        "input": input_usd,
        "output": override.output_per_million_usd,
        "cache_read": _given(override.cache_read_per_million_usd, input_usd),
        "cache_write_5m": _given(override.cache_write_5m_per_million_usd, input_usd * CACHE_WRITE_5M_FACTOR),
        "cache_write_1h": _given(override.cache_write_1h_per_million_usd, input_usd * CACHE_WRITE_1H_FACTOR),
    }
    for name, price in prices.items():
        if not 0 <= price < float("inf"):
            raise InvalidRequest(
                f'settings, [prices."{model}"]: {name} must be zero or more dollars, not {price}'
            )
    return _with_dearest(
        {name: _nano_usd_per_token(Decimal(str(price))) for name, price in prices.items()},
        tiers=(),
        source=f'settings, [prices."{model}"]',
    )


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _zero_rate(provider: str) -> Rate:
    return Rate(
        input=0,
        output=0,
        cache_read=0,
        cache_write_5m=0,
        cache_write_1h=0,
        source=f"{provider}/ models cost nothing unless a price is set",
    )


def _rate_of(price: ModelPrice, *, source: str) -> Rate | None:
    """The standard prices. Variants (batch, priority, fast) do not apply: drivers never ask for them."""
    if price.input_mtok is None or price.output_mtok is None:
        return None
    thresholds = sorted(
        {tier.start for value in price.__dict__.values() for tier in getattr(value, "tiers", ())}
    )
    tiers = tuple(RateTier(above_input_tokens=start, **_rates_above(price, start)) for start in thresholds)
    return _with_dearest(_rates_above(price, 0), tiers=tiers, source=source)


def _rates_above(price: ModelPrice, input_tokens: int) -> dict[str, int]:
    """Rates for a call with more than so many input tokens. A rate that is not listed is the plain input's."""

    def at(
        value: Any, otherwise: int
    ) -> int:  # Any: Decimal | TieredPrices | None, set dynamically by the library
        if value is None:
            return otherwise
        chosen: Decimal = getattr(value, "base", value)
        for tier in getattr(value, "tiers", ()):
            if input_tokens >= tier.start:
                chosen = tier.price
        return _nano_usd_per_token(chosen)

    plain = at(price.input_mtok, 0)
    write_5m = at(price.cache_write_mtok, plain)
    return {
        "input": plain,
        "output": at(price.output_mtok, 0),
        "cache_read": at(price.cache_read_mtok, plain),
        "cache_write_5m": write_5m,
        "cache_write_1h": at(price.cache_write_1h_mtok, write_5m),
    }


def _with_dearest(rates: dict[str, int], *, tiers: tuple[RateTier, ...], source: str) -> Rate:
    base = Rate(**rates, source=source, tiers=tiers)
    every: tuple[Rate | RateTier, ...] = (base, *tiers)
    return Rate(
        **rates,
        source=source,
        tiers=tiers,
        input_dearest=max(
            max(each.input, each.cache_read, each.cache_write_5m, each.cache_write_1h) for each in every
        ),
        output_dearest=max(each.output for each in every),
    )


def _nano_usd_per_token(usd_per_million: Decimal) -> int:
    """Rounded up, so that no fraction of a nano-dollar is ever given away."""
    scaled = usd_per_million * NANO_USD_PER_USD / TOKENS_PER_PRICE
    return int(scaled.to_integral_value(rounding=ROUND_CEILING))
