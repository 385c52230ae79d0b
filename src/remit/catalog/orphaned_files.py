"""Files of sessions that are gone: a process died between the one and the other."""

from __future__ import annotations

from collections.abc import Sequence

from remit.catalog.files import FILE, Files
from remit.catalog.maintenance import everywhere, maintenance_principal
from remit.catalog.owned_blobs import IsThere
from remit.clock import Clock
from remit.interfaces import Catalog
from remit.values import BlobOwner, Collected

GRACE_SECONDS = 3_600.0
"""A session's copies are made before it is."""


class OrphanedFiles:
    """Removes copies and outputs whose session does not exist."""

    def __init__(self, catalog: Catalog, files: Files, clock: Clock, is_there: IsThere) -> None:
        self._catalog = catalog
        self._files = files
        self._clock = clock
        self._is_there = is_there

    async def collect(self) -> Sequence[Collected]:
        """See `interfaces.Collector`."""
        count = size_bytes = 0
        before_us = self._clock.now_us() - int(GRACE_SECONDS * 1_000_000)
        async for file in everywhere(self._catalog, FILE):
            body = file.config
            if body.session_id is None or file.row.created_at_us > before_us:
                continue
            session = BlobOwner(workspace_id=file.row.workspace_id, owner_id=body.session_id)
            if not await self._is_there(session):
                await self._files.delete_all(maintenance_principal(file.row.workspace_id), [file.id])
                count, size_bytes = count + 1, size_bytes + body.size_bytes
        return (Collected(what="files of sessions that are gone", count=count, size_bytes=size_bytes),)
