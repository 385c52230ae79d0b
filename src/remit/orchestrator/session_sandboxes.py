"""The sandboxes this worker holds for its sessions: made when a tool first needs one, snapshotted off the turn's path,
released when idle, replaced and announced when lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast
from weakref import WeakValueDictionary

from remit.catalog.environment_config import packages_of
from remit.catalog.memory_stores import MemoryStores
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.trees import read_tree
from remit.clock import Clock
from remit.errors import PackagesNotInstalled, SandboxLost, SandboxUnavailable
from remit.interfaces import Catalog, CredentialSource, Sandbox, SandboxProvider
from remit.orchestrator.kept_layers import Layer
from remit.orchestrator.literal_places import links_outside, place_links
from remit.orchestrator.packages import PackageInstaller, Packages
from remit.orchestrator.sandbox_memory import MemoryKeeper
from remit.orchestrator.sandbox_slots import SandboxSlots
from remit.orchestrator.sandbox_trees import LiveSandbox, SandboxTrees
from remit.orchestrator.surroundings import (
    config_of,
    input_tree_digest,
    mounts_of,
    network_of,
    session_path,
    session_variables,
    toolchains,
)
from remit.session.machine_rows import (
    PackagesInstalled,
    PackagesInstalling,
    SandboxReleased,
    SandboxStarted,
    SessionSandboxLost,
)
from remit.session.rows import WaitBegan
from remit.session.state import SessionState
from remit.sessions.kind import SessionWriter
from remit.sessions.resources import uploads_tree
from remit.streams.rows import NewRow
from remit.values import (
    UPLOADS,
    Credential,
    JsonObject,
    JsonValue,
    ReadOnlyTree,
    SandboxSpec,
)

GIVEN_UP_MAX = 1_000
LIVE_MAX = 256
"""Sessions that have a live sandbox at once; one more waits until one that rests has left."""

WakeNow = Callable[[str, str], Awaitable[bool]]
"""Have this workspace's session taken up now, before its turn: it makes room for others. False: it is at work."""


class SessionSandboxes:
    """Keeps at most one sandbox per session."""

    def __init__(
        self,
        *,
        provider: SandboxProvider,
        blobs: OwnedBlobs,
        catalog: Catalog,
        clock: Clock,
        idle_seconds: float,
        wake_now: WakeNow,
        memory: MemoryStores,
        live_max: int = LIVE_MAX,
        installer: PackageInstaller | None = None,
        credentials: CredentialSource | None = None,
    ) -> None:
        self.provider = provider
        self._installer = installer
        self._credentials = credentials
        self.idle_seconds = idle_seconds
        self._blobs = blobs
        self._clock = clock
        self._wake_now = wake_now
        self.slots = SandboxSlots(live_max)
        self._held: dict[str, LiveSandbox] = {}
        self._dropped = asyncio.Event()
        self._starting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._given_up: dict[str, str] = {}
        """Sandboxes of sessions whose lease was lost, by session."""
        self._not_installed: dict[str, str] = {}
        """Sessions whose packages could not be installed in this turn, with why."""
        self._trees = SandboxTrees(blobs, catalog, clock)
        self._memory = MemoryKeeper(memory, blobs)

    def get(self, session_id: str) -> Sandbox | None:
        """The live sandbox, if this worker has one."""
        held = self._held.get(session_id)
        return held.sandbox if held is not None else None

    @property
    def count(self) -> int:
        """Return how many sessions have a live sandbox here."""
        return len(self._held)

    def use(self, session_id: str) -> Sandbox | None:
        """See `interfaces.LiveSandboxes`."""
        held = self._held.get(session_id)
        if held is None:
            return None
        held.last_used = self._clock.monotonic()
        return held.sandbox

    def idle_at(self, session_id: str) -> float | None:
        """Monotonic time at which the sandbox is due for release; None if there is none."""
        held = self._held.get(session_id)
        if held is None:
            return None
        must_leave = held.is_asked_to_leave or self.slots.waiting > self._leaving()
        return 0.0 if must_leave else held.last_used + self.idle_seconds

    def _leaving(self) -> int:
        return sum(one.is_asked_to_leave for one in self._held.values())

    async def ensure(self, writer: SessionWriter) -> Sandbox:
        """The session's sandbox, made now, or in its turn, if need be. Raises SandboxUnavailable, BlobMissing."""
        held = self._held.get(writer.stream_id)
        if held is None:
            lock = self._starting.setdefault(writer.stream_id, asyncio.Lock())
            async with lock:  # tools that run side by side share one
                held = self._held.get(writer.stream_id) or await self._start_in_turn(writer)
        held.last_used = self._clock.monotonic()
        async with held.uploads_lock:  # several tools ask at once
            if held.resource_ids != tuple(writer.state.resources):
                await self._renew_uploads(
                    writer, held
                )  # where it cannot, the next turn has a sandbox that can
        return held.sandbox

    async def _start_in_turn(self, writer: SessionWriter) -> LiveSandbox:
        workspace_id, session_id = writer.principal.workspace_id, writer.stream_id
        if not self.slots.try_take(session_id):
            await writer.append(
                WaitBegan(
                    what="sandbox",
                    limit=f"the limit of live sandboxes ({self.slots.most})",
                    ahead=self.slots.waiting,
                )
            )
            await self.slots.take(workspace_id, session_id, self._ask_longest_idle_to_leave)
        try:
            return await self._start(writer)
        except BaseException:
            self.slots.give_back(session_id)
            raise

    async def _ask_longest_idle_to_leave(self) -> None:
        """One that rests; those at work leave when they come to rest, for as long as somebody waits."""
        staying = [(one.last_used, id, one) for id, one in self._held.items() if not one.is_asked_to_leave]
        for _, session_id, held in sorted(staying, key=lambda one: one[:2]):
            held.is_asked_to_leave = True
            if await self._wake_now(held.workspace_id, session_id):
                return
            held.is_asked_to_leave = False

    async def _start(self, writer: SessionWriter) -> LiveSandbox:
        state = writer.state
        digest = (
            state.snapshot.tree_digest if state.snapshot is not None else input_tree_digest(state.created)
        )
        await self.install_packages(writer)
        mounts = await self.mounts(writer)
        network = network_of(state)
        credentials = await self.credentials(state)
        image = await self.provider.image(toolchains(state.created))
        sandbox, memory = await self._memory.create(
            writer,
            self.provider,
            SandboxSpec(
                key=f"{writer.stream_id}:{writer.epoch}:{state.seq}",
                epoch=writer.epoch,
                tree_digest=digest,
                outputs_digest=state.outputs_digest,
                mounts=mounts,
                links=links_outside(state.resources),
                environment=session_variables(state),
                path=session_path(state),
                network=network,
                credentials=credentials,
                toolchains=toolchains(state.created),
            ),
        )
        capabilities = self.provider.capabilities()
        try:
            await writer.append(
                SandboxStarted(
                    sandbox_id=sandbox.id,
                    key=sandbox.key,
                    provider=capabilities.provider,
                    isolation=capabilities.isolation,
                    not_held=list(capabilities.missing_walls),
                    image_digest=image.digest,
                    tree_digest=digest,
                    network=network.mode,
                    credentials=[one.name for one in credentials],
                    packages_digest=state.packages_digest,
                    memory=memory.digests(),
                )
            )
            await _place_links(writer, sandbox)
            tree = None if digest is None else await read_tree(self._blobs, digest)
            outputs = await read_tree(self._blobs, state.outputs_digest)
        except BaseException:
            await asyncio.shield(sandbox.destroy())
            raise
        held = LiveSandbox(
            workspace_id=writer.principal.workspace_id,
            sandbox=sandbox,
            mounts=mounts,
            memory=memory,
            tree=tree,
            outputs=outputs,
            resource_ids=tuple(state.resources),
        )
        self._held[writer.stream_id] = held
        return held

    async def mounts(self, writer: SessionWriter) -> tuple[ReadOnlyTree, ...]:
        """Return the read-only trees of the session's sandboxes now, ready to be mounted."""
        uploads = uploads_tree(writer.state.resources)
        if uploads is not None:
            await self._blobs.put(writer.principal, writer.stream_id, uploads.encode())
        return mounts_of(writer.state)

    async def credentials(self, state: SessionState) -> tuple[Credential, ...]:
        """Return the credentials of the sandboxes' requests; none where no proxy stands before the
        network."""
        mode = network_of(state).mode
        if (
            self._credentials is None
            or mode == "none"
            or mode not in self.provider.capabilities().network_modes
        ):
            return ()
        return tuple(
            await self._credentials.credentials(state.workspace_id, state.environment_id, state.session_id)
        )

    async def install_packages(self, writer: SessionWriter) -> None:
        """Install the packages once per session: every sandbox of it, and every verifier's, has the same
        ones. What takes its time is said before. Raises PackagesNotInstalled, and the same again without
        another try until the next turn."""
        packages = packages_of(config_of(writer.state))
        if not packages or writer.state.packages_digest is not None:
            return
        if (said := self._not_installed.get(writer.stream_id)) is not None:
            raise PackagesNotInstalled(said, is_repeated=True)
        try:
            layer = await self._install(writer, packages)
        except SandboxUnavailable as error:
            self._not_installed[writer.stream_id] = error.message
            raise PackagesNotInstalled(error.message) from error
        await writer.append(
            PackagesInstalled(
                tree_digest=layer.tree_digest,
                packages=cast("JsonObject", layer.packages),
                image_digest=layer.image_digest,
                files=layer.files,
                bytes=layer.bytes,
            )
        )

    async def _install(self, writer: SessionWriter, packages: Packages) -> Layer:
        if self._installer is None:
            raise SandboxUnavailable("the environment names packages, and nothing here installs them")
        chains = toolchains(writer.state.created)
        if not await self._installer.has(writer.principal, packages, chains):
            shown: JsonObject = {source: list[JsonValue](names) for source, names in packages.items()}
            await writer.append(PackagesInstalling(packages=shown))
        return await self._installer.layer(writer.principal, writer.stream_id, packages, chains)

    async def sync_memory(self, writer: SessionWriter) -> Sequence[NewRow]:
        """Make the session's memory stores and their folders in its living sandbox the same; returns the rows that say what
        came of it. Raises SandboxLost."""
        held = self._held.get(writer.stream_id)
        return () if held is None else await self._memory.sync(writer, held.sandbox, held.memory)

    async def keep_memory(self, writer: SessionWriter) -> None:
        """Keep the files of memory stores, told in the log. Raises SandboxLost."""
        if new := await self.sync_memory(writer):
            await writer.append(*new)

    async def remount(self, writer: SessionWriter) -> None:
        """Have the session's uploads and memory stores in its living sandbox, where everything goes on. One that cannot take them is let go;
        the next one has them."""
        self._not_installed.pop(writer.stream_id, None)
        held = self._held.get(writer.stream_id)
        if held is None:
            return
        try:
            async with held.uploads_lock:
                has_all = await self._renew_uploads(writer, held)
            await self.keep_memory(writer)
            if not has_all:
                await self.snapshot(writer)
                why = "the files that the session was given cannot be changed in it while it lives"
                await self.announce_loss(writer, SandboxLost(why, code="released"))
        except SandboxLost as loss:
            await self.announce_loss(writer, loss)

    async def _renew_uploads(self, writer: SessionWriter, held: LiveSandbox) -> bool:
        """False where the sandbox cannot take what the session has now."""
        ids = tuple(writer.state.resources)
        if held.resource_ids == ids and held.mounts == mounts_of(writer.state):
            return True
        mounts = await self.mounts(writer)
        if mounts != held.mounts:
            if _fixed(mounts) != _fixed(held.mounts):
                return False
            digest = next((mount.tree_digest for mount in mounts if mount.path == UPLOADS), None)
            if not await held.sandbox.replace_shared(UPLOADS, digest):
                return False
            await _place_links(writer, held.sandbox)
        held.mounts, held.resource_ids = mounts, ids
        return True

    async def attach(self, writer: SessionWriter) -> Sandbox | None:
        """A sandbox that the log knows and that lives on from before a crash."""
        record = writer.state.sandbox
        sandbox = self.get(writer.stream_id)
        if sandbox is not None and (record is None or sandbox.id != record.sandbox_id):
            # Another process had the session meanwhile: the files here are not those that the log tells of.
            await self.drop(writer.stream_id)
            sandbox = None
        if record is None:
            return None
        if sandbox is None and self.provider.capabilities().survives_server:
            sandbox = await self.provider.attach(str(record.key))
            if sandbox is not None:
                held = LiveSandbox(
                    workspace_id=writer.principal.workspace_id,
                    sandbox=sandbox,
                    mounts=mounts_of(writer.state),
                    memory=await self._memory.find(writer),
                    last_used=self._clock.monotonic(),
                )
                self._held[writer.stream_id] = held
                self.slots.adopt(writer.stream_id)
        return sandbox if sandbox is not None and sandbox.id == record.sandbox_id else None

    async def announce_loss(self, writer: SessionWriter, loss: SandboxLost) -> None:
        """Write down what was lost and where the next sandbox will start from."""
        if deferred_rows := self.deferred_rows(writer):
            await writer.buffer(*deferred_rows)
        await self.drop(writer.stream_id)
        state = writer.state
        restored: JsonObject | None = None
        if state.snapshot is not None:
            restored = {"tree_digest": state.snapshot.tree_digest, "taken_at": state.snapshot.taken_at}
        elif (digest := input_tree_digest(state.created)) is not None:
            restored = {"tree_digest": digest, "taken_at": None}
        uses: list[JsonValue] = [use_id for _, use_id in state.changes_since_snapshot]
        await writer.append(
            SessionSandboxLost(
                reason=loss.message,
                cause=loss.code or "died",
                restored_from=restored,
                lost={
                    "tool_use_ids": uses,
                    "shell": True,
                    "processes": True,
                    "services": list[JsonValue](state.services),
                    "left_out": list[JsonValue](
                        state.snapshot.left_out if state.snapshot is not None else ()
                    ),
                },
            )
        )

    async def snapshot(self, writer: SessionWriter) -> str | None:
        """Make the working tree durable and say so in the log; returns the digest. One at a time per session.
        Without a sandbox the last snapshot (or the input) still holds. Raises SandboxLost."""
        held = self._held.get(writer.stream_id)
        if held is not None:
            return await self._trees.keep(writer, held)
        state = writer.state
        return state.snapshot.tree_digest if state.snapshot is not None else input_tree_digest(state.created)

    def deferred_rows(self, writer: SessionWriter) -> Sequence[NewRow]:
        """Return the rows that the next append that begins or ends something takes along, see
        `SandboxTrees.unsaid`."""
        held = self._held.get(writer.stream_id)
        return () if held is None else self._trees.deferred_rows(writer, held)

    async def release(self, writer: SessionWriter) -> None:
        """Snapshot, then let the sandbox go."""
        try:
            await self.keep_memory(writer)
            digest = await self.snapshot(writer)
        except SandboxLost as error:
            await self.announce_loss(writer, error)
            return
        sandbox = self.get(writer.stream_id)
        if sandbox is None:
            return
        last = writer.state.snapshot
        has_services = writer.state.services and writer.state.parent_stream_id is None
        if has_services or (last is not None and last.left_out):
            released = SandboxLost("it was released while nothing ran", code="released")
            await self.announce_loss(writer, released)
            return
        await writer.append(
            *self.deferred_rows(writer),
            SandboxReleased(sandbox_id=sandbox.id, tree_digest=digest),
        )
        await self.drop(writer.stream_id)

    async def hand_over(self, writer: SessionWriter) -> None:
        """Hand the session over in the middle of a turn, by a process that is about to leave: keep the files,
        let the sandbox go, and say what went with it."""
        try:
            await self.keep_memory(writer)
            await self.snapshot(writer)
            ended = SandboxLost("its server handed the work over to another process", code="handed_over")
        except SandboxLost as error:
            ended = error
        if self.get(writer.stream_id) is not None:
            await self.announce_loss(writer, ended)

    async def let_go(self) -> None:
        """Have the sandboxes of sessions that rest keep their files and leave; returns when they have."""
        leaving: set[str] = set()
        for session_id, held in list(self._held.items()):
            held.is_asked_to_leave = True
            if await self._wake_now(held.workspace_id, session_id):
                leaving.add(session_id)
        while leaving & self._held.keys():
            self._dropped.clear()
            await self._dropped.wait()

    async def drop(self, session_id: str) -> None:
        """Destroy without a word (lost, deleted, or another worker owns the session)."""
        self._not_installed.pop(session_id, None)
        held = self._held.pop(session_id, None)
        if held is not None:
            try:
                await held.sandbox.destroy()
            finally:
                self.slots.give_back(session_id)
                self._dropped.set()

    async def give_up(self, session_id: str) -> None:
        """Destroy it since another worker owns the session, or this one does again, under another lease."""
        if (held := self._held.get(session_id)) is not None:
            self._given_up = {**dict([*self._given_up.items()][-GIVEN_UP_MAX:]), session_id: held.sandbox.id}
        await self.drop(session_id)

    def why_gone(self, writer: SessionWriter) -> SandboxLost:
        """Tell why a sandbox that the log knows of is not here."""
        record, given_up = writer.state.sandbox, self._given_up.pop(writer.stream_id, None)
        if record is not None and given_up == record.sandbox_id:
            return SandboxLost("its server did not answer for longer than its lease", code="lease_lost")
        return SandboxLost("the server that ran it has ended, or lost its lease", code="server_ended")

    async def close(self, session_ids: Sequence[str] | None = None) -> None:
        """Destroy all; the log's snapshots remain."""
        for session_id in list(self._held) if session_ids is None else session_ids:
            await self.drop(session_id)


async def _place_links(writer: SessionWriter, sandbox: Sandbox) -> None:
    call_id = f"links:{sandbox.id}:{writer.state.seq}"
    await place_links(sandbox, writer.state.resources, call_id=call_id, epoch=writer.epoch)


def _fixed(mounts: Sequence[ReadOnlyTree]) -> list[ReadOnlyTree]:
    """What cannot change while a sandbox lives."""
    return [mount for mount in mounts if mount.path != UPLOADS]
