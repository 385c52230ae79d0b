"""Gauges that are read when somebody looks: queues, live sandboxes, how late the oldest wake is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from remit.clock import Clock
from remit.gateway.gateway import Gateway
from remit.interfaces import SessionStore
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.worker import Worker
from remit.telemetry.metrics import GaugeReading


class CountedGate(Protocol):
    """A door that lets something in up to a limit."""

    most: int
    total: int
    refused: int


def nothing_queued() -> int:
    """Return 0: for stores that have no queue."""
    return 0


class PlatformReadings:
    """The readings of one platform."""

    def __init__(
        self,
        *,
        worker: Worker,
        gateway: Gateway,
        held: SessionSandboxes,
        store: SessionStore,
        clock: Clock,
        gates: Mapping[str, CountedGate],
        queued_writes: Callable[[], int],
        kinds: Sequence[str],
    ) -> None:
        self._gates = gates
        self._kinds = kinds
        self._queued_writes = queued_writes
        self._worker = worker
        self._gateway = gateway
        self._held = held
        self._store = store
        self._clock = clock

    async def __call__(self) -> Sequence[GaugeReading]:
        """What they say now. Raises StoreUnavailable."""
        wake_us = await self._store.next_wake_us(self._kinds)
        late = 0.0 if wake_us is None else max(0.0, (self._clock.now_us() - wake_us) / 1_000_000)
        readings = [
            GaugeReading(
                "remit_wake_late_seconds", late, "How long the oldest wake that nobody has taken is overdue."
            ),
            GaugeReading("remit_streams_active", self._worker.active, "Streams being worked on."),
            GaugeReading(
                "remit_streams_limit", self._worker.streams_max, "How many may be worked on at once."
            ),
            GaugeReading("remit_sandboxes_live", self._held.count, "Live sandboxes of sessions."),
            GaugeReading(
                "remit_sandboxes_limit", self._held.slots.most, "How many sessions may have one at once."
            ),
            GaugeReading(
                "remit_sandboxes_waiting",
                self._held.slots.waiting,
                "Sessions that wait for a place for theirs.",
            ),
            GaugeReading(
                "remit_store_writes_queued", self._queued_writes(), "Writes that wait for a transaction."
            ),
        ]
        for what, gate in self._gates.items():
            labels = (("what", what),)
            readings += [
                GaugeReading("remit_admitted", gate.total, "What the server has taken on, by kind.", labels),
                GaugeReading(
                    "remit_admitted_limit", gate.most, "How much of it the server takes on at once.", labels
                ),
                GaugeReading(
                    "remit_refused",
                    gate.refused,
                    "How often it was refused with 429 or 529 since the start.",
                    labels,
                ),
            ]
        for key, limiter in self._gateway.limiters.items():
            labels = (("key", key),)
            readings += [
                GaugeReading(
                    "remit_model_calls_active",
                    limiter.active,
                    "Model calls that run, by provider or route.",
                    labels,
                ),
                GaugeReading(
                    "remit_model_calls_waiting",
                    limiter.waiting,
                    "Model calls that wait for their turn.",
                    labels,
                ),
                GaugeReading(
                    "remit_model_calls_limit", limiter.limit, "How many may run at once now.", labels
                ),
                GaugeReading(
                    "remit_model_calls_refused",
                    limiter.refused,
                    "Calls that found no place in the queue since the start.",
                    labels,
                ),
            ]
        return readings
