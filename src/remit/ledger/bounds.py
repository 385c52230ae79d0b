"""The worst case of a model call, and whether the accounts can bear it. Pure.

A token is at least one byte of what is sent, so the UTF-8 byte count bounds the input; what is not text (images,
documents, what a provider adds around tools and messages) has a stated allowance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from remit.errors import HoldRefused
from remit.ledger.accounts import describe_amount
from remit.ledger.caps import is_cap, of_what
from remit.ledger.prices import unpriced
from remit.values import (
    Account,
    Hold,
    JsonValue,
    ModelRequest,
    Purpose,
    Rate,
    RateTier,
    Value,
)

# Allowances in tokens, on top of the bytes.
REQUEST_TOKENS = 64
MESSAGE_TOKENS = 16
TOOL_TOKENS = 64
TOOL_PROMPT_TOKENS = 1_024
"""What a provider adds to the system prompt as soon as there is a tool (Anthropic: 264 to 804)."""
IMAGE_TOKENS = 50_000
"""The dearest image of a listed model (gpt-4o-mini, high detail: 48,169)."""
DOCUMENT_TOKENS = 1_000_000
"""A PDF is compressed, so nothing but the model's context bounds it."""

BYTES_USUAL = 4
"""Of a token, in the prompts of agents."""
IMAGE_TOKENS_USUAL = 1_600

COUNT_SLACK_RATIO = 0.02
COUNT_SLACK_TOKENS = 64
"""A provider's `count_tokens` is its own estimate; it is trusted up to this."""

TYPED_TOOL_TOKENS = 2_048
"""The prompt of a tool that the provider itself defines (`bash_20250124`, a text editor, a computer)."""

MAX_TOKENS_MIN = 256
"""A call that may answer with less than this is useless: it is not made. A request that asks for less is left alone."""


class PlannedCall(Value, frozen=True, kw_only=True):
    """A call that fits: the request as it will be made, and what to set aside for it."""

    request: ModelRequest
    holds: tuple[Hold, ...]
    input_tokens_max: int
    nano_usd_max: int | None
    """None: the model has no price."""


class WorstCase(NamedTuple):
    """The most a call may cost, by unit."""

    tokens: int
    nano_usd: int | None
    """None: the model has no price."""


def input_tokens_bound(request: ModelRequest) -> int:
    """Return a bound above which no provider can count input tokens."""
    encoded = request.content_json
    images, documents, media_bytes = _media(request)
    return (
        len(encoded)
        - media_bytes
        + REQUEST_TOKENS
        + MESSAGE_TOKENS * len(request.messages)
        + (TOOL_PROMPT_TOKENS if request.tools else 0)
        + sum(TOOL_TOKENS if "input_schema" in tool else TYPED_TOOL_TOKENS for tool in request.tools)
        + IMAGE_TOKENS * images
        + DOCUMENT_TOKENS * documents
    )


def input_tokens_usual(request: ModelRequest) -> int | None:
    """About what a provider will count, for what is no question of money; None where nobody can say (a document)."""
    encoded = request.content_json
    images, documents, media_bytes = _media(request)
    return None if documents else (len(encoded) - media_bytes) // BYTES_USUAL + IMAGE_TOKENS_USUAL * images


def with_slack(counted_tokens: int) -> int:
    """A bound from a provider's own count."""
    return counted_tokens + COUNT_SLACK_TOKENS + int(counted_tokens * COUNT_SLACK_RATIO)


def worst_case(
    request: ModelRequest, rate: Rate | None, *, input_tokens_max: int, max_tokens: int
) -> WorstCase:
    """The most this call can come to, with so many output tokens."""
    tokens = input_tokens_max + max_tokens
    if rate is None:
        return WorstCase(tokens=tokens, nano_usd=None)
    input_rate, output_rate = dearest_rates(rate, request, input_tokens_max=input_tokens_max)
    return WorstCase(tokens=tokens, nano_usd=input_tokens_max * input_rate + max_tokens * output_rate)


def dearest_rates(rate: Rate, request: ModelRequest, *, input_tokens_max: int) -> tuple[int, int]:
    """Nano-dollars per input and output token, at the dearest of the rates that this request can meet: every tier it
    may reach, cache writes included (of an hour only if the request asks for an hour)."""
    reachable: list[Rate | RateTier] = [rate]
    reachable += [tier for tier in rate.tiers if input_tokens_max > tier.above_input_tokens]
    asks_for_hour = request.mentions(b'"1h"')
    input_rate = max(
        max(each.input, each.cache_read, each.cache_write_5m, each.cache_write_1h if asks_for_hour else 0)
        for each in reachable
    )
    return input_rate, max(each.output for each in reachable)


def fits(
    request: ModelRequest, rate: Rate | None, accounts: Sequence[Account], *, input_tokens_max: int
) -> bool:
    """Return whether the whole call, with all the output it asks for, fits every account."""
    return (
        _affordable_max_tokens(request, rate, accounts, input_tokens_max=input_tokens_max)
        == request.max_tokens
    )


def plan_call(
    request: ModelRequest,
    *,
    call_id: str,
    purpose: Purpose,
    rate: Rate | None,
    accounts: Sequence[Account],
    input_tokens_max: int,
) -> PlannedCall:
    """The call as it fits the accounts, made smaller where it must be. Raises HoldRefused when that would be useless,
    Unpriced when a dollar cap meets a model without a price."""
    require_price(request.model, rate, accounts)
    max_tokens = _affordable_max_tokens(request, rate, accounts, input_tokens_max=input_tokens_max)
    stopped = next((account for account in accounts if account.is_stopped), None)
    if stopped is not None or max_tokens < min(request.max_tokens, MAX_TOKENS_MIN):
        raise _refusal(request, rate, accounts, input_tokens_max=input_tokens_max)
    worst = worst_case(request, rate, input_tokens_max=input_tokens_max, max_tokens=max_tokens)
    return PlannedCall(
        request=(request if max_tokens == request.max_tokens else request.limited_to(max_tokens)),
        holds=_holds(worst, accounts, call_id=call_id, purpose=purpose),
        input_tokens_max=input_tokens_max,
        nano_usd_max=worst.nano_usd,
    )


def require_price(model: str, rate: Rate | None, accounts: Sequence[Account]) -> None:
    """Raises Unpriced when a dollar cap meets a model without a price."""
    if rate is None and any(account.unit == "nano_usd" and account.cap is not None for account in accounts):
        raise unpriced(model)


def _affordable_max_tokens(
    request: ModelRequest, rate: Rate | None, accounts: Sequence[Account], *, input_tokens_max: int
) -> int:
    """How many output tokens every account can bear, at most those asked for; negative if not even the input fits."""
    affordable = request.max_tokens
    for account in accounts:
        remaining = account.remaining
        if remaining is None:
            continue
        if account.unit == "tokens":
            affordable = min(affordable, remaining - input_tokens_max)
            continue
        if rate is None:
            return -1
        input_rate, output_rate = dearest_rates(rate, request, input_tokens_max=input_tokens_max)
        left = remaining - input_tokens_max * input_rate
        if left < 0:
            return -1
        if output_rate > 0:
            affordable = min(affordable, left // output_rate)
    return affordable


def _holds(
    worst: WorstCase, accounts: Sequence[Account], *, call_id: str, purpose: Purpose
) -> tuple[Hold, ...]:
    """One hold per account of this purpose (those of caps bind, and are held on by whoever keeps them); an uncapped dollar
    account has nothing to book for a model without a price."""
    holds: list[Hold] = []
    for account in accounts:
        if account.purpose != purpose:
            continue
        amount = worst.tokens if account.unit == "tokens" else worst.nano_usd
        if amount is not None:
            holds.append(Hold(hold_id=call_id, unit=account.unit, purpose=purpose, amount=amount))
    return tuple(holds)


def _refusal(
    request: ModelRequest, rate: Rate | None, accounts: Sequence[Account], *, input_tokens_max: int
) -> HoldRefused:
    smallest = min(request.max_tokens, MAX_TOKENS_MIN)
    worst = worst_case(request, rate, input_tokens_max=input_tokens_max, max_tokens=smallest)
    reasons: list[str] = []
    details: dict[str, object] = {"input_tokens_max": input_tokens_max, "max_tokens": smallest}
    for account in accounts:
        needed = worst.tokens if account.unit == "tokens" else worst.nano_usd
        details[f"{account.unit}_needed"] = needed
        details[f"{account.unit}_remaining"] = account.remaining
        if account.is_stopped:
            reasons.append(
                f"the {account.purpose} account of {account.stream_id!r} is stopped after an overrun"
            )
        elif account.remaining is not None and needed is not None and needed > account.remaining:
            reasons.append(
                f"its worst case is {describe_amount(needed, account.unit)} and "
                f"{describe_amount(account.remaining, account.unit)} remain{of_what(account.purpose)}"
            )
    is_capped = any(is_cap(account.purpose) and account.remaining is not None for account in accounts)
    what = "budget, or the cap (`remit caps`)," if is_capped else "budget"
    return HoldRefused(
        f"the call to {request.model!r} was not made: {'; '.join(reasons)} "
        f"(at most {input_tokens_max} input and {smallest} output tokens). Raise the {what} to go on.",
        details=details,
    )


class _Media(NamedTuple):
    images: int
    documents: int
    encoded_bytes: int
    """Base64 data that the allowances stand for."""


def _media(request: ModelRequest) -> _Media:
    """Images and documents of the messages and of their tool results, and nowhere else: what merely looks like one
    inside a tool's input is text to the provider."""
    images = documents = encoded_bytes = 0
    # Walking a long conversation costs more than looking into what is encoded, and most have neither.
    if not request.mentions(b'"image"') and not request.mentions(b'"document"'):
        return _Media(0, 0, 0)
    pending: list[JsonValue] = [message.get("content") for message in request.messages]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        if not isinstance(item, dict):
            continue
        source = item.get("source")
        if item.get("type") == "tool_result":
            pending.append(item.get("content"))
        elif item.get("type") in ("image", "document") and isinstance(source, dict):
            if source.get("type") in ("text", "content"):
                continue
            images += item["type"] == "image"
            documents += item["type"] == "document"
            data = source.get("data")
            encoded_bytes += len(data) if isinstance(data, str) and data.isascii() else 0
    return _Media(images, documents, encoded_bytes)
