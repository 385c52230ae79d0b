"""Words for values of the wire, in a terminal or on a page. Pure: JSON in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, cast

import msgspec

from remit.clock import parse_rfc3339
from remit.hidden import printable as printable  # with the other ways to say a text
from remit.hidden import printable_name as printable_name

Json = Mapping[str, Any]  # Any: JSON of the wire

NANO = Decimal(10) ** 9
UNKNOWN = "–"
LINE_CELLS = 160
"""What is shown of a line that may be long."""
TEXT_SHOWN_MAX = 20_000
"""Characters of one text on a page; the API has all of it."""
RUBRIC_CELLS = 80
ENDED = frozenset({"satisfied", "unsatisfied", "budget_reached", "stopped"})
"""What a remit's status is when nothing more can come."""
_STATUSES = {
    "awaiting_consent": "waiting for consent",
    "verifying_input": "running the verifiers on the input",
    "unsatisfied": "not satisfied",
}
_TELLING_INPUTS = ("command", "file_path", "path", "pattern", "query", "url")


# -------------------------------------------------------------------------------------------------- JSON


def as_object(value: object) -> Json:
    """A JSON object, or an empty one where there is none."""
    return cast("Json", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:  # Any: JSON of the wire
    """A JSON array, or an empty one where there is none."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def decimal_of(value: object) -> Decimal | None:
    """A number, which the wire may write as a string."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def decimal_is_positive(value: object) -> bool:
    """Return whether a value is an amount above zero."""
    amount = decimal_of(value)
    return amount is not None and amount > 0


# ------------------------------------------------------------------------------------- money and numbers


def usd(value: object) -> str:
    """Dollars at a readable precision: `$0`, `$0.0042`, `$1.50`."""
    amount = decimal_of(value)
    if amount is None:
        return UNKNOWN
    if amount == 0:
        return "$0"
    places = 2 if amount >= Decimal("0.1") else 4 if amount >= Decimal("0.0001") else 9
    return f"${amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP):f}"


def exact_usd(value: object) -> str:
    """Dollars to the last nano-dollar, without trailing zeros."""
    amount = decimal_of(value)
    if amount is None:
        return UNKNOWN
    whole, _, fraction = f"{amount:.9f}".partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def nano_usd(value: object) -> str:
    """Nano-dollars as exact dollars."""
    amount = decimal_of(value)
    return UNKNOWN if amount is None else exact_usd(amount / NANO)


def count(value: object) -> str:
    """A whole number with separators."""
    amount = decimal_of(value)
    return UNKNOWN if amount is None else f"{int(amount):,}"


def counted(number: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def tokens(value: object) -> str:
    """`50,000 tokens`."""
    return f"{count(value)} tokens"


def money(budget: Json) -> str:
    """A budget or a spending: `$2.00`, `50,000 tokens`, or both."""
    parts: list[str] = []
    if budget.get("usd") is not None:
        parts.append(usd(budget["usd"]))
    if budget.get("tokens") is not None:
        parts.append(tokens(budget["tokens"]))
    return " and ".join(parts) or "nothing"


# -------------------------------------------------------------------------------------------------- time


def seconds(value: object) -> str:
    """A duration: `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`."""
    amount = decimal_of(value)
    if amount is None:
        return UNKNOWN
    if amount < 10:
        return f"{amount:.1f} s"
    whole = int(amount)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clock_seconds(value: float) -> str:
    """A running time: `0:42`, `1:02:03`."""
    whole = max(0, int(value))
    minutes = f"{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return (f"{whole // 3600}:" if whole >= 3600 else "") + f"{minutes}:{whole % 60:02}"


def duration_between(start: object, end: object) -> float | None:
    """Seconds between two times of the wire."""
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    return max(0.0, (parse_rfc3339(end) - parse_rfc3339(start)) / 1_000_000)


def moment(value: object) -> str:
    """A time of the wire to the second: `2026-11-22 09:41:07Z`."""
    text = str(value or "")
    return f"{text[:10]} {text[11:19]}Z" if len(text) >= 19 else text


# ------------------------------------------------------------------------------------------------- texts


def one_line(text: str) -> str:
    """The first line that says something."""
    return next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")


def short(text: str, cells: int = LINE_CELLS) -> str:
    """Text cut to a width, with an ellipsis."""
    return text if len(text) <= cells else text[: max(0, cells - 1)].rstrip() + "…"


def headline(text: str) -> str:
    """The first line that says something, cut where it is long."""
    return short(one_line(text))


def cut(text: str) -> str:
    """A long text's beginning and end."""
    if len(text) <= TEXT_SHOWN_MAX:
        return text
    half = TEXT_SHOWN_MAX // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters are left out here …\n{text[-half:]}"


def listed(names: Sequence[str], most: int, number: int | None = None) -> str:
    """The first so many of them, and how many more there are (of `number`, where some are not here)."""
    more = (len(names) if number is None else number) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def short_stream(stream_id: str) -> str:
    """A stream's id, recognisable and short: prefix and end."""
    prefix, _, rest = stream_id.partition("_")
    return f"{prefix}_…{rest[-6:]}" if len(rest) > 8 else stream_id


# ----------------------------------------------------------------------------------------- things by name


def status_text(status: str) -> str:
    """A status in words."""
    return _STATUSES.get(status, status.replace("_", " "))


def verifier_text(verifier: object) -> str:
    """A verifier in one line; what is text already stays as it is."""
    fields = as_object(verifier)
    match fields.get("type"):
        case "command":
            return one_line(str(fields.get("command", "")))
        case "rubric":
            return f"rubric: {short(one_line(str(fields.get('rubric', ''))), RUBRIC_CELLS)}"
        case "custom":
            return str(fields.get("name", ""))
        case None:
            return str(verifier)
        case other:
            return str(other)


def tool_input(input: object) -> str:
    """Describe a tool use in one line, by the field that tells most."""
    fields = as_object(input)
    for name in _TELLING_INPUTS:
        if isinstance(fields.get(name), str):
            return one_line(fields[name])
    return one_line(", ".join(f"{name}={value}" for name, value in fields.items()))


def packages_text(packages: object) -> str:
    """Packages of an environment by who installs them, in one line."""
    return "; ".join(
        f"{source} {', '.join(map(str, as_list(names)))}"
        for source, names in as_object(packages).items()
        if names
    )


def credentials_text(uses: object) -> str:
    """Name the credentials that requests carried, with hosts and counts."""
    shown = (
        f"{use.get('credential')} at {use.get('host')} ({use.get('requests')})"
        for use in map(as_object, as_list(uses))
    )
    return ", ".join(shown)


def memory_not_kept_text(event: Json) -> str:
    """Name the files of a memory store's folder that cannot be kept as memories, and why."""
    mount_path = str(event.get("mount_path"))
    files = [as_object(one) for one in as_list(event.get("files"))]
    shown = [
        f"{mount_path}{one.get('path')} ({one.get('why')}"
        + (f"; the agent's text is at {one['kept_at']})" if one.get("kept_at") else ")")
        for one in files
    ]
    more = event.get("more")
    return ", ".join([*shown, f"and {more} more"] if more else shown)


def message_text(content: object) -> str:
    """The text of content blocks; others by their type."""
    if isinstance(content, str):
        return content
    return "\n".join(
        str(block.get("text", "")) if block.get("type") == "text" else f"[{block.get('type')}]"
        for block in map(as_object, as_list(content))
    )


def pretty(value: object) -> str:
    """JSON as people read it; a lone text is itself."""
    texts = [*as_object(value).values()]
    if len(texts) == 1 and isinstance(texts[0], str):
        return texts[0]
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()
