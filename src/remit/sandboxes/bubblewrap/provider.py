"""Provider "bubblewrap": namespaces, no capabilities, a system-call filter; the only way out is a proxy's. No daemon and
no root needed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from remit.errors import RemitError, SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import BlobReader, Egress
from remit.sandboxes.bubblewrap import bytecode
from remit.sandboxes.bubblewrap.ground import CACHES, HOME, SECONDS_A_BIND, Laid, lay_ground
from remit.sandboxes.bubblewrap.links import link_arguments
from remit.sandboxes.bubblewrap.places import Places
from remit.sandboxes.bubblewrap.program import (
    ISOLATION,
    SYSTEM_BINDS,
    BwrapTrial,
    find_programs,
    try_program,
    unavailable,
)
from remit.sandboxes.bubblewrap.trusting import JAVA_OPTIONS, trust_binds, trust_variables
from remit.sandboxes.cgroups import Cgroups
from remit.sandboxes.cgroups import mend as cgroup_mend
from remit.sandboxes.fleet import PROXY_PORT, Fleet, LaunchPlan
from remit.sandboxes.folders import RuntimeFolder
from remit.sandboxes.ground_variables import defaults, fixed
from remit.sandboxes.guest_sandbox import GuestSandbox
from remit.sandboxes.image import Image, ImageBuilder
from remit.sandboxes.image_folder import UNUSED_SECONDS, ImageFolder
from remit.sandboxes.load_adjusted import load_adjusted
from remit.sandboxes.mounts import HOSTED_WORKSPACE, MountCache
from remit.sandboxes.seccomp import build_filter
from remit.sandboxes.shared import shared_at, shared_folders
from remit.sandboxes.threads import to_its_end
from remit.sandboxes.toolchain import HOST_NAME, INSIDE, PYTHON
from remit.values import (
    PROBE_HOST,
    UPLOADS,
    WALLS,
    Collected,
    ExecRequest,
    ImageInfo,
    JsonValue,
    NetworkPolicy,
    Probe,
    ReadOnlyTree,
    SandboxCapabilities,
    SandboxLimits,
    SandboxSpec,
    Wall,
)

_log = structlog.get_logger(__name__)

_PROBE_SECONDS = 4.5
"""On an idle machine."""
_OPEN_FILES = 4096
_SCRATCH_BYTES = 64 << 20
_MEMORY_FOLDERS = {"/dev/shm": 64 << 20, "/run": 4 << 20, "/var/tmp": 64 << 20}
"""Besides /tmp, with the bytes that each may hold."""
_HOME = "/tmp/home"
_ELSEWHERE: tuple[Wall, ...] = ("egress", "credentials")
"""What the line of the network tells."""
_SECCOMP_DESCRIPTOR = 5  # 3 is the control socket, 4 the channel
_ARGUMENTS_DESCRIPTOR = 6
_START = f"import sys; sys.path.insert(0, '{INSIDE}'); from guest.daemon import main; main(3, 4)"
_HOST_FILES = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/localtime",
    "/etc/os-release",
    "/etc/services",
    "/etc/protocols",
)
_LIMITS = ("processes", "file_bytes", "memory_bytes", "disk_bytes", "disk_files", "tmp_bytes", "output_bytes")
_WALLS: tuple[Wall, ...] = (
    "environment",
    "files",
    "neighbours",
    "processes",
    "daemon",
    "file_operations",
    "kernel",
    "network",
    "ground",
    "process_limit",
    "output_limit",
    "memory_limit",
    "disk_limit",
    "cleanup",
)
_PROXY = f"http://127.0.0.1:{PROXY_PORT}"
_NOT_PROXIED = "localhost,127.0.0.1,::1"
PROXY_VARIABLES: Mapping[str, str] = {
    **dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), _PROXY
    ),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), _NOT_PROXIED),
    "NODE_USE_ENV_PROXY": "1",
    "JAVA_TOOL_OPTIONS": f"-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={PROXY_PORT} "
    f"-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={PROXY_PORT} -Dhttp.nonProxyHosts=localhost|127.0.0.1",
}
"""What programs read to find the way out. There is no other: no route, no name server."""
_ASK_PROXY = f"exec 3<>/dev/tcp/127.0.0.1/{PROXY_PORT}; printf 'CONNECT {PROBE_HOST}:443 HTTP/1.1\\r\\n\\r\\n' >&3; head -n 1 <&3"
_ETC = ("passwd", "group", "hosts", "nsswitch.conf", "resolv.conf")


class BubblewrapProvider:
    """Implements `interfaces.SandboxProvider` with bubblewrap."""

    def __init__(
        self,
        runtime_dir: Path,
        blobs: BlobReader,
        ids: Ids,
        limits: SandboxLimits | None = None,
        *,
        images_dir: Path | None = None,
        secret_folders: Sequence[Path] = (),
        programs: Sequence[str] | None = None,
        egress: Egress | None = None,
        cgroups: Cgroups | None = None,
        on_spawner_death: Callable[[], None] = lambda: None,
    ) -> None:
        """`images_dir`: where images are made; `secret_folders`: what no toolchain may contain (the data folder);
        `programs`: the bwraps to try, instead of looking for them; `egress`: without it no sandbox has a network;
        `cgroups`: where there are any, the kernel limits memory, processes and processors."""
        self._ids = ids
        self._limits = limits or SandboxLimits()
        self._places = Places(runtime_dir)
        self._image_folder = images = ImageFolder(images_dir or self._places.images)
        self._builder = ImageBuilder(
            images, is_shared=self._places.is_root, secret_folders=[self._places.sandboxes, *secret_folders]
        )
        self._runtime = folder = RuntimeFolder(self._places.sandboxes, ids.new("bwrap"))
        self._mounts = MountCache(folder, blobs, is_shared=self._places.is_root)
        self._fleet = Fleet(
            folder=folder,
            blobs=blobs,
            ids=ids,
            plan=self._plan,
            owner=self._places.take_owner,
            disown=self._places.give_back,
            egress=egress,
            cgroups=cgroups,
            on_spawner_death=on_spawner_death,
        )
        self._cgroups = cgroups
        self._images: dict[tuple[str, ...], Image] = {}
        self._programs = programs
        self._egress = egress
        self._program: str | None = None
        self._preparing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def capabilities(self) -> SandboxCapabilities:
        return SandboxCapabilities(
            provider="bubblewrap",
            isolation="namespaces",
            survives_server=False,
            limits=(*_LIMITS, *(("cpus",) if self._cgroups is not None else ())),
            network_modes=("none",) if self._egress is None else ("none", "limited", "unrestricted"),
            walls=(
                *_WALLS,
                *(("egress", "credentials") if self._egress is not None else ()),
                *(("kernel_memory_limit", "cpu_limit") if self._cgroups is not None else ()),
            ),
        )

    async def image(self, toolchains: Sequence[str] = ()) -> ImageInfo:
        """See `interfaces.SandboxProvider`. Kept for the provider's life: a changed toolchain needs a restart."""
        return (await self._image(tuple(toolchains))).info

    async def probe(self) -> Sequence[Probe]:
        probes: list[Probe] = []
        seconds = load_adjusted(_PROBE_SECONDS)
        try:
            # Made once in the life of an installation, which takes longer than a sandbox may.
            image = await self.image()
            async with asyncio.timeout(seconds):
                probes += _probe_image(image)
                probes.append(await self._probe_sandbox())
                probes.append(await self._probe_network())
                probes.append(self._probe_walls())
        except RemitError as error:
            probes.append(Probe(name="bubblewrap", is_ok=False, detail="no sandbox", mend=error.message))
        except TimeoutError:
            probes.append(
                Probe(
                    name="bubblewrap",
                    is_ok=False,
                    detail=f"no sandbox within {seconds:.1f} s",
                    mend="the machine is overloaded, or a file system hangs; look at `dmesg` and try again",
                )
            )
        probes.append(await asyncio.to_thread(self._probe_images))
        return probes

    async def create(self, spec: SandboxSpec) -> GuestSandbox:
        await self._fleet.spawner.outlived(self._working_program)
        return await self._fleet.create(spec)

    async def attach(self, key: str) -> GuestSandbox | None:
        return self._fleet.find(key)

    async def close(self) -> None:
        await self._fleet.close()
        await asyncio.to_thread(self._image_folder.close)

    async def collect(self) -> Sequence[Collected]:
        """See `interfaces.Collector`."""
        return (
            await asyncio.to_thread(self._image_folder.collect),
            await asyncio.to_thread(self._runtime.collect),
            await asyncio.to_thread(self._places.collect_mounts),
        )

    async def _image(self, toolchains: tuple[str, ...]) -> Image:
        async with self._preparing:
            image = self._images.get(toolchains)
            if image is None:
                image = await asyncio.to_thread(self._builder.build, toolchains)
                self._images[toolchains] = image
            return image

    async def _working_program(self) -> str:
        async with self._preparing:
            if self._program is not None:
                return self._program
            try:
                programs = self._programs
                if programs is None:
                    programs = await asyncio.to_thread(
                        find_programs, self._image_folder, is_shared=self._places.is_root
                    )
                owner = await asyncio.to_thread(self._places.take_owner)
            except OSError as error:
                raise SandboxUnavailable(f"bwrap cannot be prepared: {error}") from error
            trials: list[BwrapTrial] = []
            try:
                for program in programs:
                    trials.append(await try_program(self._fleet.spawner, program, owner))
                    if trials[-1].is_ok:
                        self._program = program
                        return program
            finally:
                if owner is not None:
                    self._places.give_back(owner)
            raise unavailable(trials)

    def _probe_images(self) -> Probe:
        """Blocking."""
        count, size_bytes = self._image_folder.look()
        days = round(UNUSED_SECONDS / 86_400)
        return Probe(
            name="images",
            is_ok=True,
            detail=f"{count} in {self._image_folder.path}, {size_bytes >> 20:,} MiB; unused ones go after {days} days",
        )

    async def _probe_sandbox(self) -> Probe:
        sandbox = await self.create(SandboxSpec(key=self._ids.new("probe"), epoch=0))
        try:
            request = ExecRequest(
                call_id="probe", epoch=0, argv=("python3", "-c", "print('ready')"), timeout_seconds=3
            )
            result = await sandbox.exec(request)
        finally:
            await sandbox.destroy()
        is_ok = result.output == b"ready\n"
        as_whom = "an own user each" if self._places.is_root else "this user"
        return Probe(
            name="bubblewrap",
            is_ok=is_ok,
            detail=f"{self._program}, sandboxes run as {as_whom}" if is_ok else repr(result.output[:500]),
            mend=None if is_ok else f"remove {self._image_folder.path} so that the toolchain is made again",
        )

    async def _probe_network(self) -> Probe:
        """Whether a sandbox finds its proxy, and the proxy refuses what is not allowed."""
        if self._egress is None:
            return Probe(
                name="network", is_ok=True, detail="none: this sandbox provider was made without a way out"
            )
        try:
            policy = NetworkPolicy(mode="limited", allowed_hosts=("allowed.invalid",))
            sandbox = await self.create(SandboxSpec(key=self._ids.new("probe"), epoch=0, network=policy))
            try:
                request = ExecRequest(
                    call_id="probe", epoch=0, argv=("bash", "-c", _ASK_PROXY), timeout_seconds=2
                )
                said = (await sandbox.exec(request)).output
            finally:
                await sandbox.destroy()
        except RemitError as error:
            return Probe(name="network", is_ok=False, detail="no way out", mend=error.message)
        is_ok = said.startswith(b"HTTP/1.1 403 ")
        detail = "modes " + ", ".join(self.capabilities().network_modes) + ", through the egress proxy"
        return Probe(
            name="network",
            is_ok=is_ok,
            detail=detail if is_ok else repr(said[:500]),
            mend=None if is_ok else "look for `egress` in the log of the server, and start it again",
        )

    def _probe_walls(self) -> Probe:
        """What does not hold here, and how it could."""
        missing: list[Wall] = [wall for wall in self.capabilities().missing_walls if wall not in _ELSEWHERE]
        if not missing:
            return Probe(name="walls", is_ok=True, detail="all, with limits of the kernel's (cgroup v2)")
        told = "; ".join(f"{wall}: {WALLS[wall]}" for wall in missing)
        return Probe(
            name="walls", is_ok=True, detail=f"not held here ({told}). To have them, {cgroup_mend()}"
        )

    async def _plan(self, spec: SandboxSpec, folder: Path, owner: tuple[int, int] | None) -> LaunchPlan:
        limits = spec.limits or self._limits
        program = await self._working_program()
        image = await self._image(tuple(spec.toolchains))
        mounts = [
            (mount, await self._mounts.mounted(mount, user=folder))
            for mount in spec.mounts
            if mount.path != UPLOADS or spec.ground is not None
        ]
        laid = None
        if spec.ground is not None:
            passwd = await asyncio.to_thread(Path(image.binds[0].source, "etc/passwd").read_text)
            links = await asyncio.to_thread(bytecode.link_bytecode, self._image_folder, image)
            places = [(mount.path, source) for mount, source in mounts]
            laid = await to_its_end(lay_ground, spec.ground, folder, places, passwd, links, owner)
        environment: dict[str, JsonValue] = {
            "PATH": ":".join((*spec.path, *image.path)),
            "HOME": _HOME,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "USER": "agent",
            # The read-only history belongs to another user; without this git refuses to look at it.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            **(defaults(HOME, CACHES) if laid is not None else {}),
            **spec.environment,
            **(fixed(HOME, bytecode=bytecode.INSIDE) if laid is not None else {}),
            **(PROXY_VARIABLES if spec.network.mode != "none" else {}),
        }
        trusting: list[str] = []
        if self._egress is not None and spec.credentials and spec.network.mode != "none":
            trust = self._egress.bind(folder.name, spec.credentials)  # the folder has the sandbox's name
            environment.update(trust_variables(trust))
            environment["JAVA_TOOL_OPTIONS"] = f"{PROXY_VARIABLES['JAVA_TOOL_OPTIONS']} {JAVA_OPTIONS}"
            trusting = await asyncio.to_thread(trust_binds, folder, trust)
            names = [one.name for one in spec.credentials]
            _log.info("credentials_bound", sandbox_id=folder.name, key=spec.key, credentials=names)
        written = list[JsonValue](shared.path for shared in shared_folders(spec) if shared.is_writable)
        return LaunchPlan(
            argv=_command(program, image, folder, limits, mounts, trusting, laid, spec),
            descriptors=[
                # Not in a thread: who is cancelled meanwhile would not close it.
                _memory_file("seccomp", build_filter()),
                *(
                    []
                    if laid is None
                    else [_memory_file("arguments", b"\0".join(map(os.fsencode, laid.tree)))]
                ),
            ],
            seconds_more=0.0 if laid is None else len(laid.tree) / 3 * SECONDS_A_BIND,
            network=spec.network,
            uid=owner[0] if owner else None,
            gid=owner[1] if owner else None,
            start={
                "environment": environment,
                "home": _HOME if laid is None else HOME,
                "caches": [CACHES] if laid is not None else written,
                "limits": {
                    "processes": limits.processes,
                    "file_bytes": limits.file_bytes,
                    "memory_bytes": limits.memory_bytes,
                    "open_files": _OPEN_FILES,
                    "core_bytes": 1,
                },
                "file_bytes_max": limits.file_bytes,
                "sockets": "/tmp/remit/sockets",
                "prefixes": [],
                "roots": ["/"],
                "shell": "/bin/bash",
            },
            limits=limits,
            memory_files_bytes=limits.tmp_bytes
            + sum(_MEMORY_FOLDERS.values())
            + _SCRATCH_BYTES * sum(len(mount.scratch) for mount in spec.mounts),
            read_only_paths=[mount.path for mount in spec.mounts],
            mend=lambda said: unavailable([BwrapTrial(program, False, said)]).message,
        )


def _command(
    program: str,
    image: Image,
    folder: Path,
    limits: SandboxLimits,
    mounts: Sequence[tuple[ReadOnlyTree, Path]],
    trusting: Sequence[str],
    laid: Laid | None,
    spec: SandboxSpec,
) -> list[str]:
    """The whole command line. The program itself gets an empty environment: PID 1 would show it to everyone inside."""
    argv = [program, "--as-pid-1", *ISOLATION, *SYSTEM_BINDS]
    # Debian keeps there what Java does not start without.
    java = [str(path) for path in sorted(Path("/etc").glob("java-*-openjdk"))]
    for path in (*_HOST_FILES, *java):
        argv += ["--ro-bind-try", path, path]
    for name in _ETC:
        own = laid.passwd if laid is not None and name == "passwd" else f"{image.binds[0].source}/etc/{name}"
        argv += ["--ro-bind", str(own), f"/etc/{name}"]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    argv += ["--ro-bind-try", "/dev/null", "/proc/cmdline"]
    argv += ["--size", str(limits.tmp_bytes), "--tmpfs", "/tmp"]
    for path, size_bytes in _MEMORY_FOLDERS.items():
        argv += ["--size", str(size_bytes), "--tmpfs", path]
    for bind in image.binds:
        argv += ["--ro-bind", bind.source, bind.target]
    argv += ["--bind", str(folder / "workspace"), "/workspace"]
    argv += ["--bind", str(folder / "outputs"), "/mnt/session/outputs"]
    argv += ["--symlink", "/workspace", HOSTED_WORKSPACE, "--dir", UPLOADS]
    taken = (*(bind.target for bind in image.binds), *(mount.path for mount, _ in mounts))
    argv += link_arguments(spec.links, taken)
    if laid is None:
        for shared in shared_folders(spec):
            bind = "--bind" if shared.is_writable else "--ro-bind"
            argv += [bind, str(shared_at(folder, shared.path)), shared.path]
        for mount, source in mounts:
            argv += ["--ro-bind", str(source), mount.path]
    else:
        argv += [*laid.before, "--args", str(_ARGUMENTS_DESCRIPTOR), "--remount-ro", "/proc"]
    for mount, _ in mounts:
        for name in mount.scratch:
            argv += ["--size", str(_SCRATCH_BYTES), "--tmpfs", f"{mount.path}/{name}"]
    argv += trusting
    argv += ["--chdir", "/workspace", "--hostname", HOST_NAME, "--uid", "1000", "--gid", "1000"]
    argv += ["--seccomp", str(_SECCOMP_DESCRIPTOR), "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*argv, "--", PYTHON, "-I", "-S", "-c", _START]


def _probe_image(image: ImageInfo) -> list[Probe]:
    has_git = "git" in image.programs
    detail = "in the image" if has_git else "not in the image: the agent has no history and no diff"
    return [
        Probe(name="image", is_ok=True, detail=image.description),
        Probe(name="git", is_ok=has_git, detail=detail, mend=None if has_git else "apt install git"),
    ]


def _memory_file(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
