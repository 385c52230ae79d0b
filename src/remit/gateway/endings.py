"""How an attempt at a model call ends: what is settled, and what the log says of it. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from remit.errors import ModelCallFailed
from remit.ledger.prices import cost
from remit.values import CallAttempt, CallEnded, ModelResponse, Rate, Settle, Usage


class Started(NamedTuple):
    """An attempt whose start is durable."""

    attempt: CallAttempt
    nano_usd_max: int | None


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
    """It was answered: the real cost, or the hold where no usage was reported."""
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


def failed(started: Started, failure: ModelCallFailed, *, pause_seconds: float | None) -> CallEnded:
    """It failed: nothing where the provider did no work, the hold where nobody knows. It is made again after
    the pause; None: it is not."""
    end = unbilled if failure.billed == "no" else assumed
    ended = end(started, reason=failure.reason, message=failure.message)
    return msgspec.structs.replace(
        ended, will_retry=pause_seconds is not None, pause_seconds=pause_seconds or 0.0
    )


def unbilled(started: Started, *, reason: str | None, message: str | None) -> CallEnded:
    """The provider did no work."""
    return CallEnded(
        response=None,
        error_reason=reason,
        error_message=message,
        settlements=tuple(
            Settle(hold_id=hold.hold_id, unit=hold.unit, amount=0) for hold in started.attempt.holds
        ),
        cost_nano_usd=None if started.nano_usd_max is None else 0,
    )


def assumed(started: Started, *, reason: str | None, message: str | None) -> CallEnded:
    """The true cost is unknown: it is taken to be the worst case, and never released."""
    return CallEnded(
        response=None,
        error_reason=reason,
        error_message=message,
        settlements=tuple(
            Settle(hold_id=hold.hold_id, unit=hold.unit, amount=hold.amount, is_assumed=True)
            for hold in started.attempt.holds
        ),
        cost_nano_usd=started.nano_usd_max,
        is_assumed=True,
    )
