"""What the routes are given: the adapters behind their Protocols, and the limits of the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from remit.catalog.resources import Resources
from remit.clock import Clock
from remit.deployments.deployments import Deployments
from remit.deployments.kind import DEPLOYMENT
from remit.deployments.runs import RUN
from remit.ids import Ids
from remit.interfaces import Catalog, Dispatcher, LiveBus, Prices, SessionStore, Verifier
from remit.remits.kind import REMIT
from remit.remits.state import RemitState
from remit.resources.agents import Agents
from remit.resources.environment_config import DefaultNetworking
from remit.resources.environments import Environments, FindMissing, all_are_missing
from remit.resources.files import Files
from remit.resources.kept_blobs import KeptBlobs
from remit.resources.memory_stores import MemoryStores
from remit.resources.opening import SessionOpening
from remit.resources.session_kind import SESSION
from remit.resources.session_removal import SessionRemoval
from remit.resources.web_settings import NO_WEB, WebOffer
from remit.schema.files import FILE_BYTES_MAX
from remit.server.admission import Admission, AdmissionSettings
from remit.session.state import SessionState
from remit.streams.folds import Folds
from remit.streams.kinds import StreamKinds
from remit.streams.streams import Streams


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Limits and times of the HTTP edge."""

    body_bytes_max: int = 32 << 20
    """JSON bodies; uploads have their own limit."""
    file_bytes_max: int = FILE_BYTES_MAX
    """One uploaded file."""
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    """How much is taken on at once."""
    heartbeat_seconds: float = 15.0
    """How often an event stream sends a comment, so that nobody in between thinks it dead."""
    default_networking: DefaultNetworking = "limited"
    """Of environments that say nothing of networking."""
    harnesses: Mapping[str, str] = field(default_factory=lambda: {"remit": "1"})
    """Harnesses agents may name: name and version."""
    find_missing_packages: FindMissing = all_are_missing
    """Which system packages the sandboxes lack."""
    web: WebOffer = NO_WEB
    """Web tools agents may have."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything the HTTP server acts through; made by the composition root."""

    clock: Clock
    ids: Ids
    sessions: SessionStore
    catalog: Catalog
    blobs: KeptBlobs
    bus: LiveBus
    dispatcher: Dispatcher
    prices: Prices
    verifiers: Mapping[str, Verifier]
    """By type; an outcome that names another is refused."""
    kinds: StreamKinds
    settings: ServerSettings = field(default_factory=ServerSettings)

    @cached_property
    def admission(self) -> Admission:
        """The gates of this server."""
        return Admission(self.settings.admission)

    @cached_property
    def streams(self) -> Mapping[str, Streams[Any]]:  # Any: of every state
        """By kind."""
        return {
            kind.name: Streams(
                kind,
                store=self.sessions,
                bus=self.bus,
                dispatcher=self.dispatcher,
                clock=self.clock,
                ids=self.ids,
            )
            for kind in self.kinds
        }

    @cached_property
    def agents(self) -> Agents:
        """Of every workspace, as all that follow."""
        return Agents(self.catalog, self.clock, self.ids, self.settings.harnesses, self.settings.web)

    @cached_property
    def environments(self) -> Environments:
        return Environments(
            self.catalog,
            self.clock,
            self.ids,
            default_networking=self.settings.default_networking,
            find_missing=self.settings.find_missing_packages,
        )

    @cached_property
    def files(self) -> Files:
        return Files(self.catalog, self.blobs, self.clock, self.ids, bytes_max=self.settings.file_bytes_max)

    @cached_property
    def memory_stores(self) -> MemoryStores:
        return MemoryStores(self.catalog, self.blobs, self.clock, self.ids)

    @cached_property
    def removal(self) -> SessionRemoval:
        return SessionRemoval(sessions=self.sessions, files=self.files, blobs=self.blobs, bus=self.bus)

    @cached_property
    def opening(self) -> SessionOpening:
        return SessionOpening(
            store=self.sessions,
            bus=self.bus,
            dispatcher=self.dispatcher,
            blobs=self.blobs,
            agents=self.agents,
            environments=self.environments,
            files=self.files,
            memory_stores=self.memory_stores,
            prices=self.prices,
            verifiers=self.verifiers,
            clock=self.clock,
            ids=self.ids,
        )

    @cached_property
    def deployments(self) -> Deployments:
        return Deployments(
            self.streams[DEPLOYMENT.name],
            Resources(RUN, self.catalog, self.clock, self.ids),
            store=self.sessions,
            bus=self.bus,
            opening=self.opening,
            agents=self.agents,
            clock=self.clock,
            ids=self.ids,
        )

    @property
    def states(self) -> Folds[SessionState]:
        """Of sessions."""
        return self.streams[SESSION.name].folds

    @property
    def remits(self) -> Streams[RemitState]:
        """Those of remits."""
        return self.streams[REMIT.name]
