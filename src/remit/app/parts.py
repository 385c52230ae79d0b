"""The adapters that a platform stands on, whoever made them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Tracer

from remit.clock import Clock
from remit.config import Settings
from remit.domain import Domain
from remit.gateway.retry_plan import RetrySettings
from remit.harness.loop import BuiltInLoop
from remit.ids import Ids
from remit.interfaces import (
    BlobStore,
    Catalog,
    Harness,
    LiveBus,
    ModelProvider,
    Prices,
    SandboxProvider,
    SessionStore,
    StreamHandler,
    ToolSource,
    Verifier,
)
from remit.orchestrator.evaluation import HEARTBEAT_SECONDS
from remit.orchestrator.worker import Positions
from remit.server.operations.services import Services
from remit.streams.kinds import StreamKind
from remit.telemetry.metrics import Metrics
from remit.telemetry.readings import nothing_queued


@dataclass(frozen=True, kw_only=True)
class MoreStreams:
    """A kind of stream from outside: what it is, and who carries it on."""

    kind: StreamKind[Any]  # Any: of every state
    handler: Callable[[Domain], StreamHandler]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The adapters a platform stands on."""

    settings: Settings
    clock: Clock
    ids: Ids
    sessions: SessionStore
    catalog: Catalog
    blobs: BlobStore
    bus: LiveBus
    sandboxes: SandboxProvider
    models: Mapping[str, ModelProvider]
    prices: Prices
    harnesses: Sequence[Harness] = (BuiltInLoop(),)
    more_streams: Sequence[MoreStreams] = ()
    more_routes: Sequence[Callable[[Services], object]] = ()
    """What answers further operations, beside those that every platform has."""
    tools: Sequence[ToolSource] = ()
    """Beside those that every platform has."""
    verifiers: Sequence[Verifier] = ()
    """Beside those that every platform has, asked for as `{"type": "custom", "name": its type}`; they cost nothing. One of a
    type that every platform has stands in its place."""
    retries: RetrySettings = field(default_factory=RetrySettings)
    evaluation_heartbeat_seconds: float = HEARTBEAT_SECONDS
    metrics: Metrics = field(default_factory=Metrics)
    tracer: Tracer | None = None
    """None: no traces."""
    queued_writes: Callable[[], int] = nothing_queued
    """Of the stores."""
    is_shared: bool = False
    """Other processes may be at work on the stores."""
    keep_up: Callable[[], Awaitable[None]] | None = None
    """What the stores need to have run beside them."""
    positions: Positions | None = None
    """How far streams have come, where other processes append to them."""
