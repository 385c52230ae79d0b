"""Provider "unsafe-local": execd in a folder of this machine, with no isolation at all.

For `--unsafe-local` and for fast tests. File operations and working directories translate `/workspace`,
`/mnt/session/outputs` and `/mnt/session/uploads` to that folder and stay inside; in shell commands there are no such
mounts: the shell starts in the real folder, whose path is in `$WORKSPACE` (and `$OUTPUTS`, `$UPLOADS`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from remit.catalog.trees import read_tree
from remit.errors import RemitError, SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import BlobReader
from remit.sandboxes.fleet import Fleet, LaunchPlan
from remit.sandboxes.folders import RuntimeFolder
from remit.sandboxes.ground_variables import defaults, fixed
from remit.sandboxes.guest_sandbox import GuestSandbox
from remit.sandboxes.mounts import HOSTED_WORKSPACE, free_links, part_of
from remit.sandboxes.restore import write_tree
from remit.sandboxes.shared import shared_at
from remit.values import (
    GROUND_FILES,
    MEMORY,
    UPLOADS,
    ImageInfo,
    JsonValue,
    Probe,
    ReadOnlyTree,
    SandboxCapabilities,
    SandboxLimits,
    SandboxSpec,
    ShellRequest,
)

START_GUEST = "import sys; sys.path.insert(0, sys.argv[1]); from guest.daemon import main; main(3, 4)"
OPEN_FILES = 4096
_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


class LocalProvider:
    """Implements `interfaces.SandboxProvider` without isolation."""

    def __init__(
        self,
        runtime_dir: Path,
        blobs: BlobReader,
        ids: Ids,
        limits: SandboxLimits | None = None,
        *,
        on_spawner_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._blobs = blobs
        self._ids = ids
        self._limits = limits or SandboxLimits()
        self._fleet = Fleet(
            folder=RuntimeFolder(runtime_dir, ids.new("local")),
            blobs=blobs,
            ids=ids,
            plan=self._plan,
            owner=_nobody,
            disown=_no_owner,
            on_spawner_death=on_spawner_death,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def capabilities(self) -> SandboxCapabilities:
        return SandboxCapabilities(
            provider="unsafe-local",
            isolation="none",
            survives_server=False,
            limits=("file_bytes", "memory_bytes", "disk_bytes", "disk_files", "output_bytes"),
            network_modes=(),
            walls=("output_limit",),
        )

    async def image(self, toolchains: Sequence[str] = ()) -> ImageInfo:
        """See `interfaces.SandboxProvider`. The host itself; the digest tells its programs apart, not their content."""
        folders = _path(toolchains)
        programs = await asyncio.to_thread(_programs, folders)
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        description = f"{system}, Python {platform.python_version()}, unsafe-local: no isolation"
        digest = hashlib.sha256("\n".join([description, *folders, *programs]).encode()).hexdigest()
        return ImageInfo(
            digest=digest, description=description, programs=programs, toolchains=tuple(toolchains)
        )

    async def probe(self) -> Sequence[Probe]:
        try:
            sandbox = await self.create(SandboxSpec(key=self._ids.new("probe"), epoch=0))
            try:
                await sandbox.shell(ShellRequest(call_id="probe", epoch=0, command="true", timeout_seconds=2))
            finally:
                await sandbox.destroy()
        except RemitError as error:
            return [Probe(name="unsafe-local", is_ok=False, detail=error.message)]
        missing = ", ".join(self.capabilities().missing_walls)
        return [
            Probe(name="unsafe-local", is_ok=True, detail="commands run on this machine, unconfined"),
            Probe(name="walls", is_ok=True, detail=f"not held here: {missing}"),
        ]

    async def create(self, spec: SandboxSpec) -> GuestSandbox:
        return await self._fleet.create(spec)

    async def attach(self, key: str) -> GuestSandbox | None:
        return self._fleet.find(key)

    async def close(self) -> None:
        await self._fleet.close()

    async def _plan(self, spec: SandboxSpec, folder: Path, _owner: tuple[int, int] | None) -> LaunchPlan:
        limits = spec.limits or self._limits
        for mount in spec.mounts:
            if mount.path != UPLOADS or spec.ground is not None:
                await self._mount(mount, folder)
        workspace, outputs = (str(folder / name) for name in ("workspace", "outputs"))
        uploads = str(shared_at(folder, UPLOADS))
        home, judge = folder / "home", folder / "judge"
        has_ground = spec.ground is not None
        if spec.ground is not None:
            await asyncio.to_thread(_lay_files, home, judge, spec.ground.files)
        aside = [
            mount.path for mount in spec.mounts if mount.path.startswith("/mnt/") and mount.path != UPLOADS
        ]
        links = free_links(spec.links, ("/workspace", "/mnt/session", HOSTED_WORKSPACE, GROUND_FILES, *aside))
        await asyncio.to_thread(Path(uploads).mkdir, parents=True, exist_ok=True)
        environment: dict[str, JsonValue] = {
            "PATH": ":".join(_path(spec.toolchains)),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "WORKSPACE": workspace,
            "OUTPUTS": outputs,
            "UPLOADS": uploads,
            "MEMORY": str(shared_at(folder, MEMORY)),
            **(defaults(str(home), str(folder / "caches")) if has_ground else {}),
            **spec.environment,
            **(fixed(str(home), bytecode=str(home)) if has_ground else {}),
        }
        if "PYTHONPATH" in spec.environment:
            environment["PYTHONPATH"] = _translated(spec.environment["PYTHONPATH"], folder)
        environment["PATH"] = ":".join(
            [*(_translated(one, folder) for one in spec.path), str(environment["PATH"])]
        )
        return LaunchPlan(
            argv=[
                sys.executable,
                "-I",
                "-S",
                "-c",
                START_GUEST,
                str(Path(__file__).parent),
            ],
            start={
                "environment": environment,
                "home": str(home),
                "caches": [
                    str(shared_at(folder, shared.path)) for shared in spec.shared if shared.is_writable
                ],
                "limits": {
                    "file_bytes": limits.file_bytes,
                    "memory_bytes": limits.memory_bytes,
                    "core_bytes": 1,
                    "open_files": OPEN_FILES,
                },
                "file_bytes_max": limits.file_bytes,
                # Not below the folder: a path of a socket has 107 bytes.
                "sockets": f"/tmp/remit/sockets/{folder.name}",
                "prefixes": [
                    ["/workspace", workspace],
                    [HOSTED_WORKSPACE, workspace],
                    ["/mnt/session/outputs", outputs],
                    [UPLOADS, uploads],
                    [MEMORY, str(shared_at(folder, MEMORY))],
                    [GROUND_FILES, str(judge)],
                    *([path, _translated(path, folder)] for path in aside),
                    *([path, uploads + to.removeprefix(UPLOADS)] for path, to in links.items()),
                ],
                "roots": [workspace, outputs, uploads, str(judge), f"{folder}/mnt", "/tmp"],
                "shell": "/bin/bash",
            },
            limits=limits,
            files_at=str(judge),
            read_only_paths=[mount.path for mount in spec.mounts],
            unrecorded=[mount.path.removeprefix("/workspace/") for mount in spec.mounts],
            mend=lambda said: f"execd did not start: {said or 'it said nothing'}",
        )

    async def _mount(self, mount: ReadOnlyTree, folder: Path) -> None:
        """Nothing can be mounted here: the tree is copied, without write permission."""
        target = Path(_translated(mount.path, folder))
        if mount.path == UPLOADS:
            target = shared_at(folder, UPLOADS)
        elif str(target) == mount.path or ".." in mount.path.split("/"):
            raise SandboxUnavailable(
                f"unsafe-local can put a read-only tree only below /workspace and /mnt: {mount.path!r}"
            )
        tree = await read_tree(self._blobs, mount.tree_digest)
        if mount.part is None:
            await asyncio.to_thread(target.mkdir, parents=True)
            await write_tree(self._blobs, tree, target, None)
        else:
            aside = folder / "part"
            await asyncio.to_thread(aside.mkdir)
            await write_tree(self._blobs, tree, aside, None)
            await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
            await asyncio.to_thread(part_of(mount, aside).rename, target)
            await asyncio.to_thread(shutil.rmtree, aside)
        await asyncio.to_thread(_take_write_permission, target)
        for name in mount.scratch:
            await asyncio.to_thread((target / name).chmod, 0o755)


def _lay_files(home: Path, judge: Path, files: Mapping[str, str]) -> None:
    """Without write permission, which is no wall: nothing is one here."""
    for folder in (home, judge):
        folder.mkdir()
    for name, text in files.items():
        (judge / name).write_text(text)
    for folder in (home, judge):
        _take_write_permission(folder)


def _take_write_permission(top: Path) -> None:
    for path in [*sorted(top.rglob("*"), reverse=True), top]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o555)


def _translated(paths: str, folder: Path) -> str:
    """The folders of a search path where they stand here; others stay as they are."""
    return ":".join(
        f"{folder}/{path[1:]}" if path == "/workspace" or path.startswith(("/workspace/", "/mnt/")) else path
        for path in paths.split(":")
    )


def _path(toolchains: Sequence[str]) -> list[str]:
    return [
        *(f"{toolchain}/bin" for toolchain in toolchains),
        str(Path(sys.executable).parent),
        *_SYSTEM_PATH,
    ]


def _programs(folders: Sequence[str]) -> tuple[str, ...]:
    names: set[str] = set()
    for folder in folders:
        if os.path.isdir(folder):
            names.update(entry.name for entry in os.scandir(folder) if os.access(entry.path, os.X_OK))
    return tuple(sorted(names))


def _nobody() -> tuple[int, int] | None:
    return None


def _no_owner(_owner: tuple[int, int]) -> None:
    raise AssertionError("an unsafe-local sandbox has no user of its own")
