"""Parsing of the words of a command line. Pure: text in, values or BadUsage out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import cast

from remit import wording
from remit.cli.failure import BadUsage
from remit.client.consent import REASONS
from remit.wording import decimal_of

CONSENT_ABOVE_USD_DEFAULT = Decimal("1.00")
"""REMIT_CONSENT_ABOVE_USD: a forecast up to this is not asked about."""

WAIT_SECONDS_DEFAULT = 900.0
"""How long an outage is waited for where nobody is at a terminal."""

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_NUMBER = r"[0-9][0-9_]*(?:\.[0-9]+)?|\.[0-9]+"
_USD = re.compile(rf"\$?\s*(?P<amount>{_NUMBER})\s*(?:usd|\$|dollars?)?", re.IGNORECASE)
_TOKENS = re.compile(rf"(?P<amount>{_NUMBER})\s*(?P<scale>[km]?)\s*(?:tokens?|tok)", re.IGNORECASE)
_SCALES = {"": 1, "k": 1_000, "m": 1_000_000}
_USD_MEND = "Write dollars as `--budget 2` or `--budget 0.50`, tokens as `--budget 50000tokens`; give it twice for both."


@dataclass(frozen=True, kw_only=True)
class BudgetOption:
    """The cap on spending, as typed; at least one of the two units is given."""

    usd: Decimal | None = None
    tokens: int | None = None

    @property
    def dollars(self) -> str | None:
        """Return the dollars as the API takes them."""
        return None if self.usd is None else f"{self.usd:f}"

    def in_words(self) -> str:
        """Return it for people."""
        return wording.money({"usd": self.dollars, "tokens": self.tokens})


def parse_budget(texts: Sequence[str]) -> BudgetOption:
    """`2`, `$2`, `2usd`, `50000tokens`, `50k tokens`; one of each kind, together or separated by commas."""
    usd: Decimal | None = None
    tokens: int | None = None
    for part in [part.strip() for text in texts for part in text.split(",")]:
        if match := _TOKENS.fullmatch(part):
            if tokens is not None:
                raise BadUsage("The budget names tokens twice.", mend=_USD_MEND)
            tokens = _whole_tokens(part, match)
        elif match := _USD.fullmatch(part):
            if usd is not None:
                raise BadUsage("The budget names dollars twice.", mend=_USD_MEND)
            usd = _positive_usd(part, match)
        else:
            raise BadUsage(f"The budget {part!r} is neither dollars nor tokens.", mend=_USD_MEND)
    if usd is None and tokens is None:
        raise BadUsage("There is no budget.", mend=_USD_MEND)
    return BudgetOption(usd=usd, tokens=tokens)


def _whole_tokens(part: str, match: re.Match[str]) -> int:
    amount = Decimal(match["amount"].replace("_", "")) * _SCALES[match["scale"].lower()]
    if amount != amount.to_integral_value() or amount <= 0:
        raise BadUsage(f"The budget {part!r} is not a whole number of tokens above zero.", mend=_USD_MEND)
    return int(amount)


def _positive_usd(part: str, match: re.Match[str]) -> Decimal:
    amount = Decimal(match["amount"].replace("_", ""))
    if amount <= 0:
        raise BadUsage(f"The budget {part!r} is not above zero.", mend=_USD_MEND)
    if amount != round(amount, 9):
        raise BadUsage(f"The budget {part!r} has more than nine decimals.", mend=_USD_MEND)
    return amount


def parse_despite(names: Sequence[str]) -> tuple[str, ...]:
    """Parse the reasons that are accepted beside the cost, each once."""
    known = [reason for reason in REASONS if reason != "cost"]
    for name in names:
        if name not in known:
            hint = "The cost is accepted by --yes. " if name == "cost" else ""
            raise BadUsage(
                f"--despite {name}: there is no such reason.", mend=f"{hint}Give one of {', '.join(known)}."
            )
    return tuple(dict.fromkeys(names))


def parse_wait(text: str | None, *, is_at_a_terminal: bool) -> float | None:
    """Seconds of `--wait`: `90s`, `15m`, `2h`. Without it: a quarter of an hour, or at a terminal as long as it takes."""
    if text is None:
        return None if is_at_a_terminal else WAIT_SECONDS_DEFAULT
    seconds = _seconds(text, "smh")
    if seconds is None:
        raise BadUsage(
            f"--wait {text}: that is no time.", mend="Write it as 90s, 15m or 2h; 0s does not wait."
        )
    return float(seconds)


def parse_duration(text: str | None) -> int | None:
    """`30m`, `12h`, `7d`, `4w` as seconds. Raises BadUsage."""
    if text is None:
        return None
    seconds = _seconds(text, "mhdw")
    if seconds is None:
        raise BadUsage(f"{text!r} is no duration.", mend="Write it as 30m, 12h, 7d or 4w.")
    return seconds


def _seconds(text: str, units: str) -> int | None:
    found = re.fullmatch(rf"(?P<number>[0-9]{{1,6}})(?P<unit>[{units}])", text.strip())
    return None if found is None else int(found["number"]) * _UNIT_SECONDS[found["unit"]]


def consent_above_usd(environment: Mapping[str, str]) -> Decimal:
    """The threshold above which a forecast is asked about."""
    text = environment.get("REMIT_CONSENT_ABOVE_USD")
    if text is None:
        return CONSENT_ABOVE_USD_DEFAULT
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise BadUsage(
            f"REMIT_CONSENT_ABOVE_USD is {text!r}, which is no amount of dollars.",
            mend="Set it to a number such as 1.00, or unset it.",
        )
    return amount


def needs_question(forecast: Mapping[str, object], budget: Mapping[str, object], above_usd: Decimal) -> bool:
    """Return whether the stakes ask for a yes: the forecast's high end, or the budget where that is lower.
    Without a forecast in dollars there is nothing to compare, so the answer is yes."""
    usd = forecast.get("usd")
    high = decimal_of(cast("Mapping[str, object]", usd).get("high") if isinstance(usd, Mapping) else None)
    if high is None:
        return True
    cap = decimal_of(budget.get("usd"))
    return (high if cap is None else min(high, cap)) > above_usd
