"""`/v1/doctor`: what works on this machine, tried rather than assumed, and the mend of what does not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import anyio
from anyio import to_thread

from remit.catalog.web_settings import offer_mend
from remit.errors import RemitError
from remit.gateway.routing import ModelRouter
from remit.interfaces import SandboxProvider
from remit.schema import inspection
from remit.schema.operation import NoQuery
from remit.schema.tools import WEB_TOOLS
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.values import Principal, Probe, Resource
from remit.wording import listed

FREE_BYTES_MIN = 1 << 30
MODELS_NAMED_MAX = 5
LEFTOVER_SECONDS = 2 * 86_400
"""Blobs that nobody needs are collected some hours after they are a day old."""
SANDBOXES_KEPT_SECONDS = 10.0
PROBE_KIND = "doctor_probe"
PROBE_BODY = b'{"written_by":"remit doctor"}'

FindLocalServers = Callable[[], Awaitable[Sequence[str]]]
"""Model servers that answer on loopback, each in words."""


ProbeCredentials = Callable[[], Sequence[Probe]]
"""Whether each credential of the operator's can be read."""


def no_credentials() -> Sequence[Probe]:
    """Return no probes: for platforms whose operator names no credentials."""
    return ()


async def no_local_servers() -> Sequence[str]:
    """Return no servers: for platforms where nobody looks for any."""
    return ()


@dataclass(frozen=True)
class _Round:
    """What was found, and when looking for it began."""

    began: float
    probes: Sequence[Probe]


class DoctorRoutes:
    """One probe after the other; none of them is allowed to fail the answer.

    Probes make sandboxes and look at every blob: those who ask while one round is made share the next, and what sandboxes
    say holds for some seconds.
    """

    def __init__(
        self,
        services: Services,
        *,
        sandboxes: SandboxProvider,
        router: ModelRouter,
        data_folder: Path | None,
        find_local_servers: FindLocalServers,
        probe_credentials: ProbeCredentials,
    ) -> None:
        self._services = services
        self._sandboxes = sandboxes
        self._router = router
        self._data_folder = data_folder
        self._find_local_servers = find_local_servers
        self._probe_credentials = probe_credentials
        self._lock = anyio.Lock()
        self._rounds: dict[str, _Round] = {}
        """The last one of each workspace."""
        self._of_sandboxes: _Round | None = None

    @handles(inspection.DOCTOR)
    async def doctor(self, call: Call[None, NoQuery]) -> inspection.Doctor:
        """Probe the platform. For an operator alone: it names folders of the machine."""
        principal = call.principal
        asked = monotonic()
        async with self._lock:
            last = self._rounds.get(principal.workspace_id)
            if last is None or last.began < asked:
                last = _Round(monotonic(), await self._probe_all(principal))
                self._rounds = {principal.workspace_id: last}
        probes = last.probes
        return {
            "type": "doctor",
            "ok": all(p.is_ok for p in probes),
            "probes": [{"name": p.name, "ok": p.is_ok, "detail": p.detail, "mend": p.mend} for p in probes],
        }

    async def _probe_all(self, principal: Principal) -> Sequence[Probe]:
        sandboxes = self._of_sandboxes
        if sandboxes is None or sandboxes.began < monotonic() - SANDBOXES_KEPT_SECONDS:
            sandboxes = self._of_sandboxes = _Round(monotonic(), await self._sandboxes.probe())
        return [
            *sandboxes.probes,
            await self._probe_store(principal),
            *await self._probe_folder(),
            await self._probe_blobs(principal),
            await self._probe_models(),
            self._probe_web(),
            *await self._probe_local_servers(),
            *await to_thread.run_sync(self._probe_credentials),
        ]

    async def _probe_store(self, principal: Principal) -> Probe:
        """Write, read and remove a row in the catalog; ask the logs for what is due."""
        services = self._services
        catalog, began_us = services.catalog, services.clock.now_us()
        resource = Resource(
            workspace_id=principal.workspace_id,
            kind=PROBE_KIND,
            id=services.ids.new("probe"),
            version=1,
            name=None,
            body=PROBE_BODY,
            created_at_us=began_us,
            updated_at_us=began_us,
        )
        mend = "See whether the disk is full or mounted read-only; the server's log has the details."
        try:
            await services.sessions.next_wake_us(services.kinds.names)
            await catalog.create(principal, resource)
            found = await catalog.retrieve(principal, PROBE_KIND, resource.id)
            await catalog.delete(principal, PROBE_KIND, resource.id)
        except RemitError as error:
            return Probe(name="store", is_ok=False, detail=error.message, mend=mend)
        if found.body != PROBE_BODY:
            return Probe(name="store", is_ok=False, detail="reads other bytes than it wrote", mend=mend)
        took_ms = (services.clock.now_us() - began_us) / 1_000
        kinds = ", ".join(services.kinds.names)
        detail = f"wrote, read and removed a row in {took_ms:.1f} ms; keeps streams of these kinds: {kinds}"
        return Probe(name="store", is_ok=True, detail=detail)

    async def _probe_folder(self) -> Sequence[Probe]:
        folder = self._data_folder
        if folder is None:
            return ()
        try:
            await to_thread.run_sync(_write_and_read, folder)
            usage = await to_thread.run_sync(shutil.disk_usage, folder)
        except OSError as error:
            mend = "Give a folder that can be written to, with --data."
            return (Probe(name="data folder", is_ok=False, detail=f"{folder}: {error.strerror}", mend=mend),)
        is_ok = usage.free >= FREE_BYTES_MIN
        detail = f"{folder}: a file is durable; {usage.free >> 20} MiB free"
        mend = None if is_ok else "Make room, or move the data folder with --data."
        return (Probe(name="data folder", is_ok=is_ok, detail=detail, mend=mend),)

    async def _probe_blobs(self, principal: Principal) -> Probe:
        """How much is stored; whether all is there that streams and resources refer to, and nothing else."""
        services = self._services
        try:
            before_us = services.clock.now_us() - LEFTOVER_SECONDS * 1_000_000
            report = await services.blobs.look(touched_before_us=before_us)
            missing = await services.blobs.missing(principal)
        except RemitError as error:
            return Probe(name="blobs", is_ok=False, detail="cannot be looked at", mend=error.message)
        detail = f"{report.count:,} blobs, {report.size_bytes >> 20:,} MiB"
        if missing:
            first = missing[0]
            return Probe(
                name="blobs",
                is_ok=False,
                detail=f"{detail}; {len(missing):,} that are needed are missing: {first.owner_id} needs {first.digest}",
                mend="Put the folder `blobs` back from a backup that is as old as the databases, or newer.",
            )
        if report.leftovers:
            size_bytes = sum(blob.size_bytes for blob in report.leftovers)
            return Probe(
                name="blobs",
                is_ok=False,
                detail=f"{detail}; nobody has needed {len(report.leftovers):,} of them ({size_bytes >> 20:,} MiB) for two days",
                mend="They are removed ten seconds after a start and every six hours; if they stay, please report it.",
            )
        return Probe(name="blobs", is_ok=True, detail=f"{detail}; all that is needed is there")

    async def _probe_models(self) -> Probe:
        try:
            model = await self._router.default_model()
            models = await self._router.models()
        except RemitError as error:
            return Probe(name="models", is_ok=False, detail="no model can be called", mend=error.message)
        others = [info.id for info in models if info.id != model]
        detail = f"{model} by default"
        if others:
            detail += f"; also {listed(others, MODELS_NAMED_MAX)}"
        return Probe(name="models", is_ok=True, detail=detail)

    def _probe_web(self) -> Probe:
        offered = sorted(self._services.agents.web.tools)
        lacking = [name for name in WEB_TOOLS if name not in offered]
        detail = f"agents have {' and '.join(offered)}" if offered else "agents have none"
        mends = " ".join(f"{name} is not offered. {offer_mend(name)}" for name in lacking)
        return Probe(name="web tools", is_ok=True, detail=f"{detail}. {mends}".strip() if lacking else detail)

    async def _probe_local_servers(self) -> Sequence[Probe]:
        servers = await self._find_local_servers()
        if not servers:
            return ()
        return (Probe(name="model servers", is_ok=True, detail="; ".join(servers)),)


def _write_and_read(folder: Path) -> None:
    """Raises OSError unless a file of this folder can be written, made durable and read again."""
    with tempfile.TemporaryFile(dir=folder, prefix=".doctor-") as file:
        file.write(PROBE_BODY)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        if file.read() != PROBE_BODY:
            raise OSError(0, "reads other bytes than it wrote")
