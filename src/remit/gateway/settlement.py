"""Outcomes of attempts at model calls: what is settled, and what the log says of it. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from remit.errors import ModelCallFailed
from remit.ledger.bounds import worst_case
from remit.ledger.prices import cost
from remit.values import CallAttempt, CallEnded, CallProgress, ModelResponse, Rate, Settle, Usage


class Started(NamedTuple):
    """An attempt whose start is durable."""

    attempt: CallAttempt
    nano_usd_max: int | None
    rate: Rate | None
    input_tokens_max: int


UNSEEN_TOKENS_MAX = 256
"""What a provider may have made that had not come when the answer was cut: a second's or two's worth."""


USAGE_BELIEVED_MAX = 1_000_000_000
"""Tokens of one kind in one call. The ledger counts nano-dollars in 64 bits."""


def believed(response: ModelResponse) -> ModelResponse:
    """A report that cannot be right is no report: it must neither pay back nor stop the turn, nor count for more than the
    ledger can, nor for nothing. Every request has words that were read, and what was said was written."""
    usage = response.usage
    is_in_range = all(0 <= count <= USAGE_BELIEVED_MAX for count in msgspec.structs.astuple(usage))
    is_read = usage.total_tokens > usage.output_tokens
    is_written = usage.output_tokens > 0 or not response.content
    if is_in_range and is_read and is_written:
        return response
    return msgspec.structs.replace(response, usage=Usage(), is_usage_known=False)


def succeeded(started: Started, response: ModelResponse, rate: Rate | None) -> CallEnded:
    """Return the end of an answered call: the real cost, or the hold where no usage was reported."""
    attempt = started.attempt
    if not response.is_usage_known:
        return msgspec.structs.replace(assumed(started, reason=None, message=None), response=response)
    real_cost = None if rate is None else cost(rate, response.usage)
    settlements = tuple(
        Settle(
            hold_id=hold.hold_id,
            unit=hold.unit,
            # A dollar hold exists only where there is a rate.
            amount=response.usage.total_tokens if hold.unit == "tokens" else real_cost or 0,
        )
        for hold in attempt.holds
    )
    return CallEnded(
        response=response,
        settlements=settlements,
        usage=response.usage,
        cost_nano_usd=real_cost,
        is_overrun=any(
            settled.amount > hold.amount for settled, hold in zip(settlements, attempt.holds, strict=True)
        ),
    )


def failed(
    started: Started, failure: ModelCallFailed, progress: CallProgress, *, pause_seconds: float | None
) -> CallEnded:
    """Return the end of a failed call: settled at nothing where the provider did no work, else at a bound of
    what it did. It is made again after the pause; None: it is not."""
    if failure.billed == "no":
        ended = unbilled(started, reason=failure.reason, message=failure.message)
    else:
        is_cut = failure.reason == "cut"
        output_tokens_max = 0 if failure.billed == "input" else output_bound(progress) if is_cut else None
        ended = assumed(
            started,
            reason=failure.reason,
            message=failure.message,
            output_tokens_max=output_tokens_max,
            provider_request_id=progress.request_id,
        )
    return msgspec.structs.replace(
        ended, will_retry=pause_seconds is not None, pause_seconds=pause_seconds or 0.0
    )


def unbilled(started: Started, *, reason: str | None, message: str | None) -> CallEnded:
    """Return the end of an attempt for which the provider did no work."""
    return CallEnded(
        response=None,
        error_reason=reason,
        error_message=message,
        settlements=tuple(
            Settle(hold_id=hold.hold_id, unit=hold.unit, amount=0) for hold in started.attempt.holds
        ),
        cost_nano_usd=None if started.nano_usd_max is None else 0,
    )


def interrupted(started: Started, progress: CallProgress) -> CallEnded:
    """Return the end of an attempt that somebody cut while it was under way."""
    reason, message = "interrupted", "cut by an interrupt"
    if progress.reach == "unsent":
        return unbilled(started, reason=reason, message=message)
    return assumed(
        started,
        reason=reason,
        message=message,
        output_tokens_max=output_bound(progress),
        provider_request_id=progress.request_id,
    )


def output_bound(progress: CallProgress) -> int | None:
    """Return how many output tokens a call that was cut can have made; None where nobody knows."""
    if not progress.streams_all:
        return None
    if progress.reach == "sent":
        return UNSEEN_TOKENS_MAX
    if progress.reach == "answered" and progress.is_streamed:
        written_tokens_max = progress.written_tokens_max
        return None if written_tokens_max is None else written_tokens_max + UNSEEN_TOKENS_MAX
    return None


def assumed(
    started: Started,
    *,
    reason: str | None,
    message: str | None,
    output_tokens_max: int | None = None,
    provider_request_id: str | None = None,
) -> CallEnded:
    """The true cost is unknown: it is taken to be the worst case, with so many output tokens where that is certain."""
    bound: dict[str, int | None] = {}
    if output_tokens_max is not None:
        worst = worst_case(
            started.attempt.request,
            started.rate,
            input_tokens_max=started.input_tokens_max,
            max_tokens=output_tokens_max,
        )
        bound = {"tokens": worst.tokens, "nano_usd": worst.nano_usd}
    amounts = {
        hold.unit: min(hold.amount, found) if (found := bound.get(hold.unit)) is not None else hold.amount
        for hold in started.attempt.holds
    }
    cost_max, nano_usd = started.nano_usd_max, bound.get("nano_usd")
    return CallEnded(
        provider_request_id=provider_request_id,
        response=None,
        error_reason=reason,
        error_message=message,
        settlements=tuple(
            Settle(hold_id=hold.hold_id, unit=hold.unit, amount=amounts[hold.unit], is_assumed=True)
            for hold in started.attempt.holds
        ),
        cost_nano_usd=cost_max if nano_usd is None or cost_max is None else min(cost_max, nano_usd),
        is_assumed=True,
    )
