"""A platform put together from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

from starlette.types import ASGIApp

from remit.app.domain import build_domain
from remit.app.kinds import stream_kinds
from remit.app.mcp import mcp_servers
from remit.app.parts import Parts
from remit.app.web import web_tools
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.expired_files import ExpiredFiles
from remit.catalog.orphaned_files import OrphanedFiles
from remit.catalog.owned_blobs import OwnedBlobs
from remit.deployments.handler import DeploymentHandler
from remit.domain import Domain
from remit.egress.operator_credentials import OperatorCredentials
from remit.gateway.caps import Caps
from remit.gateway.direct_calls import DirectCalls
from remit.gateway.gateway import Gateway
from remit.gateway.limiter import LimiterSettings
from remit.gateway.model_settings import parse_models
from remit.gateway.routing import ModelRouter, parse_routes
from remit.interfaces import (
    Collector,
    ToolSource,
    Verifier,
)
from remit.models.local.local_servers import unused_servers
from remit.orchestrator.evaluation import Evaluation
from remit.orchestrator.garbage_collector import GarbageCollector
from remit.orchestrator.kept_layers import KeptLayers
from remit.orchestrator.packages import PackageInstaller
from remit.orchestrator.session_handler import SessionHandler
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.setup_layers import SetupLayers
from remit.orchestrator.worker import POLL_SECONDS, LocalDispatcher, Waker, Worker
from remit.orchestrator.workspace_handler import WorkspaceHandler
from remit.remits.forecaster import Forecaster
from remit.remits.handler import RemitHandler
from remit.remits.inputs import OldInputs
from remit.remits.setup import RemitSetup
from remit.remits.verification import RemitVerification
from remit.remits.working_session import SessionOpener
from remit.sandboxes.system_packages import missing_packages
from remit.server.app import create_app
from remit.server.edge.admission import AdmissionSettings
from remit.server.model_calls.gateway_routes import GatewayRoutes
from remit.server.model_calls.models import ModelList, ModelRoutes
from remit.server.operations.services import ServerSettings, Services, services_of
from remit.server.previews.routes import PreviewRoutes, Previews
from remit.server.routes.attendance import Attendance
from remit.server.routes.caps import CapRoutes
from remit.server.routes.keys import KeyRoutes
from remit.server.routes.metrics import MetricsRoutes, OpenMetricsRoutes
from remit.server.routes.reconcile import ReconcileRoutes
from remit.server.routes.remit_routes import remit_routes
from remit.server.routes.stop import StopRoutes
from remit.streams.kinds import StreamKinds
from remit.telemetry.edge import ObservedEdge
from remit.telemetry.metrics import Observing
from remit.telemetry.model_calls import observe_calls
from remit.telemetry.readings import PlatformReadings
from remit.telemetry.rows import ObservedBus
from remit.telemetry.work import ObservedTools, ObservedVerifier, watch_turns
from remit.toolsets.agent import agent_tools
from remit.toolsets.web.tools import web_offer
from remit.verifiers.command import CommandVerifier
from remit.verifiers.composition import Verifiers
from remit.verifiers.rubric import RubricVerifier

SHARED_POLL_SECONDS = 0.2
"""How late a worker sees what another process has made due."""


def assemble(parts: Parts, *, public_url: str | None = None) -> Assembled:
    """Wire the parts. Starts nothing. `public_url` is where pages are served for people, if they are."""
    return Assembled(parts, public_url)


class Assembled:
    """A platform put together: every part by its name, made once, when the first other part needs it. Run `worker.run()` to
    make it live."""

    def __init__(self, parts: Parts, public_url: str | None) -> None:
        self._public_url = public_url
        self._settings = parts.settings
        self._parts = parts
        self._clock, self._ids = parts.clock, parts.ids
        self._observing = Observing(parts.metrics, parts.tracer, parts.clock)
        self._sessions, self._catalog = parts.sessions, parts.catalog
        self._hints = LocalDispatcher()
        self._name = parts.ids.new("worker")
        self._web = web_tools(parts.settings)
        self._credentials = OperatorCredentials(parts.settings.credentials)
        self._bus = ObservedBus(parts.bus, parts.metrics)
        self.asgi = self._api()
        """The API itself."""
        self.edge: ASGIApp = ObservedEdge(self.asgi, self._observing)
        """What is served: the API, observed."""
        self.worker = self._worker()
        """Carries streams of every kind on."""
        self.collection = self._collection()
        """Of what nobody needs: to be run where this process alone owns the stores."""

    # ------------------------------------------------------------------------------------------ what is served

    def _api(self) -> ASGIApp:
        services, public_url = self.services, self._public_url
        metrics = OpenMetricsRoutes if self._settings.metrics_open else MetricsRoutes
        return create_app(
            services,
            metrics(self._render_metrics),
            KeyRoutes(services, public_url=public_url),
            CapRoutes(services, self._caps),
            StopRoutes(services, self._calls),
            ReconcileRoutes(services),
            PreviewRoutes(services, self.held, public_url=public_url),
            Previews(services, self.held),
            GatewayRoutes(services, self._calls),
            ModelRoutes(ModelList(self._router, self._clock)),
            *remit_routes(
                services,
                router=self._router,
                sandboxes=self._parts.sandboxes,
                verifiers=self._verifiers,
                data_folder=self._settings.data,
                find_local_servers=partial(unused_servers, self._settings.openai_base_url),
                probe_credentials=self._credentials.probes,
                attendance=self.attendance,
            ),
            *(make(services) for make in self._parts.more_routes),
        )

    @cached_property
    def kinds(self) -> StreamKinds:
        """Return the kinds of streams."""
        kinds = stream_kinds(self._parts.prices)
        for more in self._parts.more_streams:
            kinds = kinds.with_kind(more.kind)
        return kinds

    @cached_property
    def services(self) -> Services:
        """Return the services through which the routes act."""
        settings = self._settings
        gates = AdmissionSettings(requests_max=settings.requests_max, readers_max=settings.readers_max)
        return services_of(self.domain, ServerSettings(admission=gates))

    @cached_property
    def domain(self) -> Domain:
        """The rules, on the adapters."""
        return build_domain(
            clock=self._clock,
            ids=self._ids,
            sessions=self._sessions,
            catalog=self._catalog,
            blobs=self._blobs,
            bus=self._bus,
            dispatcher=self._hints,
            prices=self._parts.prices,
            verifiers=self._observed_verifiers,
            kinds=self.kinds,
            harnesses={one.name: one.version for one in self._parts.harnesses},
            default_networking=self._settings.default_networking,
            web=web_offer(self._web),
            find_missing_packages=missing_packages,
        )

    @cached_property
    def attendance(self) -> Attendance:
        """Make the attendance: who stands by which remit."""
        return Attendance(self.services, self._settings.data / "attended")

    async def _render_metrics(self) -> bytes:
        return await self._observing.metrics.render(self._readings)

    @cached_property
    def _readings(self) -> PlatformReadings:
        return PlatformReadings(
            worker=self.worker,
            gateway=self._gateway,
            held=self.held,
            store=self._sessions,
            clock=self._clock,
            gates=self.services.admission.gates,
            queued_writes=self._parts.queued_writes,
            kinds=self.kinds.names,
        )

    # -------------------------------------------------------------------------------------------- who works

    def _worker(self) -> Worker:
        return Worker(
            name=self._name,
            store=self._sessions,
            bus=self._bus,
            clock=self._clock,
            hints=self._hints,
            streams_max=self._settings.streams_max,
            poll_seconds=SHARED_POLL_SECONDS if self._parts.is_shared else POLL_SECONDS,
            positions=self._parts.positions,
            handlers=[
                self._session_handler(),
                self._remit_handler(),
                self._deployment_handler(),
                WorkspaceHandler(
                    store=self._sessions,
                    clock=self._clock,
                    calls=self._calls,
                    caps=self._caps,
                    owns_store=not self._parts.is_shared,
                ),
                *(more.handler(self.domain) for more in self._parts.more_streams),
            ],
        )

    def _session_handler(self) -> SessionHandler:
        return SessionHandler(
            store=self._sessions,
            bus=self._bus,
            blobs=self._blobs,
            clock=self._clock,
            ids=self._ids,
            harnesses={one.name: one for one in self._parts.harnesses},
            gateway=self._gateway,
            tools=self.tools,
            sandboxes=self.held,
            evaluation=Evaluation(
                verifiers=self._verifiers,
                sandboxes=self.held,
                blobs=self._blobs,
                heartbeat_seconds=self._parts.evaluation_heartbeat_seconds,
            ),
            removal=self.domain.removal,
            reader_wait_seconds=self._settings.reader_wait_seconds,
            watch=watch_turns(self._observing.tracer),
            is_resting=lambda: self._hints.is_resting,
        )

    @cached_property
    def tools(self) -> ToolSource:
        """All that agents may have."""
        servers = mcp_servers(self._settings, self._credentials, clock=self._clock, ids=self._ids)
        tools = agent_tools(servers, *self._parts.tools, web=self._web)
        return ObservedTools(tools, self._observing)

    def _remit_handler(self) -> RemitHandler:
        return RemitHandler(
            store=self._sessions,
            blobs=self._blobs,
            bus=self._bus,
            dispatcher=self._hints,
            sandboxes=self._parts.sandboxes,
            setup=RemitSetup(
                sandboxes=self._parts.sandboxes,
                blobs=self._blobs,
                clock=self._clock,
                layers=self._setup_layers,
            ),
            judge=RemitVerification(verifiers=self._verifiers, blobs=self._blobs, installer=self._installer),
            forecaster=Forecaster(router=self._router, prices=self._parts.prices, verifiers=self._verifiers),
            sessions=SessionOpener(
                store=self._sessions,
                blobs=self._blobs,
                agents=self.domain.agents,
                environments=self.domain.environments,
                sending=self.domain.sending,
                clock=self._clock,
                ids=self._ids,
            ),
            sending=self.domain.sending,
            clock=self._clock,
            ids=self._ids,
            is_resting=lambda: self._hints.is_resting,
        )

    def _deployment_handler(self) -> DeploymentHandler:
        domain = self.domain
        return DeploymentHandler(
            store=self._sessions,
            bus=self._bus,
            opening=domain.opening,
            agents=domain.agents,
            runs=domain.deployments.runs,
            clock=self._clock,
            ids=self._ids,
            is_resting=lambda: self._hints.is_resting,
        )

    def _collection(self) -> GarbageCollector:
        """Removes what nobody needs: whoever refers to blobs before the blobs."""
        catalog, blobs, clock = self._catalog, self._blobs, self._clock
        sandboxes = self._parts.sandboxes
        collectors: list[Collector] = [
            ExpiredFiles(catalog, blobs, clock),
            OldInputs(catalog, blobs, clock),
            OrphanedFiles(catalog, self.domain.files, clock, self._owners.is_there),
            self._layers,
            blobs,
        ]
        if isinstance(sandboxes, Collector):
            collectors.append(sandboxes)
        return GarbageCollector(collectors, clock)

    # --------------------------------------------------------------------------------------------- models

    @cached_property
    def _router(self) -> ModelRouter:
        settings = self._settings
        return ModelRouter(
            self._parts.models,
            aliases=settings.aliases,
            routes=parse_routes(settings.routes),
            models=parse_models(settings.models),
            default=settings.model,
        )

    @cached_property
    def _gateway(self) -> Gateway:
        return Gateway(
            router=self._router,
            prices=self._parts.prices,
            clock=self._clock,
            ids=self._ids,
            retries=self._parts.retries,
            limits=LimiterSettings.beginning_with(self._settings.model_calls),
            models=parse_models(self._settings.models),
            observe=observe_calls(self._observing),
            caps=self._caps,
        )

    @cached_property
    def _caps(self) -> Caps:
        return Caps(store=self._sessions, clock=self._clock)

    @cached_property
    def _calls(self) -> DirectCalls:
        return DirectCalls(
            gateway=self._gateway, store=self._sessions, clock=self._clock, ids=self._ids, server=self._name
        )

    # ------------------------------------------------------------------------------- verifiers and sandboxes

    @cached_property
    def _verifiers(self) -> Verifiers:
        return Verifiers(self._observed_verifiers)

    @cached_property
    def _observed_verifiers(self) -> dict[str, Verifier]:
        verifiers: Sequence[Verifier] = (
            CommandVerifier(provider=self._parts.sandboxes, blobs=self._blobs, ids=self._ids),
            RubricVerifier(self._gateway, self._blobs, self._settings.model),
            *self._parts.verifiers,
        )
        return {one.type: ObservedVerifier(one, self._observing) for one in verifiers}

    @cached_property
    def held(self) -> SessionSandboxes:
        """The sandboxes of sessions."""
        return SessionSandboxes(
            memory=self.domain.memory_stores,
            provider=self._parts.sandboxes,
            blobs=self._blobs,
            catalog=self._catalog,
            clock=self._clock,
            idle_seconds=self._settings.sandbox_idle_seconds,
            live_max=self._settings.sandboxes_max,
            wake_now=Waker(store=self._sessions, clock=self._clock, hints=self._hints, name=self._name),
            installer=self._installer,
            credentials=self._credentials,
        )

    @cached_property
    def _installer(self) -> PackageInstaller:
        return PackageInstaller(
            provider=self._parts.sandboxes,
            layers=self._layers,
            ids=self._ids,
            pip_index_url=self._settings.pip_index_url,
            npm_registry=self._settings.npm_registry,
        )

    @cached_property
    def _setup_layers(self) -> SetupLayers:
        return SetupLayers(
            provider=self._parts.sandboxes,
            layers=self._layers,
            blobs=self._blobs,
            ids=self._ids,
            pip_index_url=self._settings.pip_index_url,
            npm_registry=self._settings.npm_registry,
        )

    @cached_property
    def _layers(self) -> KeptLayers:
        return KeptLayers(blobs=self._blobs, catalog=self._catalog, clock=self._clock)

    @cached_property
    def _blobs(self) -> OwnedBlobs:
        return OwnedBlobs(self._parts.blobs, self._catalog, self._owners.is_there, self._clock)

    @cached_property
    def _owners(self) -> BlobOwners:
        return BlobOwners(self._sessions, self._catalog, self.kinds)
