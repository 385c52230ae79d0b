"""Memory stores in held sandboxes: laid as folders, and kept the same as their stores while the session works.

A store is written by what is in it, never by what was done: whoever dies between a write and its row, and looks again, finds
both the same and writes nothing. Nothing that cannot be a memory is lost in silence: people and model are told.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from remit.catalog.memory_stores import MemoryBody, MemoryChange, MemoryStores
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.resources import Stored
from remit.catalog.trees import read_tree
from remit.errors import (
    BlobMissing,
    InvalidRequest,
    NotFound,
    PathConflict,
    PreconditionFailed,
    SandboxRefused,
    SandboxUnavailable,
    WrongState,
)
from remit.interfaces import Sandbox, SandboxProvider
from remit.schema.memory_stores import CONTENT_BYTES_MAX, wrong_with_path
from remit.schema.resources import SessionMemoryStore
from remit.session.machine_rows import MemorySynced, SessionMemoryNotKept
from remit.session.memory_merge import Merge, Take, merge, unfit_paths
from remit.sessions.kind import SessionWriter
from remit.sessions.memory import attached_stores
from remit.sessions.outputs import OUTPUTS
from remit.streams.rows import NewRow
from remit.values import JsonObject, SandboxSpec, SharedFolder, Tree, TreeEntry

ROUNDS_MAX = 3
"""Of one look: others may write to the store meanwhile. What is left then is for the next look."""
CONFLICTS = f"{OUTPUTS}/memory-conflicts"
"""Texts of the agent's that the store's took the place of; people find them among the outputs."""
NAMED_MAX = 100
"""In one row."""
STALE = (NotFound, PathConflict, PreconditionFailed, BlobMissing)
"""The store is not any more what was looked at."""

Memories = Mapping[str, Stored[MemoryBody]]
"""By path."""


@dataclass
class MemoryFolder:
    """One store in one sandbox."""

    store: SessionMemoryStore
    agreed: dict[str, str]
    """What store and folder last agreed on: SHA-256 by path."""
    tree_digest: str | None
    told: set[tuple[str, str, str | None]] = field(default_factory=set[tuple[str, str, str | None]])
    """Path, reason and content of what was named already."""

    @property
    def is_writable(self) -> bool:
        return self.store.access == "read_write"


@dataclass
class SandboxMemory:
    """The stores of one sandbox."""

    folders: tuple[MemoryFolder, ...] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def shared(self) -> tuple[SharedFolder, ...]:
        """Return the folders as a sandbox is made with them."""
        return tuple(
            SharedFolder(path=one.store.mount_path, tree_digest=one.tree_digest, is_writable=one.is_writable)
            for one in self.folders
        )

    def digests(self) -> dict[str, str | None]:
        """Return what each began with, for the log."""
        return {one.store.memory_store_id: one.tree_digest for one in self.folders}


@dataclass
class _Look:
    """What one look at a folder came to."""

    agreed: dict[str, str | None] = field(default_factory=dict[str, str | None])
    named: list[JsonObject] = field(default_factory=list[JsonObject])


class MemoryKeeper:
    """Lays and keeps the stores of all sandboxes of this worker."""

    def __init__(self, stores: MemoryStores, blobs: OwnedBlobs) -> None:
        self._stores = stores
        self._blobs = blobs

    async def create(
        self, writer: SessionWriter, provider: SandboxProvider, spec: SandboxSpec
    ) -> tuple[Sandbox, SandboxMemory]:
        """Make a sandbox with the session's stores as they are now. What is changed and redacted while it is made is looked
        at again. Raises SandboxUnavailable, BlobMissing."""
        memory = await self._lay(writer)
        for _ in range(ROUNDS_MAX):
            try:
                return await provider.create(replace(spec, shared=memory.shared())), memory
            except BlobMissing:
                laid, memory = memory, await self._lay(writer)
                if memory.digests() == laid.digests():  # something else is missing
                    raise
        raise SandboxUnavailable("its memory stores are being redacted all the time; try again")

    async def _lay(self, writer: SessionWriter) -> SandboxMemory:
        """A store that was deleted is an empty folder."""
        return SandboxMemory(
            tuple([await self._laid(writer, one) for one in attached_stores(writer.state.created)])
        )

    async def _laid(self, writer: SessionWriter, store: SessionMemoryStore) -> MemoryFolder:
        memories = await self._memories(writer, store) or {}
        tree = _tree(memories)
        digest = await self._blobs.put(writer.principal, writer.stream_id, tree.encode())
        return MemoryFolder(store, _contents(tree), digest)

    async def find(self, writer: SessionWriter) -> SandboxMemory:
        """Return the stores of a sandbox that lives on from before a crash, as far as the log knows them."""
        record = writer.state.sandbox
        digests = (record.memory if record is not None else None) or {}
        folders: list[MemoryFolder] = []
        for store in attached_stores(writer.state.created):
            digest = digests.get(store.memory_store_id)
            agreed: dict[str, str] = {}
            if digest is not None:
                agreed = _contents(await read_tree(self._blobs, digest))
            _agree(agreed, writer.state.memory_agreed.get(store.memory_store_id, {}))
            folders.append(MemoryFolder(store, agreed, None))
        return SandboxMemory(tuple(folders))

    async def sync(self, writer: SessionWriter, sandbox: Sandbox, held: SandboxMemory) -> list[NewRow]:
        """Make each store and its folder the same; returns the rows that say what came of it. Raises SandboxLost."""
        new: list[NewRow] = []
        async with held.lock:
            for one in held.folders:
                look = _Look()
                memories = await self._memories(writer, one.store)
                if memories is None:
                    _name(
                        look, one, "/", "the memory store was deleted: nothing here is kept from now on", None
                    )
                elif one.is_writable:
                    await self._sync_folder(writer, sandbox, one, memories, look)
                else:
                    await self._renew(writer, sandbox, one, memories, look)
                _agree(one.agreed, look.agreed)
                new += _rows(one.store, look)
        return new

    async def _memories(self, writer: SessionWriter, store: SessionMemoryStore) -> Memories | None:
        """None: the store is gone."""
        try:
            found = await self._stores.all_memories(writer.principal, store.memory_store_id)
        except NotFound:
            return None
        return {memory.config.path: memory for memory in found}

    async def _renew(
        self,
        writer: SessionWriter,
        sandbox: Sandbox,
        folder: MemoryFolder,
        memories: Memories,
        look: _Look,
    ) -> None:
        """A folder that is read-only inside has what the store has."""
        _mountable(memories, look, folder)
        encoded = _tree(memories).encode()
        digest = hashlib.sha256(encoded).hexdigest()
        if digest == folder.tree_digest:
            return
        await self._blobs.put(writer.principal, writer.stream_id, encoded)
        try:
            if await sandbox.replace_shared(folder.store.mount_path, digest):
                folder.tree_digest = digest
        except BlobMissing:
            return  # changed once more; the next look has it

    async def _sync_folder(
        self,
        writer: SessionWriter,
        sandbox: Sandbox,
        folder: MemoryFolder,
        memories: Memories,
        look: _Look,
    ) -> None:
        at_work = _Work(self._stores, writer, sandbox, folder, look)
        for _ in range(ROUNDS_MAX):
            await at_work.do_once(memories)
            if not at_work.is_stale:
                return
            memories = await self._memories(writer, folder.store) or {}


class _Work:
    """One look at one writable folder, carried out."""

    def __init__(
        self,
        stores: MemoryStores,
        writer: SessionWriter,
        sandbox: Sandbox,
        folder: MemoryFolder,
        look: _Look,
    ) -> None:
        self._stores = stores
        self._writer = writer
        self._sandbox = sandbox
        self._folder = folder
        self._look = look
        self._memories: Memories = {}
        self.is_stale = False
        """The store changed meanwhile: look again."""

    async def do_once(self, memories: Memories) -> None:
        self.is_stale = False
        self._memories = memories
        try:
            tree = await self._sandbox.tree(self._folder.store.mount_path)
        except SandboxRefused as error:  # larger than any tree may be
            _name(self._look, self._folder, "/", error.message, None)
            return
        unfit = self._unfit(tree)
        agreed = dict(self._folder.agreed)
        _agree(agreed, self._look.agreed)
        files = {f"/{one.path}": one.sha256 for one in tree.entries if one.kind == "file" and one.sha256}
        store = _mountable(memories, self._look, self._folder)
        leaving = {path for path in (*agreed, *files, *store) if not unfit.isdisjoint(_with_folders(path))}
        if tree.left_out_more:  # nobody knows what they are, so nothing is taken for deleted
            leaving |= agreed.keys() - files.keys()
        merged = merge(agreed, files, store, leaving=leaving)
        self._look.agreed |= merged.agreed
        await self._write(merged)
        for take in merged.takes:
            await self._take(take)

    def _unfit(self, tree: Tree) -> set[str]:
        """Name what is there and cannot be a memory; what was below it is left as it is."""
        there = {one.path for one in tree.entries}
        reasons: dict[str, tuple[str, str | None]] = {
            f"/{one.path.rstrip('/')}": (one.why, None) for one in tree.left_out if one.path not in there
        }
        if tree.left_out_more:
            reasons["/…"] = (f"and {tree.left_out_more:,} more", None)
        for entry in tree.entries:
            path = f"/{entry.path}"
            if entry.kind == "symlink":
                reasons[path] = ("a symbolic link", entry.target)
            elif entry.kind == "file":
                wrong = wrong_with_path(path) or _wrong_with_size(entry.size)
                if wrong is not None:
                    reasons[path] = (wrong, entry.sha256)
        for path, (why, content) in reasons.items():
            _name(self._look, self._folder, path, why, content)
        return set(reasons)

    async def _write(self, merged: Merge) -> None:
        """The folder's changes, to the store."""
        self._writer.require_lease()
        stores, principal = self._stores, self._writer.principal
        store_id, session_id = self._folder.store.memory_store_id, self._writer.stream_id
        for remove in merged.removes:
            try:
                await stores.remove(
                    principal,
                    store_id,
                    self._memories[remove.path].id,
                    expected_sha256=remove.before,
                    session_id=session_id,
                )
                self._look.agreed[remove.path] = None
            except STALE:
                self.is_stale = True
        for rename in merged.renames:
            change = MemoryChange(path=rename.path, expected_sha256=rename.sha256)
            memory_id = self._memories[rename.before_path].id
            try:
                await stores.change(principal, store_id, memory_id, change, session_id=session_id)
                self._look.agreed |= {rename.before_path: None, rename.path: rename.sha256}
            except STALE:
                self.is_stale = True
            except (InvalidRequest, WrongState) as error:
                _name(self._look, self._folder, rename.path, error.message, rename.sha256)
        for write in merged.writes:
            content = await self._read(write.path)
            if content is None:
                continue
            sha256 = hashlib.sha256(content.encode()).hexdigest()
            try:
                if write.before is None:
                    await stores.add(
                        principal, store_id, path=write.path, content=content, session_id=session_id
                    )
                else:
                    change = MemoryChange(content=content, expected_sha256=write.before)
                    memory_id = self._memories[write.path].id
                    await stores.change(principal, store_id, memory_id, change, session_id=session_id)
                self._look.agreed[write.path] = sha256
            except STALE:
                self.is_stale = True
            except (InvalidRequest, WrongState) as error:
                _name(self._look, self._folder, write.path, error.message, write.sha256)

    async def _take(self, take: Take) -> None:
        """The store's change, to the folder."""
        content: bytes | None = None
        if take.sha256 is not None:
            try:
                content = (await self._stores.content(self._memories[take.path])).encode()
            except BlobMissing:
                self.is_stale = True
                return
        kept_at: str | None = None
        if take.is_conflict and take.before is not None:
            kept_at = await self._keep_aside(take.path, take.before)
            if kept_at is None:
                return
        is_done = await self._sandbox.exchange_file(
            self._path(take.path), content, expected_sha256=take.before, epoch=self._writer.epoch
        )
        if not is_done:
            _name(
                self._look,
                self._folder,
                take.path,
                "the store's text has no place: something else is there",
                take.before,
            )
            return
        self._look.agreed[take.path] = take.sha256
        if take.is_conflict:
            _name(self._look, self._folder, take.path, _lost_to(take), take.before, kept_at=kept_at)

    async def _read(self, path: str) -> str | None:
        """A file's text; None where it is none any more, which is said where it is not just gone."""
        try:
            found = await self._sandbox.read_file(
                self._path(path), epoch=self._writer.epoch, limit=CONTENT_BYTES_MAX
            )
        except SandboxRefused:
            return None
        digest = hashlib.sha256(found.content).hexdigest()
        if (wrong := _wrong_with_size(found.size)) is not None:
            _name(self._look, self._folder, path, wrong, digest)
            return None
        try:
            return found.content.decode()
        except UnicodeDecodeError:
            _name(self._look, self._folder, path, "is not UTF-8 text", digest)
            return None

    async def _keep_aside(self, path: str, sha256: str) -> str | None:
        """Where the text is among the outputs, under a name that says which it is; None where it cannot be kept, so that it
        stays where it is."""
        try:
            found = await self._sandbox.read_file(
                self._path(path), epoch=self._writer.epoch, limit=CONTENT_BYTES_MAX
            )
            slug = self._folder.store.mount_path.rpartition("/")[2]
            name = path.rpartition("/")[2].encode()[:200].decode(errors="ignore")
            kept_at = f"{CONFLICTS}/{slug}/{sha256[:8]}-{name}"
            await self._sandbox.write_file(kept_at, found.content, epoch=self._writer.epoch)
        except SandboxRefused as error:
            _name(self._look, self._folder, path, f"its text could not be kept: {error.message}", sha256)
            return None
        return kept_at

    def _path(self, path: str) -> str:
        return f"{self._folder.store.mount_path}{path}"


def _tree(memories: Memories) -> Tree:
    """Those that can be files of one folder."""
    unfit = unfit_paths(memories)
    entries = [
        TreeEntry(
            path=path[1:],
            kind="file",
            size=memory.config.size_bytes,
            mtime_ns=memory.row.updated_at_us * 1_000,
            sha256=memory.config.sha256,
        )
        for path, memory in memories.items()
        if path not in unfit
    ]
    return Tree(entries=tuple(sorted(entries, key=lambda entry: entry.path)))


def _mountable(memories: Memories, look: _Look, folder: MemoryFolder) -> dict[str, str]:
    """What of a store stands in its folder; the rest is named."""
    unfit = unfit_paths(memories)
    for path, why in unfit.items():
        _name(look, folder, path, f"is a memory that cannot be a file here: {why}", None)
    return {path: memory.config.sha256 for path, memory in memories.items() if path not in unfit}


def _with_folders(path: str) -> list[str]:
    """The path, and all folders above it."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]


def _contents(tree: Tree) -> dict[str, str]:
    return {f"/{entry.path}": entry.sha256 for entry in tree.entries if entry.sha256 is not None}


def _agree(agreed: dict[str, str], changes: Mapping[str, str | None]) -> None:
    for path, sha256 in changes.items():
        if sha256 is None:
            agreed.pop(path, None)
        else:
            agreed[path] = sha256


def _wrong_with_size(size_bytes: int) -> str | None:
    if size_bytes <= CONTENT_BYTES_MAX:
        return None
    return f"has {size_bytes:,} bytes, and a memory at most {CONTENT_BYTES_MAX:,}"


def _lost_to(take: Take) -> str:
    if take.sha256 is None:
        return "somebody else deleted it meanwhile, which holds"
    if take.before is None:
        return "somebody else changed it meanwhile, so it was not deleted"
    return "somebody else changed it meanwhile, and their text holds"


def _name(
    look: _Look, folder: MemoryFolder, path: str, why: str, content: str | None, *, kept_at: str | None = None
) -> None:
    """Once for the same file and reason."""
    if (path, why, content) in folder.told:
        return
    folder.told.add((path, why, content))
    named: JsonObject = {"path": path, "why": why}
    look.named.append(named if kept_at is None else {**named, "kept_at": kept_at})


def _rows(store: SessionMemoryStore, look: _Look) -> Sequence[NewRow]:
    new: list[NewRow] = []
    if look.agreed:
        new.append(MemorySynced(memory_store_id=store.memory_store_id, agreed=dict(look.agreed)))
    if look.named:
        named = look.named[:NAMED_MAX]
        new.append(
            SessionMemoryNotKept(
                memory_store_id=store.memory_store_id,
                mount_path=store.mount_path,
                files=named,
                more=len(look.named) - len(named),
            )
        )
    return new
