"""All operations of docs/api.md, put together."""

from __future__ import annotations

from pathlib import Path

from remit.gateway.routing import ModelRouter
from remit.interfaces import SandboxProvider
from remit.remits.creation import RemitCreation
from remit.remits.forecaster import Forecaster
from remit.remits.inputs import INPUT_BYTES_MAX, Inputs
from remit.server.operations.services import Services
from remit.server.routes.attendance import Attendance
from remit.server.routes.doctor import (
    DoctorRoutes,
    FindLocalServers,
    ProbeCredentials,
    no_credentials,
    no_local_servers,
)
from remit.server.routes.remits import RemitRoutes
from remit.verifiers.composition import Verifiers


def remit_routes(
    services: Services,
    *,
    router: ModelRouter,
    sandboxes: SandboxProvider,
    verifiers: Verifiers,
    data_folder: Path | None = None,
    find_local_servers: FindLocalServers = no_local_servers,
    probe_credentials: ProbeCredentials = no_credentials,
    input_bytes_max: int = INPUT_BYTES_MAX,
    attendance: Attendance | None = None,
) -> list[object]:
    """Make the objects that answer the operations of remits."""
    creation = RemitCreation(
        remits=services.remits,
        catalog=services.catalog,
        blobs=services.blobs,
        agents=services.agents,
        environments=services.environments,
        harnesses=services.agents.harnesses,
        router=router,
        forecaster=Forecaster(router=router, prices=services.prices, verifiers=verifiers),
        verifiers=verifiers,
        clock=services.clock,
        ids=services.ids,
    )
    remits = RemitRoutes(
        services,
        creation=creation,
        inputs=Inputs(
            catalog=services.catalog,
            blobs=services.blobs,
            clock=services.clock,
            ids=services.ids,
            input_bytes_max=input_bytes_max,
        ),
        verifiers=verifiers,
        attendance=attendance or Attendance(services),
    )
    doctor = DoctorRoutes(
        services,
        sandboxes=sandboxes,
        router=router,
        data_folder=data_folder,
        find_local_servers=find_local_servers,
        probe_credentials=probe_credentials,
    )
    return [remits, doctor]
