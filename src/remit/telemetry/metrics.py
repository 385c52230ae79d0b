"""Prometheus metrics of one process, in a registry of its own. No label is an id, a key or a text that people wrote."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from opentelemetry.trace import Tracer
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from remit.clock import Clock
from remit.values import CallAttempt, CallEnded, Value

LABEL_VALUES_MAX = 100
"""Different values of a label that callers influence (models, kinds of errors); what comes later is `other`."""
CALL_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
TOOL_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600)
COMMIT_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
COMMIT_OPERATIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10, 60)


class GaugeReading(Value, frozen=True):
    """The reading of a gauge when it is looked at."""

    name: str
    value: float
    meaning: str
    labels: tuple[tuple[str, str], ...] = ()


ReadGauges = Callable[[], Awaitable[Sequence[GaugeReading]]]


class Bounded:
    """Label values, as many as a registry can bear."""

    def __init__(self, values_max: int = LABEL_VALUES_MAX) -> None:
        self._values_max = values_max
        self._seen: set[str] = set()

    def of(self, value: str) -> str:
        """The value, or `other` when there are too many."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._values_max:
            return "other"
        self._seen.add(value)
        return value


class Metrics:
    """The counters. Everything runs on the event loop but `committed`, which is thread-safe too."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._models = Bounded()
        self._errors = Bounded()
        self._reasons = Bounded()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=registry)

        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(name, meaning, registry=registry)

        def histogram(name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(name, meaning, labels, buckets=buckets, registry=registry)

        self._turns = counter("remit_turns", "Times a session came to rest, by stop reason.", "stop_reason")
        self._steps = counter("remit_steps", "Steps of turns (model requests).")
        self._calls = counter(
            "remit_model_calls", "Attempts at model calls that ended.", "provider", "model", "outcome"
        )
        self._call_seconds = histogram(
            "remit_model_call_seconds",
            "From the durable start of an attempt to its end.",
            CALL_SECONDS,
            "provider",
        )
        self._tokens = counter("remit_tokens", "Tokens, by model and kind.", "model", "kind")
        self._spent = counter(
            "remit_spent_nano_usd", "Nano-dollars booked for model calls.", "model", "purpose"
        )
        self._held = gauge("remit_held_nano_usd", "Nano-dollars held for model calls of this process.")
        self._holds = gauge("remit_holds_open", "Holds of model calls of this process.")
        self._tools = counter("remit_tool_runs", "Tool runs.", "tool", "outcome")
        self._tool_seconds = histogram("remit_tool_seconds", "How long tools ran.", TOOL_SECONDS, "tool")
        self._sandboxes_started = counter(
            "remit_sandboxes_started", "Sandboxes of sessions that were started."
        )
        self._sandboxes_lost = counter("remit_sandboxes_lost", "Sandboxes of sessions that were lost.")
        self._helpers_died = counter(
            "remit_helpers_died", "Helper processes that died and were started again.", "helper"
        )
        self._evaluations = counter("remit_evaluations", "Evaluations of outcomes.", "result")
        self._verifications = histogram(
            "remit_verifier_seconds", "How long verifiers ran.", TOOL_SECONDS, "verifier", "verdict"
        )
        self._remits = counter("remit_remits_ended", "Remits that ended.", "status", "verified")
        self._session_errors = counter("remit_session_errors", "Errors that sessions reported.", "type")
        self._requests = histogram(
            "remit_http_request_seconds",
            "Requests by route, without event streams.",
            REQUEST_SECONDS,
            "method",
            "route",
            "status",
        )
        self._readers = gauge("remit_sse_readers", "Event streams that are being read.")
        self._commit_seconds = histogram(
            "remit_store_commit_seconds", "One transaction with its fsync.", COMMIT_SECONDS
        )
        self._commit_operations = histogram(
            "remit_store_commit_operations", "Writes that shared a transaction.", COMMIT_OPERATIONS
        )

    # --------------------------------------------------------------------------------------------- models

    def call_started(self, attempt: CallAttempt) -> None:
        """Count an attempt whose holds are durable."""
        self._holds.inc(len(attempt.holds))
        self._held.inc(_nano_usd_held(attempt))

    def call_ended(
        self, attempt: CallAttempt, ended: CallEnded | None, *, purpose: str, seconds: float
    ) -> None:
        """Count a call that is over; `ended` None: its end could not be recorded here."""
        self._holds.dec(len(attempt.holds))
        self._held.dec(_nano_usd_held(attempt))
        model = self._models.of(attempt.served_model or attempt.request.model)
        if ended is None:
            self._calls.labels(attempt.provider, model, "not_recorded").inc()
            return
        outcome = self._reasons.of(ended.error_reason) if ended.error_reason is not None else "answered"
        self._calls.labels(attempt.provider, model, outcome).inc()
        self._call_seconds.labels(attempt.provider).observe(seconds)
        self._spent.labels(model, purpose).inc(ended.cost_nano_usd or 0)
        usage = ended.usage
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_input_tokens),
            ("cache_write", usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens),
        ):
            if count:
                self._tokens.labels(model, kind).inc(count)

    # --------------------------------------------------------------------------------------------- work

    def rested(self, stop_reason: str) -> None:
        """Count a session that came to rest."""
        self._turns.labels(stop_reason).inc()

    def stepped(self) -> None:
        """Count a step whose model request ended."""
        self._steps.inc()

    def tool_ran(self, tool: str, outcome: str, seconds: float) -> None:
        """Count a tool use that is over: `ok`, `error` (its own), `cut` (cancelled), `lost` (with its
        sandbox) or `failed`."""
        self._tools.labels(tool, outcome).inc()
        self._tool_seconds.labels(tool).observe(seconds)

    def sandbox_started(self) -> None:
        """Count the start of a session's sandbox."""
        self._sandboxes_started.inc()

    def sandbox_lost(self) -> None:
        """Count the death of a session's sandbox."""
        self._sandboxes_lost.inc()

    def spawner_died(self) -> None:
        """Count the death of the spawner, and with it of every sandbox that it had started."""
        self._helpers_died.labels("spawner").inc()

    def egress_proxy_died(self) -> None:
        """Count the death of the egress proxy, and with it of every connection that it carried."""
        self._helpers_died.labels("egress_proxy").inc()

    def evaluated(self, result: str) -> None:
        """Count an outcome that was judged."""
        self._evaluations.labels(result).inc()

    def verified(self, verifier: str, verdict: str, seconds: float) -> None:
        """Count the verdict of one verifier: `passed`, `failed`, or `none` (it could not)."""
        self._verifications.labels(verifier, verdict).observe(seconds)

    def remit_ended(self, status: str, *, is_verified: bool) -> None:
        """Count a remit that ended."""
        self._remits.labels(status, "yes" if is_verified else "no").inc()

    def session_failed(self, type: str) -> None:
        """Count an error that a session reported."""
        self._session_errors.labels(self._errors.of(type)).inc()

    # --------------------------------------------------------------------------------------------- edges

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered; `route` is the path with names for what varies."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def reader_came(self) -> None:
        """Count a reader of an event stream."""
        self._readers.inc()

    def reader_left(self) -> None:
        """Count a reader who left."""
        self._readers.dec()

    def committed(self, operations: int, seconds: float) -> None:
        """Count a transaction that the store's writer made durable."""
        self._commit_seconds.observe(seconds)
        self._commit_operations.observe(operations)

    async def render(self, read_gauges: ReadGauges) -> bytes:
        """The text that Prometheus reads, with what is only known when it is looked at."""
        seen = CollectorRegistry()
        gauges: dict[str, Gauge] = {}
        for reading in await read_gauges():
            names = [name for name, _ in reading.labels]
            if reading.name not in gauges:
                gauges[reading.name] = Gauge(reading.name, reading.meaning, names, registry=seen)
            gauge = gauges[reading.name]
            (gauge.labels(**dict(reading.labels)) if names else gauge).set(reading.value)
        return generate_latest(self.registry) + generate_latest(seen)


class Observing(NamedTuple):
    """With what is observed."""

    metrics: Metrics
    tracer: Tracer | None
    """None: no traces."""
    clock: Clock


def _nano_usd_held(attempt: CallAttempt) -> int:
    return sum(hold.amount for hold in attempt.holds if hold.unit == "nano_usd")
