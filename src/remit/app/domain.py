"""Builds the domain of a platform on its adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.catalog.agent_config import Harnesses
from remit.catalog.agents import Agents
from remit.catalog.environment_config import DefaultNetworking
from remit.catalog.environments import Environments, FindMissing, all_are_missing
from remit.catalog.files import Files
from remit.catalog.memory_stores import MemoryStores
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.resources import Resources
from remit.catalog.web_settings import NO_WEB, WebOffer
from remit.clock import Clock
from remit.deployments.deployments import Deployments
from remit.deployments.kind import DEPLOYMENT
from remit.deployments.runs import RUN
from remit.domain import Domain
from remit.ids import Ids
from remit.interfaces import Catalog, Dispatcher, LiveBus, Prices, SessionStore, Verifier
from remit.sessions.kind import SESSION
from remit.sessions.opening import SessionOpening
from remit.sessions.removal import SessionRemoval
from remit.sessions.sending import Sending
from remit.streams.kinds import StreamKind, StreamKinds
from remit.streams.streams import Streams

BUILT_IN_HARNESS = {"remit": "1"}


def build_domain(
    *,
    clock: Clock,
    ids: Ids,
    sessions: SessionStore,
    catalog: Catalog,
    blobs: OwnedBlobs,
    bus: LiveBus,
    dispatcher: Dispatcher,
    prices: Prices,
    verifiers: Mapping[str, Verifier],
    kinds: StreamKinds,
    harnesses: Harnesses = BUILT_IN_HARNESS,
    default_networking: DefaultNetworking = "limited",
    find_missing_packages: FindMissing = all_are_missing,
    web: WebOffer = NO_WEB,
) -> Domain:
    """Put it together; starts nothing. `harnesses` are those that agents may name, with their versions; `web` is what they
    may have of it; `default_networking` is of environments that say nothing of it."""

    def streams_of(kind: StreamKind[Any]) -> Streams[Any]:  # Any: of every state
        return Streams(kind, store=sessions, bus=bus, dispatcher=dispatcher, clock=clock, ids=ids)

    streams = {kind.name: streams_of(kind) for kind in kinds}
    agents = Agents(catalog, clock, ids, harnesses, web)
    environments = Environments(
        catalog, clock, ids, default_networking=default_networking, find_missing=find_missing_packages
    )
    files = Files(catalog, blobs, clock, ids)
    memory_stores = MemoryStores(catalog, blobs, clock, ids)
    sending = Sending(
        streams[SESSION.name].folds,
        store=sessions,
        bus=bus,
        dispatcher=dispatcher,
        blobs=blobs,
        files=files,
        verifiers=verifiers,
        clock=clock,
        ids=ids,
    )
    opening = SessionOpening(
        store=sessions,
        bus=bus,
        dispatcher=dispatcher,
        blobs=blobs,
        agents=agents,
        environments=environments,
        files=files,
        memory_stores=memory_stores,
        prices=prices,
        sending=sending,
        clock=clock,
        ids=ids,
    )
    deployments = Deployments(
        streams[DEPLOYMENT.name],
        Resources(RUN, catalog, clock, ids),
        store=sessions,
        bus=bus,
        opening=opening,
        agents=agents,
        clock=clock,
        ids=ids,
    )
    interrupts = {name: of.interrupt for name, of in streams.items() if of.kind.interruption is not None}
    return Domain(
        clock=clock,
        ids=ids,
        sessions=sessions,
        catalog=catalog,
        blobs=blobs,
        bus=bus,
        dispatcher=dispatcher,
        prices=prices,
        verifiers=verifiers,
        kinds=kinds,
        streams=streams,
        interrupts={**interrupts, SESSION.name: sending.interrupt},
        agents=agents,
        environments=environments,
        files=files,
        memory_stores=memory_stores,
        removal=SessionRemoval(sessions=sessions, files=files, blobs=blobs, bus=bus),
        sending=sending,
        opening=opening,
        deployments=deployments,
    )
