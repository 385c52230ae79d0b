"""The one place where model calls are made and paid: plan, hold, call, settle, and again if need be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, NamedTuple, cast

import anyio
import anyio.lowlevel
import msgspec
import structlog

from remit.clock import Clock
from remit.errors import HoldRefused, ModelCallFailed, RemitError
from remit.gateway.routing import Route, Router
from remit.ids import Ids
from remit.interfaces import CallRecorder, Prices
from remit.ledger.bounds import (
    PlannedCall,
    fits,
    input_tokens_bound,
    plan_call,
    require_price,
    with_slack,
)
from remit.ledger.prices import cost
from remit.values import (
    CallAttempt,
    CallEnded,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    Principal,
    Rate,
    Settle,
    Value,
)

log = structlog.get_logger(__name__)

PLANS_MAX = 3
"""How often a call is planned anew because another call of the stream took what was left in between."""


class RetrySettings(Value, frozen=True, kw_only=True):
    """When a failed call is made again. Every attempt has its own hold."""

    attempts_max: int = 6
    assumed_attempts_max: int = 2
    """Attempts whose cost is unknown are paid at their worst case, so fewer of them."""
    wait_seconds_max: float = 120.0
    """Of all the pauses together."""
    backoff_first_seconds: float = 1.0
    backoff_max_seconds: float = 30.0


class _Started(NamedTuple):
    """An attempt whose start is durable."""

    attempt: CallAttempt
    nano_usd_max: int | None


class Gateway:
    """Makes model calls for sessions, graders and guests."""

    def __init__(
        self,
        *,
        router: Router,
        prices: Prices,
        clock: Clock,
        ids: Ids,
        retries: RetrySettings,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self._router = router
        self._prices = prices
        self._clock = clock
        self._ids = ids
        self._retries = retries
        self._random_fraction = random_fraction

    async def call(
        self, principal: Principal, request: ModelRequest, recorder: CallRecorder
    ) -> ModelResponse:
        """Make the call, again as the retry settings say; `recorder` makes every attempt durable before it is made.

        Raises ModelUnavailable, Unpriced and HoldRefused (this attempt was not made), ModelCallFailed (the last
        attempt's), LeaseLost and StoreUnavailable (from the recorder; nothing more was done). When it is cancelled,
        the attempt under way is settled at its hold.
        """
        route = await self._router.resolve(request.model)
        rate = self._prices.rate(route.priced_as)
        waited_seconds = 0.0
        assumed = 0
        for number in range(1, self._retries.attempts_max + 1):
            started = await self._start(request, route, rate, recorder, number=number)
            outcome = await self._attempt(started, route, recorder)
            if isinstance(outcome, ModelResponse):
                await _finish(started, recorder, _succeeded(started, outcome, rate))
                return outcome
            assumed += outcome.billed != "no"
            pause = self._pause(outcome, number=number, waited_seconds=waited_seconds, assumed=assumed)
            log.info(
                "model_call_failed",
                workspace_id=principal.workspace_id,
                call_id=started.attempt.call_id,
                provider=route.provider_name,
                reason=outcome.reason,
                will_retry=pause is not None,
            )
            await _finish(started, recorder, _failed(started, outcome, will_retry=pause is not None))
            if pause is None:
                raise outcome
            await self._clock.sleep(pause)
            waited_seconds += pause
        raise AssertionError("the last attempt returns or raises")

    async def _start(
        self, request: ModelRequest, route: Route, rate: Rate | None, recorder: CallRecorder, *, number: int
    ) -> _Started:
        """Plan the call and make its start durable, with its holds; the provider has not been touched."""
        plans = 0
        while True:
            plans += 1
            call_id = self._ids.new("call")
            planned = await self._plan(request, route, rate, recorder, call_id=call_id)
            attempt = CallAttempt(
                call_id=call_id,
                number=number,
                request=planned.request,
                provider=route.provider_name,
                holds=planned.holds,
            )
            started = _Started(attempt, planned.nano_usd_max)
            try:
                cancellation = await _carry_through(recorder.started(attempt))
            except HoldRefused:
                # Another call of the stream took what was left: what remains may do for a smaller one.
                if plans == PLANS_MAX:
                    raise
                continue
            if cancellation is not None:
                never_made = _unbilled(started, reason="interrupted", message="cancelled before it was made")
                await _carry_through(recorder.finished(attempt, never_made))
                raise cancellation
            return started

    async def _plan(
        self, request: ModelRequest, route: Route, rate: Rate | None, recorder: CallRecorder, *, call_id: str
    ) -> PlannedCall:
        accounts = await recorder.accounts()
        require_price(route.priced_as, rate, accounts)
        input_tokens_max = input_tokens_bound(request)
        if not fits(request, rate, accounts, input_tokens_max=input_tokens_max):
            counted = await route.provider.count_tokens(_for_provider(request, route))
            if counted is not None:
                input_tokens_max = min(input_tokens_max, with_slack(counted))
        return plan_call(
            request,
            call_id=call_id,
            purpose=recorder.purpose,
            rate=rate,
            accounts=accounts,
            input_tokens_max=input_tokens_max,
        )

    async def _attempt(
        self, started: _Started, route: Route, recorder: CallRecorder
    ) -> ModelResponse | ModelCallFailed:
        """What the provider answered; anything else than an answer or a failure is settled here and raised."""
        try:
            return await _stream(started.attempt, route, recorder)
        except ModelCallFailed as failure:
            return failure
        except asyncio.CancelledError:
            # The request may have reached the provider: what it costs is not known.
            ended = _assumed(started, reason="interrupted", message="cut by an interrupt")
            try:
                await _carry_through(recorder.finished(started.attempt, ended))
            except RemitError:
                # Whoever owns the stream next finds the open hold and settles it the same way; we are to stop.
                log.warning("model_call_end_not_recorded", call_id=started.attempt.call_id, exc_info=True)
            raise
        except Exception:
            log.exception("model_driver_broke", call_id=started.attempt.call_id, provider=route.provider_name)
            ended = _assumed(started, reason="internal", message="the driver broke; see the server's log")
            await _carry_through(recorder.finished(started.attempt, ended))
            raise

    def _pause(
        self, failure: ModelCallFailed, *, number: int, waited_seconds: float, assumed: int
    ) -> float | None:
        """Seconds until the next attempt; None: there is none."""
        settings = self._retries
        if not failure.is_retryable or number >= settings.attempts_max:
            return None
        if assumed >= settings.assumed_attempts_max:
            return None
        backoff = min(settings.backoff_first_seconds * 2 ** (number - 1), settings.backoff_max_seconds)
        jittered = backoff * (0.5 + 0.5 * self._random_fraction())
        pause = max(jittered, failure.retry_after_seconds or 0.0)
        return pause if waited_seconds + pause <= settings.wait_seconds_max else None


# ------------------------------------------------------------------------------------------ one attempt


async def _stream(attempt: CallAttempt, route: Route, recorder: CallRecorder) -> ModelResponse:
    # Cast: the contract promises an iterator that can be closed, which is what aborts the call.
    answer = cast(
        "AsyncGenerator[ModelDelta | ModelResponse]",
        route.provider.stream(_for_provider(attempt.request, route)),
    )
    async with aclosing(answer):
        async for item in answer:
            if isinstance(item, ModelResponse):
                return item
            recorder.delta(attempt, item.text)
    raise ModelCallFailed(
        f"{route.provider_name} ended without an answer", reason="cut", billed="unknown", is_retryable=True
    )


def _for_provider(request: ModelRequest, route: Route) -> ModelRequest:
    return msgspec.structs.replace(request, model=route.provider_model)


async def _finish(started: _Started, recorder: CallRecorder, ended: CallEnded) -> None:
    cancellation = await _carry_through(recorder.finished(started.attempt, ended))
    if cancellation is not None:
        raise cancellation


async def _carry_through(append: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Wait for an append to the end although we may be cancelled meanwhile, and return the cancellation.

    Half an append cannot be told from none: a hold whose start we gave up on could stay open for ever.
    Raises what the append raises, unless we are cancelled too.
    """
    cancellation: asyncio.CancelledError | None = None
    task = asyncio.ensure_future(append)
    with anyio.CancelScope(shield=True):  # against scopes; the loop is against `Task.cancel`
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                cancellation = error
    try:
        await anyio.lowlevel.checkpoint_if_cancelled()
    except asyncio.CancelledError as error:
        cancellation = error
    failure = task.exception()
    if failure is not None:
        raise cancellation or failure
    return cancellation


# ------------------------------------------------------------------------------------------ how it ended


def _succeeded(started: _Started, response: ModelResponse, rate: Rate | None) -> CallEnded:
    attempt = started.attempt
    if not response.is_usage_known:
        return msgspec.structs.replace(_assumed(started, reason=None, message=None), response=response)
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


def _failed(started: _Started, failure: ModelCallFailed, *, will_retry: bool) -> CallEnded:
    end = _unbilled if failure.billed == "no" else _assumed
    ended = end(started, reason=failure.reason, message=failure.message)
    return msgspec.structs.replace(ended, will_retry=will_retry)


def _unbilled(started: _Started, *, reason: str | None, message: str | None) -> CallEnded:
    return CallEnded(
        response=None,
        error_reason=reason,
        error_message=message,
        settlements=tuple(
            Settle(hold_id=hold.hold_id, unit=hold.unit, amount=0) for hold in started.attempt.holds
        ),
        cost_nano_usd=None if started.nano_usd_max is None else 0,
    )


def _assumed(started: _Started, *, reason: str | None, message: str | None) -> CallEnded:
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
