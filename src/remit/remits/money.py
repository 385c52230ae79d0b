"""Dollars as decimal strings and as integer nano-dollars: exact both ways."""

from __future__ import annotations

import re

NANO = 1_000_000_000
_USD = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?")


def parse_usd(text: str) -> int | None:
    """Nano-dollars of `"2.00"`; None when it is not a decimal with at most nine places."""
    match = _USD.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) * NANO + int((match[2] or "").ljust(9, "0"))


def format_usd(nano_usd: int) -> str:
    """`"0.013"` of 13,000,000: no trailing zeros, at least one digit."""
    whole, rest = divmod(nano_usd, NANO)
    fraction = f"{rest:09d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)
