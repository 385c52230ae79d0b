"""The live sandboxes of one provider: made once per key, started through the spawner, removed with their folders."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec
import structlog

from remit.catalog.trees import read_tree
from remit.errors import SandboxLost, SandboxRefused, SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import BlobReader, Egress
from remit.sandboxes.cgroups import Cgroup, Cgroups
from remit.sandboxes.connection import GuestConnection
from remit.sandboxes.folders import RuntimeFolder, remove_tree
from remit.sandboxes.guest_sandbox import GuestSandbox
from remit.sandboxes.load_adjusted import load_adjusted
from remit.sandboxes.recorder import TreeRecorder
from remit.sandboxes.restore import without, write_tree
from remit.sandboxes.shared import lay_shared, replace_files, shared_at, shared_folders
from remit.sandboxes.socket_channel import SocketChannel, channel_pair
from remit.sandboxes.spawner import Spawner, control_pair
from remit.sandboxes.threads import take, to_its_end
from remit.values import GROUND_FILES, JsonObject, JsonValue, NetworkPolicy, SandboxLimits, SandboxSpec

_log = structlog.get_logger()

PROXY_PORT = 3128
"""Where the way out listens, on the sandbox's own loopback."""
CREATE_SECONDS = 5.0
"""From the launch to the daemon's first answer on an idle machine; restoring the tree is not counted."""
MADE_AT_ONCE = 8
"""More would share the cores until none came up in time; each may hold a batch of files in memory."""
_COMPLAINT_BYTES_MAX = 4096


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan to start one sandbox."""

    argv: Sequence[str]
    start: JsonObject
    """What execd is told first."""
    limits: SandboxLimits
    environment: Mapping[str, str] = {}
    descriptors: Sequence[int] = ()
    """Given to the program as 5, 6, … and closed here afterwards."""
    memory_files_bytes: int = 0
    """What its file systems in memory may hold."""
    read_only_paths: Sequence[str] = ()
    network: NetworkPolicy = NetworkPolicy()
    """What the sandbox reaches through the egress proxy; with `none` it has no listener."""
    uid: int | None = None
    gid: int | None = None
    files_at: str = GROUND_FILES
    """Where programs find the files of the ground."""
    unrecorded: Sequence[str] = ()
    """What stands in the folder of the working tree and is no part of it."""
    seconds_more: float = 0.0
    """What its start may take longer than others'."""
    mend: Callable[[str], str]
    """What to do when it does not come up, from what it said."""


class Fleet:
    """Makes, finds and ends sandboxes; `plan` knows how one is launched from its folder."""

    def __init__(
        self,
        *,
        folder: RuntimeFolder,
        blobs: BlobReader,
        ids: Ids,
        plan: Callable[[SandboxSpec, Path, tuple[int, int] | None], Awaitable[LaunchPlan]],
        owner: Callable[[], tuple[int, int] | None],
        disown: Callable[[tuple[int, int]], None],
        egress: Egress | None = None,
        cgroups: Cgroups | None = None,
        on_spawner_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._blobs = blobs
        self._ids = ids
        self._plan = plan
        self._owner = owner
        self._disown = disown
        self._egress = egress
        self._cgroups = cgroups
        self.spawner = Spawner(on_death=on_spawner_death)
        self._live: dict[str, _LiveSandbox] = {}
        self._making_at_once = asyncio.Semaphore(MADE_AT_ONCE)
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, spec: SandboxSpec) -> GuestSandbox:
        """See `interfaces.SandboxProvider.create`."""
        lock = self._making.setdefault(spec.key, asyncio.Lock())
        async with lock:
            live = self._live.get(spec.key)
            if live is not None and not live.is_lost:
                return live.sandbox
            if live is not None:
                await self._leave(live)
            return await self.spawner.outlived(lambda: self._make(spec))

    def find(self, key: str) -> GuestSandbox | None:
        """The live sandbox with this key."""
        live = self._live.get(key)
        return None if live is None or live.is_lost else live.sandbox

    async def close(self) -> None:
        """Destroy all of them, end the spawner, remove the folder."""
        for live in list(self._live.values()):
            await live.sandbox.destroy()
        await self.spawner.close()
        if self._cgroups is not None:
            await asyncio.to_thread(self._cgroups.close)
        await asyncio.to_thread(self._folder.close)

    async def _make(self, spec: SandboxSpec) -> GuestSandbox:
        id = self._ids.new("sbx")
        try:
            own = await asyncio.to_thread(self._folder.open)
            folder = own / id
            owner = await take(self._owner, self._give_back)
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox folder cannot be made: {error}") from error
        cgroup: Cgroup | None = None
        recorder: TreeRecorder | None = None
        try:
            async with self._making_at_once:
                await self._fill(spec, folder, owner)
                plan = await self._plan(spec, folder, owner)
                try:
                    if self._cgroups is not None:
                        cgroup = await asyncio.to_thread(
                            self._cgroups.make, id, plan.limits, memory_files_bytes=plan.memory_files_bytes
                        )
                    if spec.ground is not None:
                        recorder = await _record(folder / "workspace", plan.unrecorded)
                except BaseException:
                    for descriptor in plan.descriptors:
                        os.close(descriptor)
                    raise
                sandbox, ended = await self._launch(id, spec, plan, cgroup, recorder, folder)
        except BaseException:
            await asyncio.shield(self._abandon(id, folder, owner, cgroup, recorder))
            raise
        self._live[spec.key] = _LiveSandbox(sandbox, folder, owner, cgroup, ended)
        return sandbox

    async def _fill(self, spec: SandboxSpec, folder: Path, owner: tuple[int, int] | None) -> None:
        def make() -> None:
            folder.mkdir(mode=0o700)
            if owner is not None:
                # Its user may pass; other people of the machine must not meet what it left (setuid bits, say).
                os.chown(folder, 0, owner[1])
                folder.chmod(0o710)
            for name in ("workspace", "outputs"):
                (folder / name).mkdir(mode=0o755)
                if owner is not None:
                    os.chown(folder / name, *owner)

        await to_its_end(make)
        if spec.tree_digest is not None:
            tree = without(await read_tree(self._blobs, spec.tree_digest), spec.mounts)
            await write_tree(self._blobs, tree, folder / "workspace", owner)
        if spec.outputs_digest is not None:
            outputs = await read_tree(self._blobs, spec.outputs_digest)
            await write_tree(self._blobs, outputs, folder / "outputs", owner)
        for shared in shared_folders(spec):
            await lay_shared(self._blobs, shared, folder, owner)

    async def _launch(
        self,
        id: str,
        spec: SandboxSpec,
        plan: LaunchPlan,
        cgroup: Cgroup | None,
        recorder: TreeRecorder | None,
        folder: Path,
    ) -> tuple[GuestSandbox, asyncio.Future[int]]:
        ours, theirs = control_pair()
        our_channel, their_channel = channel_pair()
        channel = SocketChannel(id, our_channel)
        descriptors = [theirs, their_channel, *plan.descriptors]
        complaints = os.memfd_create("complaints", os.MFD_CLOEXEC)
        try:
            ended = await self.spawner.launch(
                id,
                plan.argv,
                descriptors=descriptors,
                environment=plan.environment,
                uid=plan.uid,
                gid=plan.gid,
                entrance=cgroup.entrance if cgroup is not None else None,
                complaints=complaints,
            )
        except BaseException:
            ours.close()
            channel.close()
            os.close(complaints)
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            connection = await GuestConnection.open(id, ours)
        except BaseException:
            ours.close()
            channel.close()
            os.close(complaints)
            raise
        ended.add_done_callback(lambda _: connection.close())  # whatever still holds the socket
        start: JsonObject = {
            **plan.start,
            "epoch": spec.epoch,
            "read_only": list[JsonValue](plan.read_only_paths),
            "watched": {
                "memory_bytes": plan.limits.memory_bytes,
                "disk_bytes": plan.limits.disk_bytes,
                "disk_files": plan.limits.disk_files,
            },
        }
        has_network = plan.network.mode != "none"
        tag = channel.tag()
        if has_network:
            start["listener"] = {"tag": tag, "port": PROXY_PORT}
        seconds = load_adjusted(CREATE_SECONDS + plan.seconds_more)
        try:
            async with asyncio.timeout(seconds):
                await connection.call("start", start, patience_seconds=seconds)
            if has_network:
                await self._let_out(id, plan.network, channel.take(tag))
        except (SandboxLost, SandboxRefused, TimeoutError) as error:
            connection.close()
            channel.close()
            said = os.pread(complaints, _COMPLAINT_BYTES_MAX, 0).decode("utf-8", "replace").strip()
            said = said or str(error) or f"no answer within {seconds:.1f} s"
            _log.warning("sandbox_did_not_start", sandbox_id=id, said=said)
            raise SandboxUnavailable(plan.mend(said)) from error
        except BaseException:
            connection.close()
            channel.close()
            raise
        finally:
            os.close(complaints)

        read_only = {shared.path for shared in shared_folders(spec) if not shared.is_writable}

        async def replace_shared(path: str, digest: str | None) -> bool:
            if path in read_only:
                await replace_files(self._blobs, digest, shared_at(folder, path))
            return path in read_only

        sandbox = GuestSandbox(
            replace_shared=replace_shared,
            id=id,
            key=spec.key,
            connection=connection,
            channel=channel,
            output_bytes_max=plan.limits.output_bytes,
            read_only_paths=plan.read_only_paths,
            cgroup=cgroup,
            recorder=recorder,
            files_at=plan.files_at,
            destroy=self._destroy,
            take_uses=lambda: () if self._egress is None else self._egress.take_uses(id),
        )
        return sandbox, ended

    async def _let_out(self, id: str, policy: NetworkPolicy, listener: socket.socket) -> None:
        if self._egress is None:
            listener.close()
            raise SandboxUnavailable("this sandbox provider was made without a way out: no network")
        await self._egress.open(id, policy, listener)

    async def _abandon(
        self,
        id: str,
        folder: Path,
        owner: tuple[int, int] | None,
        cgroup: Cgroup | None,
        recorder: TreeRecorder | None,
    ) -> None:
        if recorder is not None:
            await asyncio.to_thread(recorder.close)
        if self._egress is not None:
            await self._egress.forget(id)
        await self.spawner.end(id)
        if cgroup is not None:
            await asyncio.to_thread(cgroup.remove)
        await asyncio.to_thread(remove_tree, folder)
        self._give_back(owner)

    def _give_back(self, owner: tuple[int, int] | None) -> None:
        if owner is not None:
            self._disown(owner)

    async def _destroy(self, sandbox: GuestSandbox) -> None:
        live = self._live.get(sandbox.key)
        if live is not None and live.sandbox is sandbox:
            await self._leave(live)

    async def _leave(self, live: _LiveSandbox) -> None:
        self._live.pop(live.sandbox.key, None)
        live.sandbox.disconnect()
        await asyncio.shield(
            self._abandon(live.sandbox.id, live.folder, live.owner, live.cgroup, live.sandbox.recorder)
        )


async def _record(folder: Path, unrecorded: Sequence[str]) -> TreeRecorder:
    """A recorder; one that comes after this was cancelled is closed, for it has a thread and watches of the machine's."""
    making = asyncio.create_task(asyncio.to_thread(TreeRecorder, folder, skipped=unrecorded))
    try:
        return await asyncio.shield(making)
    except OSError as error:
        raise SandboxUnavailable(f"the working tree cannot be looked at: {error}") from error
    except asyncio.CancelledError:
        making.add_done_callback(_close_recorder)
        raise


def _close_recorder(made: asyncio.Task[TreeRecorder]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.get_loop().run_in_executor(None, made.result().close)


class _LiveSandbox:
    def __init__(
        self,
        sandbox: GuestSandbox,
        folder: Path,
        owner: tuple[int, int] | None,
        cgroup: Cgroup | None,
        ended: asyncio.Future[int],
    ) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.owner = owner
        self.cgroup = cgroup
        self._ended = ended

    @property
    def is_lost(self) -> bool:
        """Whether its process has ended or can no longer be reached."""
        return self._ended.done() or self.sandbox.is_lost
