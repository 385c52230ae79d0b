"""The trees of held sandboxes made durable: the working tree and what is handed over, as blobs that the session needs,
and the row that says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.files import Files
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.trees import read_tree
from remit.clock import Clock, rfc3339
from remit.errors import SandboxLost, SandboxRefused
from remit.interfaces import Catalog, Sandbox
from remit.orchestrator.sandbox_memory import SandboxMemory
from remit.orchestrator.stored_files import store_changes
from remit.session.machine_rows import CredentialsUsed, ServicesSeen, SnapshotTaken
from remit.sessions.kind import SessionWriter
from remit.sessions.outputs import OUTPUTS, add_outputs, remove_outputs
from remit.streams.rows import NewRow
from remit.values import (
    JsonObject,
    ReadOnlyTree,
    Tree,
)

WORKING_TREE = "/workspace"
SNAPSHOTS_AT_ONCE = 8
"""Of all sessions; each may hold a batch in memory."""
LEFT_OUT_NAMED_MAX = 100
LEFT_OUT_CHARACTERS_MAX = 300
"""Of what is named in a row of the log, and of each path."""
EMPTY_TREE = Tree(entries=())


@dataclass
class LiveSandbox:
    """One live sandbox and what is known of its working tree."""

    workspace_id: str
    sandbox: Sandbox
    mounts: tuple[ReadOnlyTree, ...]
    memory: SandboxMemory = field(default_factory=SandboxMemory)
    resource_ids: tuple[str, ...] = ()
    """Whose files are in it."""
    tree: Tree | None = None
    """The last snapshot's, to spare hashing what did not change."""
    outputs: Tree = EMPTY_TREE
    """The same of what is handed over."""
    taken: SnapshotTaken | None = None
    """The row of the last snapshot of this sandbox, once it is durable."""
    unchanged_seq: int = 0
    """Up to this row the working tree was still as in that snapshot."""
    last_used: float = 0.0
    is_asked_to_leave: bool = False
    """Another session waits for a place, and this one's was woken to make it."""
    snapshot_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    uploads_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class _Stored:
    tree: Tree
    outputs: Tree
    tree_digest: str
    outputs_digest: str
    files: int
    new_bytes: int


class SandboxTrees:
    """Keeps them durable: one at a time for each sandbox, so many of all."""

    def __init__(self, blobs: OwnedBlobs, catalog: Catalog, clock: Clock) -> None:
        self._blobs = blobs
        self._catalog = catalog
        self._clock = clock
        self._places = asyncio.Semaphore(SNAPSHOTS_AT_ONCE)

    async def keep(self, writer: SessionWriter, held: LiveSandbox) -> str:
        """The working tree, durable and told in the log; returns its digest. Raises SandboxLost."""
        async with held.snapshot_lock, self._places:
            await self._look_at_services(writer, held.sandbox)
            await self._tell_of_credentials(writer, held.sandbox)
            covers_seq = writer.state.seq
            last = writer.state.snapshot
            if last is not None and last.covers_seq >= covers_seq:
                return last.tree_digest
            tree = await _tree(held.sandbox, WORKING_TREE, held.tree)
            outputs = await _tree(held.sandbox, OUTPUTS, held.outputs)
            is_same = tree == held.tree and outputs == held.outputs
            if last is not None and is_same and (held.taken or not writer.state.changes_since_snapshot):
                held.unchanged_seq = covers_seq
                return last.tree_digest
            stored = await self._store(writer, held, tree, outputs)
            digest, outputs = stored.tree_digest, stored.outputs
            shown = Files(self._catalog, self._blobs, self._clock, writer.ids)
            before = await read_tree(self._blobs, writer.state.outputs_digest)
            # Before the row: what the log says is handed over can be downloaded.
            unlisted = await add_outputs(
                shown, writer.principal, writer.stream_id, before=before, after=outputs
            )
            held.tree, held.outputs = stored.tree, outputs
            held.taken = None
            left_out = _left_out(stored.tree, outputs)
            taken = SnapshotTaken(
                tree_digest=digest,
                outputs_digest=stored.outputs_digest if outputs.entries else None,
                outputs_unlisted=unlisted,
                sandbox_id=held.sandbox.id,
                covers_seq=covers_seq,
                files=stored.files,
                bytes=stored.new_bytes,
                taken_at=rfc3339(self._clock.now_us()),
                left_out=left_out if left_out else UNSET,
            )
            await writer.append(taken)
            held.taken = taken
            await remove_outputs(shown, writer.principal, writer.stream_id, before=before, after=outputs)
            return digest

    def deferred_rows(self, writer: SessionWriter, held: LiveSandbox) -> Sequence[NewRow]:
        """The row of a snapshot that found the working tree as it was; it costs no append of its own, but goes with the
        next one that begins or ends something."""
        last = writer.state.snapshot
        if held.taken is None or last is None or held.unchanged_seq <= last.covers_seq:
            return ()
        if not writer.state.changes_since_snapshot:
            return ()
        return (replace(held.taken, covers_seq=held.unchanged_seq),)

    async def _store(self, writer: SessionWriter, held: LiveSandbox, tree: Tree, outputs: Tree) -> _Stored:
        """Both trees with all their files as blobs that the session needs."""
        session_id, sandbox = writer.stream_id, held.sandbox
        async with self._blobs.puts(writer.principal, session_id) as puts:
            work = await store_changes(puts, sandbox, WORKING_TREE, tree, held.tree)
            given = await store_changes(puts, sandbox, OUTPUTS, outputs, held.outputs)
            digest, outputs_digest = await puts.put_many([work.tree.encode(), given.tree.encode()])
            files = [
                entry.sha256
                for entry in (*work.tree.entries, *given.tree.entries)
                if entry.sha256 is not None
            ]
            # What the last snapshot of this session had, it refers to already.
            before = (
                {entry.sha256 for tree in (held.tree, held.outputs) if tree for entry in tree.entries}
                if writer.state.snapshot is not None
                else set[str | None]()
            )
            await puts.need(set(files) - before)
            await puts.commit()
        return _Stored(
            tree=work.tree,
            outputs=given.tree,
            tree_digest=digest,
            outputs_digest=outputs_digest,
            files=len(files),
            new_bytes=work.size_bytes + given.size_bytes,
        )

    async def _look_at_services(self, writer: SessionWriter, sandbox: Sandbox) -> None:
        """So that a loss can name what listened."""
        services = await sandbox.services()
        seen: list[JsonObject] = [{"port": one.port, "command": one.command} for one in services]
        if seen != writer.state.services:
            await writer.append(ServicesSeen(services=seen))

    async def _tell_of_credentials(self, writer: SessionWriter, sandbox: Sandbox) -> None:
        """People can read which were used, and where."""
        if uses := sandbox.take_credential_uses():
            await writer.append(CredentialsUsed.of(uses))


def _left_out(*trees: Tree) -> list[JsonObject]:
    """What no snapshot can hold, with the reason: whoever goes on from this one is told that it is gone."""
    shown: list[JsonObject] = [
        {"path": one.path[:LEFT_OUT_CHARACTERS_MAX], "why": one.why}
        for tree in trees
        for one in tree.left_out
    ]
    more = sum(tree.left_out_more for tree in trees) + len(shown[LEFT_OUT_NAMED_MAX:])
    rest: list[JsonObject] = [{"path": "…", "why": f"and {more:,} more"}] if more else []
    return [*shown[:LEFT_OUT_NAMED_MAX], *rest]


async def _tree(sandbox: Sandbox, root: str, previous: Tree | None) -> Tree:
    """What a snapshot has. A tree that is too large for one is as good as lost: nothing else would ever end the turn."""
    try:
        return await sandbox.tree(root, previous)
    except SandboxRefused as error:
        raise SandboxLost(error.message, code="too_large") from error
