"""How values of the wire are said on a page. Pure: JSON in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, cast

import msgspec

Json = Mapping[str, Any]  # Any: JSON of the wire

NANO = Decimal(10) ** 9
TEXT_SHOWN_MAX = 20_000
"""Characters of one text on a page; the API has all of it."""
TELLING_INPUTS = ("command", "file_path", "path", "pattern", "query", "url")
LINE_SHOWN_MAX = 160
STATUSES = {
    "awaiting_consent": "waiting for consent",
    "verifying_input": "verifying the input",
    "unsatisfied": "not satisfied",
    "budget_reached": "budget reached",
}


def as_object(value: object) -> Json:
    """A JSON object, or an empty one where there is none."""
    return cast("Json", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:  # Any: JSON of the wire
    """A JSON array, or an empty one where there is none."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def status_text(status: str) -> str:
    """A status in words."""
    return STATUSES.get(status, status.replace("_", " "))


def decimal_of(value: object) -> Decimal | None:
    """A number of the wire, which may be a string."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def usd(value: object) -> str:
    """Dollars at a readable precision: `$0`, `$0.0042`, `$1.50`."""
    amount = decimal_of(value)
    if amount is None:
        return "–"
    if amount == 0:
        return "$0"
    places = 2 if amount >= Decimal("0.1") else 4 if amount >= Decimal("0.0001") else 9
    return f"${amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP):f}"


def count(value: object) -> str:
    """A whole number with separators."""
    amount = decimal_of(value)
    return "–" if amount is None else f"{int(amount):,}"


def seconds(value: object) -> str:
    """A duration: `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`."""
    amount = decimal_of(value)
    if amount is None:
        return "–"
    whole = int(amount)
    if amount < 10:
        return f"{amount:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(value: object) -> str:
    """A time of the wire to the second: `2026-11-22 09:41:07Z`."""
    text = str(value or "")
    return f"{text[:10]} {text[11:19]}Z" if len(text) >= 19 else text


def one_line(text: str) -> str:
    """The first line that says something, cut to fit."""
    line = next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= LINE_SHOWN_MAX else line[: LINE_SHOWN_MAX - 1].rstrip() + "…"


def cut(text: str) -> str:
    """A long text's beginning and end."""
    if len(text) <= TEXT_SHOWN_MAX:
        return text
    half = TEXT_SHOWN_MAX // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters are left out here …\n{text[-half:]}"


def tool_input(value: object) -> str:
    """What tells most about a tool use, in one line."""
    fields = as_object(value)
    for name in TELLING_INPUTS:
        if isinstance(fields.get(name), str):
            return one_line(fields[name])
    return one_line(", ".join(f"{name}={value}" for name, value in fields.items()))


def pretty(value: object) -> str:
    """JSON as people read it; a lone text is itself."""
    texts = [*as_object(value).values()]
    if len(texts) == 1 and isinstance(texts[0], str):
        return texts[0]
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()


def content_text(content: object) -> str:
    """The text of content blocks; others by their name."""
    if isinstance(content, str):
        return content
    blocks = [as_object(block) for block in as_list(content)]
    return "\n".join(
        str(block.get("text", "")) if block.get("type") == "text" else f"[{block.get('type')}]"
        for block in blocks
    )


def verifier_text(verifier: object) -> str:
    """A verifier in one line."""
    fields = as_object(verifier)
    match fields.get("type"):
        case "command":
            return one_line(str(fields.get("command", "")))
        case "rubric":
            return f"rubric: {one_line(str(fields.get('rubric', '')))}"
        case None:
            return one_line(str(verifier))
        case other:
            return str(other)


def short_id(id: str) -> str:
    """An id, recognisable and short: prefix and end."""
    prefix, _, rest = id.partition("_")
    return f"{prefix}_…{rest[-6:]}" if len(rest) > 8 else id
