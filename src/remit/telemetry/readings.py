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
                "remit_wake_late_seconds", late, "How long the oldest wake that nobody has taken is overdue."
            ),
            Reading("remit_streams_active", self._worker.active, "Streams being worked on."),
            Reading("remit_streams_limit", self._worker.streams_max, "How many may be worked on at once."),
            Reading("remit_sandboxes_live", self._held.count, "Live sandboxes of sessions."),
            Reading(
                "remit_sandboxes_limit", self._held.berths.most, "How many sessions may have one at once."
            ),
            Reading(
                "remit_sandboxes_waiting",
                self._held.berths.waiting,
                "Sessions that wait for a place for theirs.",
            ),
            Reading(
                "remit_store_writes_queued", self._queued_writes(), "Writes that wait for a transaction."
            ),
        ]
        for what, gate in self._gates.items():
            labels = (("what", what),)
            readings += [
                Reading("remit_admitted", gate.total, "What the server has taken on, by kind.", labels),
                Reading(
                    "remit_admitted_limit", gate.most, "How much of it the server takes on at once.", labels
                ),
                Reading(
                    "remit_refused",
                    gate.refused,
                    "How often it was refused with 429 or 529 since the start.",
                    labels,
                ),
            ]
        for key, limiter in self._gateway.limiters.items():
            labels = (("key", key),)
            readings += [
                Reading(
                    "remit_model_calls_active",
                    limiter.active,
                    "Model calls that run, by provider or route.",
                    labels,
                ),
                Reading(
                    "remit_model_calls_waiting",
                    limiter.waiting,
                    "Model calls that wait for their turn.",
                    labels,
                ),
                Reading("remit_model_calls_limit", limiter.limit, "How many may run at once now.", labels),
                Reading(
                    "remit_model_calls_refused",
                    limiter.refused,
                    "Calls that found no place in the queue since the start.",
                    labels,
                ),
            ]
        return readings
