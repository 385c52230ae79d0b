"""A provider's own books, as it exports them: what each request cost, or what each model used in a span of time. Pure.

Read are OpenRouter's activity export (CSV, or its rows as JSONL), and the usage reports of Anthropic's and OpenAI's
admin APIs (`/v1/organizations/usage_report/messages` by model, `/v1/organization/usage/completions` by model), a page or
JSONL of pages. Rows of any provider that have `request_id`, `cost_usd` or token counts are read too. Reports of costs
name no call and no model, so they are refused by name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import cast

import msgspec

from remit.errors import InvalidRequest
from remit.ledger.accounts import NANO_USD_PER_USD
from remit.values import JsonObject, JsonValue, Usage, Value

ROWS_MAX = 200_000
TOKENS_MAX = 10**15
_TIME_US_MAX = 253_402_300_799_000_000
"""The end of the year 9999."""
_IDS = ("request_id", "generation_id", "id")
_COSTS = ("cost_total", "cost_usd", "total_cost", "usage")


class Charged(Value, frozen=True, kw_only=True):
    """The provider's charge for one request."""

    request_id: str
    nano_usd: int | None
    tokens: int | None


class UsedInSpan(Value, frozen=True, kw_only=True):
    """The use of one model from `start_us` until before `end_us`, over all requests."""

    model: str
    start_us: int
    end_us: int
    usage: Usage


Entry = Charged | UsedInSpan


def read_export(text: str) -> list[Entry]:
    """The entries of an export. Raises InvalidRequest that names the line and what is read."""
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise InvalidRequest("`content`: is empty; export the provider's usage and give that file.")
    rows = _json_rows(text) if text[0] in "{[" else _csv_rows(text)
    entries: list[Entry] = []
    seen: set[bytes] = set()
    for number, row in rows:
        entries += _entries(row, number, seen)
        if len(entries) > ROWS_MAX:
            raise InvalidRequest(f"`content`: has more than {ROWS_MAX:,} rows; export a shorter time.")
    return entries


def _csv_rows(text: str) -> Iterator[tuple[int, JsonObject]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        if not set(_IDS) & set(reader.fieldnames or ()):
            raise InvalidRequest(
                f"`content`: its first line names no column of requests' ids; {_WHAT_IS_READ}"
            )
        for row in reader:
            if None in row:
                raise InvalidRequest(
                    f"`content`: line {reader.line_num} has more fields than the first line names; quote what holds commas."
                )
            yield (
                reader.line_num,
                {name: value for name, value in row.items() if isinstance(name, str) and value},
            )
    except csv.Error as error:
        raise InvalidRequest(f"`content`: line {reader.line_num} is no CSV: {error}.") from error


def _json_rows(text: str) -> Iterator[tuple[int, JsonObject]]:
    try:
        yield from _objects(1, msgspec.json.decode(text))
        return
    except (msgspec.DecodeError, RecursionError):
        pass  # several documents, one a line
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield from _objects(number, msgspec.json.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                raise InvalidRequest(f"`content`: line {number} is no JSON: {error}.") from error


def _objects(number: int, value: JsonValue) -> Iterator[tuple[int, JsonObject]]:
    """The rows of a page, a list or one row."""
    if isinstance(value, dict) and isinstance(value.get("data"), list | dict):
        value = value["data"]
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            raise InvalidRequest(f"`content`: line {number} is no object; {_WHAT_IS_READ}")
        yield number, item


def _entries(row: JsonObject, number: int, seen: set[bytes]) -> Iterator[Entry]:
    """`seen`: spans that were read; pages overlap."""
    if isinstance(results := row.get("results"), list):
        start, end = row.get("starting_at", row.get("start_time")), row.get("ending_at", row.get("end_time"))
        for result in results:
            if not isinstance(result, dict):
                raise InvalidRequest(f"`content`: line {number} has {result!r} in `results`; {_WHAT_IS_READ}")
            key = msgspec.json.encode([start, end, result])
            if key not in seen:
                seen.add(key)
                yield _used(result, number, start, end)
        return
    request_id = next((row[name] for name in _IDS if isinstance(row.get(name), str) and row[name]), None)
    if request_id is None:
        raise InvalidRequest(
            f"`content`: line {number} has neither a request's id nor `results`; {_WHAT_IS_READ}"
        )
    cost = next((row[name] for name in _COSTS if row.get(name) is not None), None)
    counts = (
        _count(row, number, "tokens_prompt", "prompt_tokens", "input_tokens"),
        _count(row, number, "tokens_completion", "completion_tokens", "output_tokens"),
    )
    tokens = None if counts == (None, None) else (counts[0] or 0) + (counts[1] or 0)
    nano_usd = None if cost is None else _nano_usd(cost, number)
    if nano_usd is None and tokens is None:
        raise InvalidRequest(f"`content`: line {number} has no cost and no tokens; {_WHAT_IS_READ}")
    yield Charged(request_id=str(request_id), nano_usd=nano_usd, tokens=tokens)


def _used(result: JsonObject, number: int, start: JsonValue, end: JsonValue) -> UsedInSpan:
    if "amount" in result:
        raise InvalidRequest(
            f"`content`: line {number} is a report of costs, which names no call and no model's tokens; export the report "
            "of usage, grouped by model."
        )
    model = result.get("model")
    if not isinstance(model, str):
        raise InvalidRequest(f"`content`: line {number} does not say the model; export it grouped by model.")
    if "uncached_input_tokens" in result:  # Anthropic
        by_time = result.get("cache_creation") or {}
        if not isinstance(by_time, dict):
            raise InvalidRequest(
                f"`content`: line {number}: `cache_creation` is {by_time!r}, which is no object."
            )
        usage = Usage(
            input_tokens=_count(result, number, "uncached_input_tokens") or 0,
            output_tokens=_count(result, number, "output_tokens") or 0,
            cache_read_input_tokens=_count(result, number, "cache_read_input_tokens") or 0,
            cache_creation_5m_input_tokens=_count(by_time, number, "ephemeral_5m_input_tokens") or 0,
            cache_creation_1h_input_tokens=_count(by_time, number, "ephemeral_1h_input_tokens") or 0,
        )
    else:  # OpenAI: cached tokens are part of the input
        cached = _count(result, number, "input_cached_tokens") or 0
        read = _count(result, number, "input_tokens") or 0
        if cached > read:
            raise InvalidRequest(
                f"`content`: line {number}: `input_cached_tokens` is more than `input_tokens`, of which it is a part."
            )
        usage = Usage(
            input_tokens=read - cached,
            output_tokens=_count(result, number, "output_tokens") or 0,
            cache_read_input_tokens=cached,
        )
    start_us, end_us = _time_us(start, number), _time_us(end, number)
    if start_us >= end_us:
        raise InvalidRequest(f"`content`: line {number}: {end!r} is no time after {start!r}.")
    return UsedInSpan(model=model, start_us=start_us, end_us=end_us, usage=usage)


def _count(row: Mapping[str, JsonValue], number: int, *names: str) -> int | None:
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        try:
            count = Decimal(str(value))
        except InvalidOperation:
            count = Decimal(-1)
        # Compared first: `1e999999999` is a number that nobody can write out.
        is_count = count.is_finite() and 0 <= count <= TOKENS_MAX and count == count.to_integral_value()
        if not is_count or isinstance(value, bool):
            raise InvalidRequest(f"`content`: line {number}: `{name}` is {value!r}, which is no count.")
        return int(count)
    return None


def _nano_usd(value: JsonValue, number: int) -> int:
    try:
        amount = Decimal(str(value).removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0 or amount > 10**9 or isinstance(value, bool):
        raise InvalidRequest(f"`content`: line {number}: the cost {value!r} is no amount of dollars.")
    return int((amount * NANO_USD_PER_USD).to_integral_value(ROUND_CEILING))


def _time_us(value: JsonValue, number: int) -> int:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            at_us = int(value * 1_000_000)
            if not 0 <= at_us <= _TIME_US_MAX:
                raise ValueError
            return at_us
        at = datetime.fromisoformat(cast("str", value).replace("Z", "+00:00"))
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, AttributeError, OverflowError) as error:
        raise InvalidRequest(f"`content`: line {number}: {value!r} is no time.") from error


_WHAT_IS_READ = (
    "read are OpenRouter's activity export, Anthropic's and OpenAI's usage reports by model, and rows with `request_id` and "
    "`cost_usd` or token counts."
)
