"""Files that have expired."""

from __future__ import annotations

from collections.abc import Sequence

from remit.catalog.files import FILE
from remit.catalog.maintenance import everywhere, maintenance_principal
from remit.catalog.owned_blobs import OwnedBlobs
from remit.clock import Clock
from remit.interfaces import Catalog
from remit.values import Collected


class ExpiredFiles:
    """Removes the bytes of files that expired and were not asked for since; what is known of them stays."""

    def __init__(self, catalog: Catalog, blobs: OwnedBlobs, clock: Clock) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._clock = clock

    async def collect(self) -> Sequence[Collected]:
        """See `interfaces.Collector`."""
        count = size_bytes = 0
        async for file in everywhere(self._catalog, FILE):
            body = file.config
            if body.expires_at_us is None or self._clock.now_us() < body.expires_at_us:
                continue
            principal = maintenance_principal(file.row.workspace_id)
            if await self._catalog.has_reference(principal, body.sha256):
                await self._blobs.forget(principal, file.id)
                count, size_bytes = count + 1, size_bytes + body.size_bytes
        return (Collected(what="files that have expired", count=count, size_bytes=size_bytes),)
