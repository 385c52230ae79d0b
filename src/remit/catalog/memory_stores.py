"""Memory stores: texts at paths that outlive a session, with a version for every change. Rules over the catalog; no HTTP.

A memory's row and the version that tells of its change are stored in one transaction, so neither is ever without the
other. The bytes are blobs, which the version refers to: what is redacted loses them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.metadata import merge_metadata
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.resources import ResourceKind, Resources, Selection, Stored
from remit.clock import Clock, rfc3339
from remit.errors import (
    InvalidRequest,
    KeyTaken,
    NotFound,
    ParentFull,
    PathConflict,
    PreconditionFailed,
    WrongState,
)
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.schema.memory_stores import (
    MEMORIES_MAX,
    ApiActor,
    ChangeKind,
    Memory,
    MemoryStore,
    MemoryStoreCreate,
    MemoryStoreUpdate,
    MemoryVersion,
    SessionActor,
    check_content,
    check_path,
    check_store_name,
)
from remit.values import Page, Principal

MEMORIES_PAGE = 500


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that people make of a store."""

    name: str
    description: str = ""
    metadata: dict[str, str] = {}


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The author of a change of a memory: a session's agent, or a key."""

    session_id: str | None = None
    api_key_id: str | None = None

    @classmethod
    def of(cls, principal: Principal, session_id: str | None) -> Actor:
        """Return who acts: the session, where one does."""
        return cls(session_id=session_id) if session_id is not None else cls(api_key_id=principal.actor)

    def to_wire(self) -> SessionActor | ApiActor:
        """Return it as the API shows it."""
        if self.session_id is not None:
            return SessionActor(session_id=self.session_id)
        return ApiActor(api_key_id=self.api_key_id or "")


class MemoryBody(msgspec.Struct, frozen=True, kw_only=True):
    """A memory: where it is, and which version holds its content."""

    path: str
    sha256: str
    size_bytes: int
    version_id: str


class VersionBody(msgspec.Struct, frozen=True, kw_only=True):
    """A change; what a redaction takes away is None."""

    memory_id: str
    operation: ChangeKind
    by: Actor
    path: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    redacted_at_us: int | None = None
    redacted_by: Actor | None = None


def _labels(version: VersionBody) -> dict[str, str]:
    labels = {"memory_id": version.memory_id, "operation": version.operation}
    if version.by.session_id is not None:
        labels["session_id"] = version.by.session_id
    if version.by.api_key_id is not None:
        labels["api_key_id"] = version.by.api_key_id
    return labels


STORE = ResourceKind(
    name="memory store", id_prefix="memstore", config=StoreConfig, archived_code="memory_store_archived"
)
MEMORY = ResourceKind(
    name="memory",
    id_prefix="mem",
    config=MemoryBody,
    unique_key=lambda memory: memory.path,
    parent_kind=STORE.name,
    siblings_max=MEMORIES_MAX,
)
VERSION = ResourceKind(
    name="memory version", id_prefix="memver", config=VersionBody, labels=_labels, parent_kind=STORE.name
)


@dataclass(frozen=True, kw_only=True)
class MemoryChange:
    """A change of a memory; a field of None stays as it is."""

    path: str | None = None
    content: str | None = None
    expected_sha256: str | None = None
    """Of the content before it."""


class MemoryStores:
    """Stores of a workspace, their memories, and the versions of those. Another workspace's raise NotFound."""

    def __init__(self, catalog: Catalog, blobs: OwnedBlobs, clock: Clock, ids: Ids) -> None:
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._stores = Resources(STORE, catalog, clock, ids)
        self._memories = Resources(MEMORY, catalog, clock, ids)
        self._versions = Resources(VERSION, catalog, clock, ids)
        self.retrieve = self._stores.retrieve
        self.usable = self._stores.usable
        self.list = self._stores.list
        self.archive = self._stores.archive

    # ------------------------------------------------------------------------------------------- stores

    async def create(self, principal: Principal, params: MemoryStoreCreate) -> Stored[StoreConfig]:
        """Raises InvalidRequest."""
        check_store_name(params.name)
        config = StoreConfig(
            name=params.name,
            description=params.description or "",
            metadata=merge_metadata({}, params.metadata or {}),
        )
        return await self._stores.create(principal, config)

    async def update(
        self, principal: Principal, store_id: str, params: MemoryStoreUpdate
    ) -> Stored[StoreConfig]:
        """Update a store, for sessions made from now on. Raises NotFound, InvalidRequest, WrongState."""
        if params.name is not None:
            check_store_name(params.name)

        def decide(before: StoreConfig) -> StoreConfig:
            after = replace(before, name=params.name or before.name)
            if params.description is not UNSET:
                after = replace(after, description=params.description or "")
            if params.metadata is not UNSET:
                after = replace(after, metadata=merge_metadata(before.metadata, params.metadata))
            return after

        return await self._stores.change(principal, store_id, decide)

    async def delete(self, principal: Principal, store_id: str) -> None:
        """Remove it with its memories and their versions; their bytes go with the next collection."""
        await self._stores.delete(principal, store_id, with_children=True)

    # ------------------------------------------------------------------------------------------ memories

    async def add(
        self,
        principal: Principal,
        store_id: str,
        *,
        path: str,
        content: str,
        session_id: str | None = None,
    ) -> Stored[MemoryBody]:
        """Make a memory. Raises InvalidRequest, WrongState (the store is archived), PathConflict (the path is taken)."""
        check_path(path, "path")
        encoded = check_content(content, "content")
        await self._stores.usable(principal, store_id)
        memory_id, version_id = self._ids.new(MEMORY.id_prefix), self._ids.new(VERSION.id_prefix)
        empty = MemoryBody(path=path, sha256="", size_bytes=0, version_id=version_id)
        body = _with_content(empty, encoded)
        version = _version(memory_id, "created", body, Actor.of(principal, session_id))
        async with self._blobs.puts(principal, version_id) as puts:
            await puts.put(encoded)
            await puts.commit()
            row = self._versions.made(principal, version, id=version_id, parent_id=store_id).row
            try:
                return await self._memories.create(
                    principal, body, id=memory_id, parent_id=store_id, along=[row]
                )
            except KeyTaken as error:
                raise _path_conflict(path, error) from error
            except ParentFull as error:
                raise InvalidRequest(
                    f"Memory store {store_id!r} has {MEMORIES_MAX} memories, which is the most; delete some first."
                ) from error

    async def memory(self, principal: Principal, store_id: str, memory_id: str) -> Stored[MemoryBody]:
        """Return a memory of this store. Raises NotFound."""
        found = await self._memories.retrieve(principal, memory_id)
        if found.row.parent_id != store_id or found.is_archived:
            raise NotFound(f"No memory {memory_id!r} in memory store {store_id!r}.")
        return found

    async def change(
        self,
        principal: Principal,
        store_id: str,
        memory_id: str,
        change: MemoryChange,
        *,
        session_id: str | None = None,
    ) -> Stored[MemoryBody]:
        """Give a memory other content, another path, or both; nothing happens where both are what they were. Raises
        NotFound, InvalidRequest, WrongState, PathConflict, PreconditionFailed."""
        if change.path is not None:
            check_path(change.path, "path")
        encoded = check_content(change.content, "content") if change.content is not None else None
        await self._stores.usable(principal, store_id)
        by = Actor.of(principal, session_id)

        async def attempt() -> Stored[MemoryBody] | None:
            current = await self.memory(principal, store_id, memory_id)
            _require_content(current, change.expected_sha256)
            after = replace(current.config, path=change.path or current.config.path)
            if encoded is not None:
                after = _with_content(after, encoded)
            if after == current.config:
                return current
            after = replace(after, version_id=self._ids.new(VERSION.id_prefix))
            async with self._blobs.puts(principal, after.version_id) as puts:
                if encoded is not None:
                    await puts.put(encoded)
                else:
                    await puts.need([after.sha256])
                await puts.commit()
                version = _version(memory_id, "modified", after, by)
                made = self._versions.made(principal, version, id=after.version_id, parent_id=store_id)
                try:
                    return await self._memories.replace(principal, current, after, along=[made.row])
                except KeyTaken as error:
                    raise _path_conflict(after.path, error) from error

        return await self._memories.until_done(memory_id, attempt)

    async def remove(
        self,
        principal: Principal,
        store_id: str,
        memory_id: str,
        *,
        expected_sha256: str | None = None,
        session_id: str | None = None,
    ) -> None:
        """Delete a memory, also of an archived store; its versions stay. Raises NotFound, PreconditionFailed."""
        await self._stores.retrieve(principal, store_id)
        by = Actor.of(principal, session_id)

        async def attempt() -> Stored[MemoryBody] | None:
            current = await self.memory(principal, store_id, memory_id)
            _require_content(current, expected_sha256)
            version = VersionBody(memory_id=memory_id, operation="deleted", by=by, path=current.config.path)
            made = self._versions.made(principal, version, parent_id=store_id)
            return await self._memories.put_away(principal, current, along=[made.row])

        await self._memories.until_done(memory_id, attempt)

    async def all_memories(
        self, principal: Principal, store_id: str, *, path_prefix: str | None = None
    ) -> list[Stored[MemoryBody]]:
        """Return every memory of a store, below a prefix where one is given, by path. Raises NotFound."""
        await self._stores.retrieve(principal, store_id)
        selection: Selection = {"parent_id": store_id}
        if path_prefix is not None:
            selection["unique_key_prefix"] = path_prefix
        found: list[Stored[MemoryBody]] = []
        position: tuple[int, str] | None = None
        while True:
            page = Page(limit=MEMORIES_PAGE, position=position, is_ascending=True)
            some = await self._memories.list(principal, page, **selection)
            found += some
            if len(some) < MEMORIES_PAGE:
                return sorted(found, key=lambda memory: memory.config.path)
            position = some[-1].row.created_at_us, some[-1].id

    async def content(self, memory: Stored[MemoryBody]) -> str:
        """Return the memory's text."""
        return (await self._blobs.read(memory.config.sha256)).decode()

    # ------------------------------------------------------------------------------------------ versions

    async def version(self, principal: Principal, store_id: str, version_id: str) -> Stored[VersionBody]:
        """Return a version of this store. Raises NotFound."""
        found = await self._versions.retrieve(principal, version_id)
        if found.row.parent_id != store_id:
            raise NotFound(f"No memory version {version_id!r} in memory store {store_id!r}.")
        return found

    async def versions(
        self,
        principal: Principal,
        store_id: str,
        page: Page,
        *,
        labels: Mapping[str, str],
        created_after_us: int | None = None,
        created_before_us: int | None = None,
    ) -> Sequence[Stored[VersionBody]]:
        """Return versions of all of a store's memories that have these labels. Raises NotFound."""
        await self._stores.retrieve(principal, store_id)
        return await self._versions.list(
            principal,
            page,
            parent_id=store_id,
            labels=labels,
            created_after_us=created_after_us,
            created_before_us=created_before_us,
        )

    async def version_content(self, version: Stored[VersionBody]) -> str | None:
        """Return the text as of a version; None of a deletion, and where it was redacted."""
        digest = version.config.sha256
        return None if digest is None else (await self._blobs.read(digest)).decode()

    async def redact(self, principal: Principal, store_id: str, version_id: str) -> Stored[VersionBody]:
        """Take content, path, size and hash out of a version, for good; twice changes nothing. Raises NotFound; WrongState
        for the version that holds a memory's present content."""
        version = await self.version(principal, store_id, version_id)
        try:
            memory = await self.memory(principal, store_id, version.config.memory_id)
        except NotFound:
            pass  # its memory is deleted, so no version of it is the present one
        else:
            if memory.config.version_id == version_id:
                raise WrongState(
                    f"Memory version {version_id!r} holds the present content of memory {memory.id!r}; change or delete "
                    "the memory first, then redact it."
                )

        def decide(before: VersionBody) -> VersionBody:
            if before.redacted_at_us is not None:
                return before
            return replace(
                before,
                path=None,
                sha256=None,
                size_bytes=None,
                redacted_at_us=self._clock.now_us(),
                redacted_by=Actor.of(principal, None),
            )

        redacted = await self._versions.change(principal, version_id, decide)
        await self._blobs.forget(principal, version_id)
        return redacted


def store_to_wire(store: Stored[StoreConfig]) -> MemoryStore:
    """Return the store as the API shows it."""
    config = store.config
    return {
        "id": store.id,
        "type": "memory_store",
        "name": config.name,
        "description": config.description,
        "metadata": config.metadata,
        **store.stamps(),
    }


def memory_to_wire(memory: Stored[MemoryBody], content: str | None) -> Memory:
    """Return the memory as the API shows it, with its content where that is asked for."""
    stamps = memory.stamps()
    return Memory(
        id=memory.id,
        memory_store_id=memory.row.parent_id or "",
        path=memory.config.path,
        content=content,
        content_sha256=memory.config.sha256,
        content_size_bytes=memory.config.size_bytes,
        memory_version_id=memory.config.version_id,
        created_at=stamps["created_at"],
        updated_at=stamps["updated_at"],
    )


def version_to_wire(version: Stored[VersionBody], content: str | None) -> MemoryVersion:
    """Return the version as the API shows it, with its content where that is asked for."""
    config = version.config
    redacted_at_us, redacted_by = config.redacted_at_us, config.redacted_by
    return {
        "id": version.id,
        "type": "memory_version",
        "memory_store_id": version.row.parent_id or "",
        "memory_id": config.memory_id,
        "operation": config.operation,
        "path": config.path,
        "content": content,
        "content_sha256": config.sha256,
        "content_size_bytes": config.size_bytes,
        "created_by": config.by.to_wire(),
        "created_at": version.stamps()["created_at"],
        "redacted_at": rfc3339(redacted_at_us) if redacted_at_us is not None else None,
        "redacted_by": redacted_by.to_wire() if redacted_by is not None else None,
    }


def _version(memory_id: str, operation: ChangeKind, memory: MemoryBody, by: Actor) -> VersionBody:
    return VersionBody(
        memory_id=memory_id,
        operation=operation,
        by=by,
        path=memory.path,
        sha256=memory.sha256,
        size_bytes=memory.size_bytes,
    )


def _with_content(memory: MemoryBody, encoded: bytes) -> MemoryBody:
    return replace(memory, sha256=hashlib.sha256(encoded).hexdigest(), size_bytes=len(encoded))


def _require_content(memory: Stored[MemoryBody], expected_sha256: str | None) -> None:
    if expected_sha256 is not None and expected_sha256 != memory.config.sha256:
        raise PreconditionFailed(
            f"Memory {memory.id!r} has the content with the SHA-256 {memory.config.sha256}, not {expected_sha256}: it was "
            "changed meanwhile; retrieve it and decide again."
        )


def _path_conflict(path: str, error: KeyTaken) -> PathConflict:
    return PathConflict(
        f"`path`: {path!r} is taken by memory {error.holder_id!r}; update that one, or choose another path.",
        details={"conflicting_memory_id": error.holder_id, "conflicting_path": path},
    )
