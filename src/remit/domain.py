"""The domain of a platform: what its rules act through, whoever asks. Built once by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from remit.catalog.agents import Agents
from remit.catalog.environments import Environments
from remit.catalog.files import Files
from remit.catalog.memory_stores import MemoryStores
from remit.catalog.owned_blobs import OwnedBlobs
from remit.clock import Clock
from remit.deployments.deployments import Deployments
from remit.ids import Ids
from remit.interfaces import Catalog, Dispatcher, LiveBus, Prices, SessionStore, Verifier
from remit.remits.kind import REMIT
from remit.remits.state import RemitState
from remit.session.state import SessionState
from remit.sessions.kind import SESSION
from remit.sessions.opening import SessionOpening
from remit.sessions.removal import SessionRemoval
from remit.sessions.sending import Sending
from remit.streams.folds import Folds
from remit.streams.kinds import StreamKinds
from remit.streams.streams import Streams
from remit.values import Principal

Interrupt = Callable[[Principal, str], Awaitable[None]]
"""Interrupts what is under way in a stream. Raises NotFound."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The adapters behind their Protocols, and the rules over them."""

    clock: Clock
    ids: Ids
    sessions: SessionStore
    catalog: Catalog
    blobs: OwnedBlobs
    bus: LiveBus
    dispatcher: Dispatcher
    prices: Prices
    verifiers: Mapping[str, Verifier]
    """By type; an outcome that names another is refused."""
    kinds: StreamKinds
    streams: Mapping[str, Streams[Any]]  # Any: of every state
    """By kind."""
    interrupts: Mapping[str, Interrupt]
    """By kind, of those in which something can be under way."""
    agents: Agents
    environments: Environments
    files: Files
    memory_stores: MemoryStores
    removal: SessionRemoval
    sending: Sending
    opening: SessionOpening
    deployments: Deployments

    @property
    def states(self) -> Folds[SessionState]:
        """Return the folds of sessions."""
        return self.streams[SESSION.name].folds

    @property
    def remits(self) -> Streams[RemitState]:
        """Return the streams of remits."""
        return self.streams[REMIT.name]
