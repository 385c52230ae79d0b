"""Kept blobs for tests of a part that has no stores of its own."""

from __future__ import annotations

from remit.app.kinds import KINDS
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.owned_blobs import OwnedBlobs
from remit.clock import Clock, SystemClock
from remit.interfaces import BlobStore, Catalog
from remit.stores.memory import MemoryCatalog, MemorySessionStore


def kept(blobs: BlobStore, catalog: Catalog | None = None, clock: Clock | None = None) -> OwnedBlobs:
    """These blobs, with references in this catalog or in one in memory."""
    clock = clock or SystemClock()
    catalog = catalog or MemoryCatalog(clock)
    return OwnedBlobs(blobs, catalog, BlobOwners(MemorySessionStore(clock), catalog, KINDS).is_there, clock)
