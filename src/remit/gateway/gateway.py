"""The one place where model calls are made and paid: plan, hold, call, settle, and again or elsewhere if need be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple, cast

import msgspec
import structlog

from remit.clock import Clock
from remit.errors import HoldRefused, InvalidRequest, ModelCallFailed, RemitError, Unpriced
from remit.gateway.caps import Caps
from remit.gateway.limiter import Limiter, LimiterSettings
from remit.gateway.model_limits import ModelLimits
from remit.gateway.model_settings import ModelSettings
from remit.gateway.retry_plan import RetryPlan, RetrySettings
from remit.gateway.routing import ModelRoute, ModelRouter, RoutePlan, Trimmed, trim
from remit.gateway.settlement import Started, assumed, believed, failed, interrupted, succeeded, unbilled
from remit.ids import Ids
from remit.interfaces import CallRecorder, Prices, StreamsAll
from remit.ledger.bounds import (
    PlannedCall,
    fits,
    input_tokens_bound,
    plan_call,
    require_price,
    with_slack,
)
from remit.shielded import run_shielded
from remit.values import (
    CALL_PROGRESS,
    CallAttempt,
    CallEnded,
    CallProgress,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    Principal,
    Rate,
)

log = structlog.get_logger(__name__)

PLANS_MAX = 3
"""How often a call is planned anew because another call of the stream took what was left in between."""
WAIT_TOLD_SECONDS = 1.0
"""Whoever waits for its turn for so long says so in its log."""

Observe = Callable[[CallRecorder], CallRecorder]
"""Stands around the recorder of every call, for telemetry."""

OnDelta = Callable[[CallAttempt, ModelDelta], Awaitable[None]]


class _Asked(NamedTuple):
    """A call as it was asked for."""

    principal: Principal
    request: ModelRequest
    recorder: CallRecorder
    plan: RoutePlan
    on_delta: OnDelta | None


class _Outcome(NamedTuple):
    """What became of an attempt, and whether anybody saw a part of its answer."""

    result: ModelResponse | ModelCallFailed
    has_begun: bool
    progress: CallProgress


class _Tried(NamedTuple):
    started: Started
    outcome: _Outcome


class Gateway:
    """Makes model calls for sessions, graders and guests."""

    def __init__(
        self,
        *,
        router: ModelRouter,
        prices: Prices,
        clock: Clock,
        ids: Ids,
        retries: RetrySettings,
        limits: LimiterSettings | None = None,
        models: Mapping[str, ModelSettings] | None = None,
        random_fraction: Callable[[], float] = random.random,
        observe: Observe | None = None,
        caps: Caps | None = None,
    ) -> None:
        self._router = router
        self._prices = prices
        self._clock = clock
        self._ids = ids
        self._retries = retries
        self._random_fraction = random_fraction
        self._observe = observe
        self._caps = caps
        self._limits = limits or LimiterSettings(closed_seconds_max=retries.wait_seconds_max)
        self._limiters: dict[str, Limiter] = {}
        self._model_limits = ModelLimits(router, clock, settings=models)

    @property
    def limiters(self) -> Mapping[str, Limiter]:
        """Return the limiters of each provider key and each limited route that was asked for so far."""
        return self._limiters

    async def context_tokens(self, model: str) -> int:
        """See interfaces.ModelCaller."""
        return await self._model_limits.context_tokens(model)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The first target's own count; None when it cannot tell. Raises ModelUnavailable, InvalidRequest."""
        plan = await self._router.plan(request.model)
        route = plan.targets[0]
        return await route.provider.count_tokens(
            _for_provider(trim(request, route, plan.drop).request, route)
        )

    async def call(
        self,
        principal: Principal,
        request: ModelRequest,
        recorder: CallRecorder,
        *,
        on_delta: OnDelta | None = None,
    ) -> ModelResponse:
        """Make the call, again as the retry settings say, and over the next target of its route when one is overloaded;
        `recorder` makes every attempt durable before it is made. With `on_delta` somebody sees the answer come in, so a
        call that has begun to answer is not made again.

        Raises ModelUnavailable, Unpriced, InvalidRequest and HoldRefused (this attempt was not made), ModelCallFailed
        (the last attempt's), LeaseLost and StoreUnavailable (from the recorder; nothing more was done). When it is
        cancelled, the attempt under way is settled at a bound of what it can have cost.
        """
        if self._observe is not None:
            recorder = self._observe(recorder)
        if self._caps is not None:
            recorder = await self._caps.around(principal, recorder)
        plan = await self._router.plan(request.model)
        asked = _Asked(principal, request, recorder, plan, on_delta)
        if plan.name is None or plan.concurrent_max is None:
            return await self._call(asked)
        limiter = self._route_limiter(plan.name, plan.concurrent_max, plan.queue_max)
        await self._take(limiter, principal, recorder)
        try:
            return await self._call(asked)
        finally:
            limiter.give_back()

    async def _call(self, asked: _Asked) -> ModelResponse:
        retry_plan = RetryPlan(asked.plan.targets, self._retries, self._random_fraction)
        while True:
            retry_plan.pass_over(lambda route: self._limiter(route).closed_seconds > 0)
            route = retry_plan.route
            rate = self._prices.rate(route.priced_as)
            try:
                started, outcome = await self._try(asked, route, rate, number=retry_plan.number)
            except (HoldRefused, Unpriced, InvalidRequest):
                pause = retry_plan.after_refusal()
                if pause is None:
                    raise
                await self._clock.sleep(pause)
                continue
            except ModelCallFailed:  # no place in its queue
                if not retry_plan.after_no_place():
                    raise
                continue
            result = outcome.result
            if isinstance(result, ModelResponse):
                await _finish(started, asked.recorder, succeeded(started, result, rate))
                return result
            pause = retry_plan.after_failure(
                result, has_begun=outcome.has_begun, is_watched=asked.on_delta is not None
            )
            log.info(
                "model_call_failed",
                workspace_id=asked.principal.workspace_id,
                call_id=started.attempt.call_id,
                provider=route.provider_name,
                reason=result.reason,
                will_retry=pause is not None,
                next_model=None if pause is None else retry_plan.route.priced_as,
            )
            await _finish(
                started, asked.recorder, failed(started, result, outcome.progress, pause_seconds=pause)
            )
            if pause is None:
                raise result
            if pause > 0:
                await self._clock.sleep(pause)

    async def _try(self, asked: _Asked, route: ModelRoute, rate: Rate | None, *, number: int) -> _Tried:
        """One attempt over one target, in its turn. Its end is not recorded yet."""
        trimmed = trim(asked.request, route, asked.plan.drop)
        fitted = await self._model_limits.fitted(trimmed.request, route)
        trimmed = msgspec.structs.replace(trimmed, request=fitted)
        limiter = self._limiter(route)
        await self._take(limiter, asked.principal, asked.recorder)
        try:
            started = await self._start(trimmed, route, rate, asked.recorder, number=number)
            begun_at = self._clock.monotonic()
            outcome = await self._attempt(started, route, asked.recorder, asked.on_delta)
            _learn(limiter, outcome.result, begun_at)
        finally:
            limiter.give_back()
        return _Tried(started, outcome)

    async def _take(self, limiter: Limiter, principal: Principal, recorder: CallRecorder) -> None:
        """A slot; who has to wait for it is told apart by the stream that pays, and its log says that it waits."""
        if limiter.try_take():
            return
        accounts = await recorder.accounts()
        stream_id = accounts[0].stream_id if accounts else principal.actor
        telling = asyncio.ensure_future(self._tell_of_waiting(limiter, recorder))
        try:
            await limiter.take(principal.workspace_id, stream_id, is_turn=principal.kind == "worker")
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)  # the start meets what it met

    async def _tell_of_waiting(self, limiter: Limiter, recorder: CallRecorder) -> None:
        ahead = limiter.waiting
        await self._clock.sleep(WAIT_TOLD_SECONDS)
        await run_shielded(recorder.waits(limiter.words, ahead))

    def _limiter(self, route: ModelRoute) -> Limiter:
        """One for each provider, for each has one key."""
        name = route.provider_name
        if name not in self._limiters:
            self._limiters[name] = Limiter(name, clock=self._clock, settings=self._limits)
        return self._limiters[name]

    def _route_limiter(self, name: str, concurrent_max: int, queue_max: int) -> Limiter:
        key = f"route {name!r}"
        if key not in self._limiters:
            limits = LimiterSettings(first=concurrent_max, most=concurrent_max, queue_max=queue_max)
            self._limiters[key] = Limiter(key, clock=self._clock, settings=limits)
        return self._limiters[key]

    async def _start(
        self, trimmed: Trimmed, route: ModelRoute, rate: Rate | None, recorder: CallRecorder, *, number: int
    ) -> Started:
        """Plan the call and make its start durable, with its holds; the provider has not been touched."""
        plans = 0
        while True:
            plans += 1
            call_id = self._ids.new("call")
            planned = await self._plan(trimmed.request, route, rate, recorder, call_id=call_id)
            attempt = CallAttempt(
                call_id=call_id,
                number=number,
                request=planned.request,
                provider=route.provider_name,
                served_model=route.priced_as,
                dropped=trimmed.dropped,
                holds=planned.holds,
            )
            if trimmed.dropped and plans == 1:
                log.info("model_request_fields_dropped", model=route.priced_as, fields=list(trimmed.dropped))
            started = Started(attempt, planned.nano_usd_max, rate, planned.input_tokens_max)
            try:
                cancellation = await run_shielded(recorder.started(attempt))
            except HoldRefused:
                # Another call of the stream took what was left: what remains may do for a smaller one.
                if plans == PLANS_MAX:
                    raise
                continue
            if cancellation is not None:
                never_made = unbilled(started, reason="interrupted", message="cancelled before it was made")
                await run_shielded(recorder.finished(attempt, never_made))
                raise cancellation
            return started

    async def _plan(
        self,
        request: ModelRequest,
        route: ModelRoute,
        rate: Rate | None,
        recorder: CallRecorder,
        *,
        call_id: str,
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
        self, started: Started, route: ModelRoute, recorder: CallRecorder, on_delta: OnDelta | None
    ) -> _Outcome:
        """What the provider answered; anything else than an answer or a failure is settled here and raised."""
        answer = _Answer(started.attempt, route, recorder, on_delta)
        progress = CallProgress(streams_all=_streams_all(started.attempt.request, route))
        laid_out = CALL_PROGRESS.set(progress)
        try:
            return _Outcome(await answer.read(), has_begun=answer.has_begun, progress=progress)
        except ModelCallFailed as failure:
            return _Outcome(failure, has_begun=answer.has_begun, progress=progress)
        except asyncio.CancelledError:
            ended = interrupted(started, progress)
            try:
                await run_shielded(recorder.finished(started.attempt, ended))
            except RemitError:
                # Whoever owns the stream next finds the open hold and settles it the same way; we are to stop.
                log.warning("model_call_end_not_recorded", call_id=started.attempt.call_id, exc_info=True)
            raise
        except Exception:
            log.exception("model_driver_broke", call_id=started.attempt.call_id, provider=route.provider_name)
            ended = assumed(started, reason="internal", message="the driver broke; see the server's log")
            await run_shielded(recorder.finished(started.attempt, ended))
            raise
        finally:
            CALL_PROGRESS.reset(laid_out)


# ------------------------------------------------------------------------------------------ one attempt


class _Answer:
    """The answer to one attempt, as it comes in."""

    def __init__(
        self, attempt: CallAttempt, route: ModelRoute, recorder: CallRecorder, on_delta: OnDelta | None
    ) -> None:
        self.has_begun = False
        self._attempt = attempt
        self._route = route
        self._recorder = recorder
        self._on_delta = on_delta

    async def read(self) -> ModelResponse:
        request = _for_provider(self._attempt.request, self._route)
        if self._on_delta is not None:
            request = msgspec.structs.replace(request, wants_events=True)
        # Cast: the contract promises an iterator that can be closed, which is what aborts the call.
        items = cast("AsyncGenerator[ModelDelta | ModelResponse]", self._route.provider.stream(request))
        async with aclosing(items):
            async for item in items:
                if isinstance(item, ModelResponse):
                    return believed(item)
                if item.is_thinking:
                    self._recorder.thinking(self._attempt)
                self.has_begun = self.has_begun or bool(item.texts or item.events)
                for text in item.texts:
                    self._recorder.delta(self._attempt, text)
                if self._on_delta is not None:
                    await self._on_delta(self._attempt, item)
        raise ModelCallFailed(
            f"{self._route.provider_name} ended without an answer",
            reason="cut",
            billed="unknown",
            is_retryable=True,
        )


def _learn(limiter: Limiter, outcome: ModelResponse | ModelCallFailed, begun_at: float) -> None:
    if isinstance(outcome, ModelResponse):
        limiter.answered()
    elif outcome.reason in ("overloaded", "rate_limited"):
        limiter.overloaded(started_at=begun_at, retry_after_seconds=outcome.retry_after_seconds)


def _streams_all(request: ModelRequest, route: ModelRoute) -> bool:
    provider = route.provider
    return isinstance(provider, StreamsAll) and provider.streams_all(_for_provider(request, route))


def _for_provider(request: ModelRequest, route: ModelRoute) -> ModelRequest:
    return request.asked_of(route.provider_model)


async def _finish(started: Started, recorder: CallRecorder, ended: CallEnded) -> None:
    cancellation = await run_shielded(recorder.finished(started.attempt, ended))
    if cancellation is not None:
        raise cancellation
