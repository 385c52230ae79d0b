"""Counts of what the log tells, as it is published: the bus, with an eye on rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from remit.interfaces import LiveBus, LiveSubscription
from remit.telemetry.metrics import Metrics
from remit.values import EventRow, LiveItem


class _Typed(msgspec.Struct):
    type: str = "unknown"


class _Idle(msgspec.Struct):
    stop_reason: _Typed


class _Error(msgspec.Struct):
    error: _Typed


class _Evaluated(msgspec.Struct):
    result: str


class _RemitEnded(msgspec.Struct):
    status: str
    verified: bool = False


class ObservedBus:
    """A LiveBus that counts durable rows on their way to the readers."""

    def __init__(self, bus: LiveBus, metrics: Metrics) -> None:
        self._bus = bus
        self._count: dict[str, Callable[[EventRow], None]] = {
            "session.status_idle": lambda row: metrics.rested(_idle(row.body).stop_reason.type),
            "span.model_request_end": lambda row: metrics.stepped(),
            "sandbox.started": lambda row: metrics.sandbox_started(),
            "session.sandbox_lost": lambda row: metrics.sandbox_lost(),
            "session.error": lambda row: metrics.session_failed(_error(row.body).error.type),
            "span.outcome_evaluation_end": lambda row: metrics.evaluated(_evaluated(row.body).result),
            "remit.ended": lambda row: _count_ended(metrics, row),
        }

    def publish(self, item: LiveItem) -> None:
        for row in item.rows:
            count = self._count.get(row.type)
            if count is not None:
                count(row)
        self._bus.publish(item)

    def subscribe(
        self, stream_id: str, *, limit: int = 1000
    ) -> AbstractAsyncContextManager[LiveSubscription]:
        return self._bus.subscribe(stream_id, limit=limit)

    def subscriber_count(self, stream_id: str) -> int:
        return self._bus.subscriber_count(stream_id)


_idle = msgspec.json.Decoder(_Idle).decode
_error = msgspec.json.Decoder(_Error).decode
_evaluated = msgspec.json.Decoder(_Evaluated).decode
_remit_ended = msgspec.json.Decoder(_RemitEnded).decode


def _count_ended(metrics: Metrics, row: EventRow) -> None:
    ended = _remit_ended(row.body)
    metrics.remit_ended(ended.status, is_verified=ended.verified)
