"""What is kept beside the logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from remit.values import BlobOwner, BlobReference, KeyRow, Page, Principal, Resource, ResourceFilter


class Catalog(Protocol):
    """Durable keeper of resources, keys and blob references. `kind` and `id` name a resource within a workspace."""

    async def create(
        self,
        principal: Principal,
        resource: Resource,
        *,
        along: Sequence[Resource] = (),
        parent_kind: str | None = None,
        siblings_max: int | None = None,
    ) -> None:
        """Insert version 1; of those `along` as well, all of them or none. Raises Conflict when an id is taken, KeyTaken
        when a unique key is. With `parent_kind` their parents are resources of that kind, which must be there: raises
        NotFound. Of a deletion of the parent at the same moment one comes first: what is inserted goes with it. With
        `siblings_max`, too, no more of the resource's kind than that stand under its parent, archived ones aside, however
        many are created at once: raises ParentFull."""
        ...

    async def retrieve(
        self, principal: Principal, kind: str, id: str, version: int | None = None
    ) -> Resource:
        """The current or the given version. Raises NotFound."""
        ...

    async def update(
        self,
        principal: Principal,
        resource: Resource,
        *,
        expected_version: int,
        is_new_version: bool,
        along: Sequence[Resource] = (),
        parent_kind: str | None = None,
    ) -> None:
        """Replace the current row if its version is `expected_version` (else Conflict), it is not archived (else
        WrongState: nothing un-archives) and its unique key is its own (else KeyTaken). With `is_new_version` the
        resource's version is one more and the former one stays retrievable. `created_at_us` and `parent_id` stay. Those
        `along` are created in the same transaction, as by `create` (`parent_kind` is that of their parents)."""
        ...

    async def list(
        self,
        principal: Principal,
        filter: ResourceFilter,
        page: Page,
    ) -> Sequence[Resource]:
        """Current versions by (created_at, id)."""
        ...

    async def count(self, principal: Principal, filter: ResourceFilter) -> int:
        """Count how many resources `list` would give on all pages."""
        ...

    async def versions(self, principal: Principal, kind: str, id: str, page: Page) -> Sequence[Resource]:
        """List all versions, newest first unless `is_ascending`; the page position is (version, id)."""
        ...

    async def delete(self, principal: Principal, kind: str, id: str, *, with_children: bool = False) -> None:
        """Remove all versions; `with_children` also of whatever has it as parent, else that stays. Raises NotFound."""
        ...

    async def put_key(self, key: KeyRow) -> None:
        """Insert or replace by id."""
        ...

    async def resolve_key(self, sha256: str) -> KeyRow | None:
        """The key with this hash, also when revoked or expired (the caller decides)."""
        ...

    async def list_keys(self, workspace_id: str) -> Sequence[KeyRow]:
        """Keys of a workspace, oldest first."""
        ...

    async def drop_expired_keys(self, kind: str, *, before_us: int) -> int:
        """Forget keys of this kind, of any workspace, that expired before; gives how many."""
        ...

    async def reference_blobs(
        self, principal: Principal, owner_id: str, digests: Sequence[str], *, at_us: int
    ) -> None:
        """Note that `owner_id` (a stream or resource) needs these blobs, said now. Again: said later."""
        ...

    async def drop_references(
        self, principal: Principal, owner_id: str, *, said_before_us: int | None = None
    ) -> Sequence[str]:
        """Forget an owner's references, or those said before then; returns the digests of them that nobody in any
        workspace needs any more."""
        ...

    async def has_reference(self, principal: Principal, digest: str) -> bool:
        """Return whether this workspace may read the blob."""
        ...

    async def unreferenced(self, digests: Sequence[str]) -> Sequence[str]:
        """Return those of these digests that nobody in any workspace needs."""
        ...

    async def list_references(
        self, principal: Principal, *, after: BlobReference | None, limit: int
    ) -> Sequence[BlobReference]:
        """List in order who in this workspace needs which blob."""
        ...

    async def list_owners(
        self,
        *,
        after: BlobOwner | None,
        limit: int,
        digest: str | None = None,
        silent_since_us: int | None = None,
    ) -> Sequence[BlobOwner]:
        """List in order the owners of blobs, or of this one, in any workspace; with `silent_since_us` those
        who have said so of none since then. Crosses workspaces (collection only)."""
        ...

    async def list_everywhere(self, kind: str, page: Page) -> Sequence[Resource]:
        """Current versions in all workspaces by (created_at, id), archived ones too. Crosses workspaces (collection
        only)."""
        ...

    async def close(self) -> None:
        """See SessionStore.close."""
        ...
