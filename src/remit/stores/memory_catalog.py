"""The catalog in memory: for tests, and the oracle that every durable catalog is compared with."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import msgspec

from remit.clock import Clock
from remit.errors import Conflict, StoreUnavailable
from remit.stores.catalog_rules import (
    exists_already,
    key_taken,
    no_such_resource,
    no_such_version,
    parent_full,
    parents_of,
    require_changeable,
)
from remit.stores.memory_pages import is_after, is_between
from remit.values import BlobOwner, BlobReference, KeyRow, Page, Principal, Resource, ResourceFilter


class MemoryCatalog:
    """`Catalog` in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._resources: dict[tuple[str, str, str], list[Resource]] = {}
        """(workspace, kind, id) → versions, oldest first."""
        self._keys: dict[str, KeyRow] = {}
        self._references: dict[tuple[str, str], dict[str, int]] = {}
        """(workspace, owner) → digests, each with when it was said last."""
        self._is_closed = False

    async def create(
        self,
        principal: Principal,
        resource: Resource,
        *,
        along: Sequence[Resource] = (),
        parent_kind: str | None = None,
        siblings_max: int | None = None,
    ) -> None:
        self._require_open()
        self._require_parents(principal, parent_kind, (resource, *along))
        if siblings_max is not None:
            siblings = ResourceFilter(kind=resource.kind, parent_id=resource.parent_id)
            if len(self._matching(principal, siblings)) >= siblings_max:
                raise parent_full(resource, siblings_max)
        before = dict(self._resources)
        try:
            for one in (resource, *along):
                self._insert(principal, one)
        except Conflict:
            self._resources = before
            raise

    def _insert(self, principal: Principal, resource: Resource) -> None:
        key = (principal.workspace_id, resource.kind, resource.id)
        if key in self._resources:
            raise exists_already(resource)
        self._require_free_key(principal, resource, parent_id=resource.parent_id)
        self._resources[key] = [
            msgspec.structs.replace(resource, workspace_id=principal.workspace_id, version=1)
        ]

    async def retrieve(
        self, principal: Principal, kind: str, id: str, version: int | None = None
    ) -> Resource:
        self._require_open()
        versions = self._find(principal, kind, id)
        if version is None:
            return versions[-1]
        for resource in versions:
            if resource.version == version:
                return resource
        raise no_such_version(kind, id, version)

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
        self._require_open()
        versions = self._find(principal, resource.kind, resource.id)
        current = versions[-1]
        require_changeable(
            resource, current.version, current.archived_at_us, expected_version=expected_version
        )
        self._require_free_key(principal, resource, parent_id=current.parent_id)
        self._require_parents(principal, parent_kind, along)
        updated = msgspec.structs.replace(
            resource,
            workspace_id=principal.workspace_id,
            version=expected_version + 1 if is_new_version else expected_version,
            created_at_us=current.created_at_us,
            parent_id=current.parent_id,
        )
        name = (principal.workspace_id, resource.kind, resource.id)
        before = dict(self._resources)
        self._resources[name] = [*(versions if is_new_version else versions[:-1]), updated]
        try:
            for one in along:
                self._insert(principal, one)
        except Conflict:
            self._resources = before
            raise

    async def list(
        self,
        principal: Principal,
        filter: ResourceFilter,
        page: Page,
    ) -> Sequence[Resource]:
        self._require_open()
        found = self._matching(principal, filter)
        found.sort(key=_resource_position, reverse=not page.is_ascending)
        return [row for row in found if is_after(page, _resource_position(row))][: page.limit]

    async def count(self, principal: Principal, filter: ResourceFilter) -> int:
        self._require_open()
        return len(self._matching(principal, filter))

    async def versions(self, principal: Principal, kind: str, id: str, page: Page) -> Sequence[Resource]:
        self._require_open()
        versions = builtins.list(self._find(principal, kind, id))
        if not page.is_ascending:
            versions.reverse()
        return [row for row in versions if is_after(page, (row.version, row.id))][: page.limit]

    async def delete(self, principal: Principal, kind: str, id: str, *, with_children: bool = False) -> None:
        self._require_open()
        self._find(principal, kind, id)
        del self._resources[principal.workspace_id, kind, id]
        if with_children:
            children = [
                name
                for name, versions in self._resources.items()
                if name[0] == principal.workspace_id and versions[-1].parent_id == id
            ]
            for name in children:
                del self._resources[name]

    async def put_key(self, key: KeyRow) -> None:
        self._require_open()
        for other in self._keys.values():
            if other.sha256 == key.sha256 and other.id != key.id:
                raise Conflict(f"Another key than {key.id!r} has this hash.")
        self._keys[key.id] = key

    async def resolve_key(self, sha256: str) -> KeyRow | None:
        self._require_open()
        return next((key for key in self._keys.values() if key.sha256 == sha256), None)

    async def list_keys(self, workspace_id: str) -> Sequence[KeyRow]:
        self._require_open()
        keys = [key for key in self._keys.values() if key.workspace_id == workspace_id]
        return sorted(keys, key=lambda key: (key.created_at_us, key.id))

    async def drop_expired_keys(self, kind: str, *, before_us: int) -> int:
        self._require_open()
        expired = [
            key.id
            for key in self._keys.values()
            if key.kind == kind and key.expires_at_us is not None and key.expires_at_us < before_us
        ]
        for id in expired:
            del self._keys[id]
        return len(expired)

    async def reference_blobs(
        self, principal: Principal, owner_id: str, digests: Sequence[str], *, at_us: int
    ) -> None:
        self._require_open()
        said = self._references.setdefault((principal.workspace_id, owner_id), {})
        said.update({digest: max(at_us, said.get(digest, 0)) for digest in digests})

    async def drop_references(
        self, principal: Principal, owner_id: str, *, said_before_us: int | None = None
    ) -> Sequence[str]:
        self._require_open()
        said = self._references.pop((principal.workspace_id, owner_id), {})
        kept = {
            digest: at_us
            for digest, at_us in said.items()
            if said_before_us is not None and at_us >= said_before_us
        }
        if kept:
            self._references[principal.workspace_id, owner_id] = kept
        dropped = said.keys() - kept.keys()
        needed = {digest for digests in self._references.values() for digest in digests}
        return sorted(digest for digest in dropped if digest not in needed)

    async def has_reference(self, principal: Principal, digest: str) -> bool:
        self._require_open()
        return any(
            workspace_id == principal.workspace_id and digest in digests
            for (workspace_id, _), digests in self._references.items()
        )

    async def unreferenced(self, digests: Sequence[str]) -> Sequence[str]:
        self._require_open()
        needed = {digest for digests in self._references.values() for digest in digests}
        return [digest for digest in digests if digest not in needed]

    async def list_references(
        self, principal: Principal, *, after: BlobReference | None, limit: int
    ) -> Sequence[BlobReference]:
        self._require_open()
        found = sorted(
            BlobReference(owner_id=owner_id, digest=digest)
            for (workspace_id, owner_id), digests in self._references.items()
            if workspace_id == principal.workspace_id
            for digest in digests
        )
        return [reference for reference in found if after is None or reference > after][:limit]

    async def list_owners(
        self,
        *,
        after: BlobOwner | None,
        limit: int,
        digest: str | None = None,
        silent_since_us: int | None = None,
    ) -> Sequence[BlobOwner]:
        self._require_open()
        found = sorted(
            BlobOwner(workspace_id=workspace_id, owner_id=owner_id)
            for (workspace_id, owner_id), digests in self._references.items()
            if (digests if digest is None else digest in digests)
            and (silent_since_us is None or max(digests.values()) < silent_since_us)
        )
        return [owner for owner in found if after is None or owner > after][:limit]

    async def list_everywhere(self, kind: str, page: Page) -> Sequence[Resource]:
        self._require_open()
        found = [versions[-1] for (_, its_kind, _), versions in self._resources.items() if its_kind == kind]
        found.sort(key=_resource_position, reverse=not page.is_ascending)
        return [row for row in found if is_after(page, _resource_position(row))][: page.limit]

    async def close(self) -> None:
        self._is_closed = True

    def _require_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("The catalog is closed.")

    def _matching(self, principal: Principal, filter: ResourceFilter) -> builtins.list[Resource]:
        return [
            versions[-1]
            for (workspace_id, _, _), versions in self._resources.items()
            if workspace_id == principal.workspace_id and _matches(filter, versions[-1])
        ]

    def _require_free_key(self, principal: Principal, resource: Resource, *, parent_id: str | None) -> None:
        if resource.unique_key is None or resource.archived_at_us is not None:
            return
        filter = ResourceFilter(kind=resource.kind, unique_key=resource.unique_key)
        for other in self._matching(principal, filter):
            if other.parent_id == parent_id and other.id != resource.id:
                raise key_taken(resource, other.id)

    def _require_parents(
        self, principal: Principal, parent_kind: str | None, resources: Sequence[Resource]
    ) -> None:
        for parent in parents_of(parent_kind, resources):
            self._find(principal, *parent)

    def _find(self, principal: Principal, kind: str, id: str) -> builtins.list[Resource]:
        versions = self._resources.get((principal.workspace_id, kind, id))
        if versions is None:
            raise no_such_resource(kind, id)
        return versions


def _matches(filter: ResourceFilter, resource: Resource) -> bool:
    key = resource.unique_key
    return (
        resource.kind == filter.kind
        and (filter.include_archived or resource.archived_at_us is None)
        and (filter.parent_id is None or resource.parent_id == filter.parent_id)
        and (filter.unique_key is None or key == filter.unique_key)
        and (
            filter.unique_key_prefix is None or (key is not None and key.startswith(filter.unique_key_prefix))
        )
        and filter.labels.items() <= resource.labels.items()
        and is_between(resource.created_at_us, filter.created_after_us, filter.created_before_us)
    )


def _resource_position(resource: Resource) -> tuple[int, str]:
    return resource.created_at_us, resource.id
