"""Model calls, observed where each attempt becomes durable: a CallRecorder around the one that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opentelemetry.trace import Span, SpanKind

from remit.interfaces import CallRecorder
from remit.telemetry.metrics import Observing
from remit.telemetry.spans import fail
from remit.values import Account, CallAttempt, CallEnded, Purpose


@dataclass(frozen=True)
class _UnderWay:
    started_at: float
    span: Span | None


class ObservedRecorder:
    """Counts attempts and gives each a `chat` span, from its durable start to its durable end."""

    def __init__(self, recorder: CallRecorder, observing: Observing) -> None:
        self.purpose: Purpose = recorder.purpose
        self._recorder = recorder
        self._metrics, self._tracer, self._clock = observing
        self._under_way: dict[str, _UnderWay] = {}

    async def accounts(self) -> Sequence[Account]:
        return await self._recorder.accounts()

    async def waits(self, limit: str, ahead: int) -> None:
        await self._recorder.waits(limit, ahead)

    async def started(self, attempt: CallAttempt) -> None:
        await self._recorder.started(attempt)
        self._metrics.call_started(attempt)
        self._under_way[attempt.call_id] = _UnderWay(self._clock.monotonic(), self._span(attempt))

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        recorded: CallEnded | None = None
        try:
            await self._recorder.finished(attempt, ended)
            recorded = ended
        finally:
            under_way = self._under_way.pop(attempt.call_id)
            seconds = self._clock.monotonic() - under_way.started_at
            self._metrics.call_ended(attempt, recorded, purpose=self.purpose, seconds=seconds)
            if under_way.span is not None:
                _end(under_way.span, ended)

    def thinking(self, attempt: CallAttempt) -> None:
        self._recorder.thinking(attempt)

    def delta(self, attempt: CallAttempt, text: str) -> None:
        self._recorder.delta(attempt, text)

    def _span(self, attempt: CallAttempt) -> Span | None:
        if self._tracer is None:
            return None
        return self._tracer.start_span(
            f"chat {attempt.request.model}",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": attempt.provider,
                "gen_ai.request.model": attempt.request.model,
                "gen_ai.request.max_tokens": attempt.request.max_tokens,
                "gen_ai.request.stream": True,
                "remit.call.id": attempt.call_id,
                "remit.call.attempt": attempt.number,
                "remit.call.purpose": self.purpose,
            },
        )


def observe_calls(observing: Observing) -> Callable[[CallRecorder], CallRecorder]:
    """Make the function that observes every recorder of the gateway."""

    def observe(recorder: CallRecorder) -> CallRecorder:
        return ObservedRecorder(recorder, observing)

    return observe


def _end(span: Span, ended: CallEnded) -> None:
    usage = ended.usage
    cached = usage.cache_read_input_tokens
    written = usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens
    span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens + cached + written)
    span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
    span.set_attribute("gen_ai.usage.cache_read.input_tokens", cached)
    span.set_attribute("gen_ai.usage.cache_creation.input_tokens", written)
    if ended.cost_nano_usd is not None:
        span.set_attribute("remit.call.cost_nano_usd", ended.cost_nano_usd)
    span.set_attribute("remit.call.is_assumed", ended.is_assumed)
    if ended.response is not None:
        span.set_attribute("gen_ai.response.model", ended.response.model)
        span.set_attribute("gen_ai.response.finish_reasons", [ended.response.stop_reason])
    if ended.error_reason is not None:
        fail(span, ended.error_reason)
    span.end()
