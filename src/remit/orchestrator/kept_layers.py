"""Layers: trees that a sandbox with the package registries made, each once per workspace and kept for whoever needs it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from weakref import WeakValueDictionary

import msgspec

from remit.catalog.maintenance import everywhere, maintenance_principal
from remit.catalog.owned_blobs import BlobPuts, OwnedBlobs
from remit.catalog.resources import ResourceKind
from remit.clock import Clock
from remit.errors import BlobMissing, Conflict, NotFound
from remit.interfaces import Catalog
from remit.values import BlobOwner, Collected, Principal, Resource

LAYER_KEPT_SECONDS = 7 * 86_400
OWNERS_PAGE = 100


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that was made."""

    tree_digest: str
    image_digest: str
    files: int
    bytes: int
    packages: dict[str, list[str]] = {}
    """Of an environment's list."""
    parts: tuple[str, ...] = ()
    """Of a setup: the files and folders of the tree that go into the working tree, by path."""
    is_of_locks: bool = False
    """Of a setup: it is the same as long as lock files and manifests are."""
    notes: tuple[str, ...] = ()


LAYER = ResourceKind(name="package_layer", id_prefix="layer", config=Layer)


class KeptLayers:
    """Makes, finds and collects layers."""

    def __init__(self, *, blobs: OwnedBlobs, catalog: Catalog, clock: Clock) -> None:
        self._blobs = blobs
        self._catalog = catalog
        self._clock = clock
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def layer(
        self,
        principal: Principal,
        owner_id: str,
        made_of: Sequence[object],
        make: Callable[[BlobPuts], Awaitable[Layer]],
    ) -> Layer:
        """The layer that is made of this, made now if nobody did; it stays as long as this stream, or another one that
        asked for it. `make` puts the tree and its files; what it raises goes to every caller of its own."""
        id = _id(made_of)
        async with self._lock(principal, id):
            layer = await self._take(principal, owner_id, id)
            if layer is None:
                made = await self._make(principal, id, make)
                await self._blobs.keep(principal, owner_id, [made.tree_digest])
                return made
        return layer

    async def find(self, principal: Principal, owner_id: str, made_of: Sequence[object]) -> Layer | None:
        """The layer that is made of this, if there is one; it stays as long as this stream."""
        id = _id(made_of)
        async with self._lock(principal, id):
            return await self._take(principal, owner_id, id)

    async def _take(self, principal: Principal, owner_id: str, id: str) -> Layer | None:
        """The layer, if there is one and it stays. Another process may be about to collect it: it looks for owners again
        when it has removed the resource, and this looks for the resource again when it has become one."""
        try:
            layer = await self._known(principal, id)
            await self._blobs.keep(principal, owner_id, [layer.tree_digest])
            await self._known(principal, id)
        except (NotFound, BlobMissing):
            return None
        return layer

    async def has(self, principal: Principal, made_of: Sequence[object]) -> bool:
        """Return whether the layer is made already; does not wait for one that is being made."""
        try:
            await self._known(principal, _id(made_of))
        except NotFound:
            return False
        return True

    def _lock(self, principal: Principal, id: str) -> asyncio.Lock:
        """Of a layer: held while it is made, given to somebody, or collected."""
        return self._making.setdefault(f"{principal.workspace_id}/{id}", asyncio.Lock())

    async def collect(self) -> Sequence[Collected]:
        """See `interfaces.Collector`: layers that no session and no remit needs, a week after they were made."""
        before_us = self._clock.now_us() - LAYER_KEPT_SECONDS * 1_000_000
        count = size_bytes = 0
        async for stored in everywhere(self._catalog, LAYER):
            resource, layer = stored.row, stored.config
            if resource.created_at_us >= before_us:
                break
            principal = maintenance_principal(resource.workspace_id)
            async with self._lock(principal, resource.id):
                if await self._is_needed(resource, layer):
                    continue
                removed_at_us = self._clock.now_us()
                await self._catalog.delete(principal, LAYER.name, resource.id)
                if await self._is_needed(resource, layer):  # since a moment ago: see `_take`
                    with suppress(Conflict):
                        await self._catalog.create(principal, resource)
                    continue
                await self._blobs.forget(principal, resource.id, said_before_us=removed_at_us)
            count, size_bytes = count + 1, size_bytes + layer.bytes
        return (Collected(what="package layers that nobody needs", count=count, size_bytes=size_bytes),)

    async def _is_needed(self, resource: Resource, layer: Layer) -> bool:
        """By somebody of its workspace other than itself: they refer to its tree, it refers to the files."""
        after: BlobOwner | None = None
        while page := await self._catalog.list_owners(
            after=after, limit=OWNERS_PAGE, digest=layer.tree_digest
        ):
            if any(
                owner.workspace_id == resource.workspace_id and not owner.owner_id.startswith("layer_")
                for owner in page
            ):
                return True
            after = page[-1]
        return False

    async def _known(self, principal: Principal, id: str) -> Layer:
        return LAYER.read(await self._catalog.retrieve(principal, LAYER.name, id)).config

    async def _make(
        self, principal: Principal, id: str, make: Callable[[BlobPuts], Awaitable[Layer]]
    ) -> Layer:
        async with self._blobs.puts(principal, id) as puts:
            layer = await make(puts)
            await puts.commit()
            now_us = self._clock.now_us()
            resource = Resource(
                workspace_id=principal.workspace_id,
                kind=LAYER.name,
                id=id,
                version=1,
                name=None,
                body=msgspec.json.encode(layer),
                created_at_us=now_us,
                updated_at_us=now_us,
            )
            try:
                await self._catalog.create(principal, resource)
            except Conflict:  # another process was first; sessions must agree
                return await self._known(principal, id)
        return layer


def _id(made_of: Sequence[object]) -> str:
    return f"layer_{hashlib.sha256(msgspec.json.encode(made_of)).hexdigest()[:32]}"
