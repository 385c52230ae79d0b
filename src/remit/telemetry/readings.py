"""Gauges that are read when somebody looks: queues, live sandboxes, how late the oldest wake is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from remit.clock import Clock
from remit.gateway.gateway import Gateway
from remit.interfaces import SessionStore
from remit.orchestrator.held import HeldSandboxes
from remit.orchestrator.worker import Worker
from remit.telemetry.metrics import Reading


class Counted(Protocol):
    """Something that is let in up to a limit."""

    most: int
    total: int
    refused: int


def nothing_queued() -> int:
    """Of stores that have no queue."""
    return 0


class PlatformReadings:
    """Of one platform."""

    def __init__(
        self,
        *,
        worker: Worker,
        gateway: Gateway,
        held: HeldSandboxes,
        store: SessionStore,
        clock: Clock,
        gates: Mapping[str, Counted],
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

    async def __call__(self) -> Sequence[Reading]:
        """What they say now. Raises StoreUnavailable."""
        wake_us = await self._store.next_wake_us(self._kinds)
        late = 0.0 if wake_us is None else max(0.0, (self._clock.now_us() - wake_us) / 1_000_000)
        readings = [
            Reading(
                name="remit_wake_late_seconds",
                meaning="How long the oldest wake that nobody has taken is overdue.",
                value=late,
            ),
            Reading(
                name="remit_streams_active", meaning="Streams being worked on.", value=self._worker.active
            ),
            Reading(
                name="remit_streams_limit",
                meaning="How many may be worked on at once.",
                value=self._worker.streams_max,
            ),
            Reading(
                name="remit_sandboxes_live", meaning="Live sandboxes of sessions.", value=self._held.count
            ),
            Reading(
                name="remit_sandboxes_limit",
                meaning="How many sessions may have one at once.",
                value=self._held.berths.most,
            ),
            Reading(
                name="remit_sandboxes_waiting",
                meaning="Sessions that wait for a place for theirs.",
                value=self._held.berths.waiting,
            ),
            Reading(
                name="remit_store_writes_queued",
                meaning="Writes that wait for a transaction.",
                value=self._queued_writes(),
            ),
        ]
        for what, gate in self._gates.items():
            labels = (("what", what),)
            readings += [
                Reading(
                    name="remit_admitted",
                    meaning="What the server has taken on, by kind.",
                    value=gate.total,
                    labels=labels,
                ),
                Reading(
                    name="remit_admitted_limit",
                    meaning="How much of it the server takes on at once.",
                    value=gate.most,
                    labels=labels,
                ),
                Reading(
                    name="remit_refused",
                    meaning="How often it was refused with 429 or 529 since the start.",
                    value=gate.refused,
                    labels=labels,
                ),
            ]
        for key, limiter in self._gateway.limiters.items():
            labels = (("key", key),)
            readings += [
                Reading(
                    name="remit_model_calls_active",
                    meaning="Model calls that run, by provider or route.",
                    value=limiter.active,
                    labels=labels,
                ),
                Reading(
                    name="remit_model_calls_waiting",
                    meaning="Model calls that wait for their turn.",
                    value=limiter.waiting,
                    labels=labels,
                ),
                Reading(
                    name="remit_model_calls_limit",
                    meaning="How many may run at once now.",
                    value=limiter.limit,
                    labels=labels,
                ),
                Reading(
                    name="remit_model_calls_refused",
                    meaning="Calls that found no place in the queue since the start.",
                    value=limiter.refused,
                    labels=labels,
                ),
            ]
        return readings
