"""Owners of blobs, told by their ids: streams in the session store, resources in the catalog."""

from __future__ import annotations

from remit.catalog.maintenance import maintenance_principal
from remit.errors import NotFound
from remit.interfaces import Catalog, SessionStore
from remit.streams.kinds import StreamKinds
from remit.values import BlobOwner

RESOURCES = {"file": "file", "input": "input", "layer": "package_layer", "memver": "memory version"}
"""Their kind by the beginning of their id."""


class BlobOwners:
    """Says which owners exist."""

    def __init__(self, sessions: SessionStore, catalog: Catalog, kinds: StreamKinds) -> None:
        self._sessions = sessions
        self._catalog = catalog
        self._kinds = kinds

    async def is_there(self, owner: BlobOwner) -> bool:
        """Return whether an owner exists; one of a sort that is not known here counts as there: better kept
        for ever than lost."""
        principal = maintenance_principal(owner.workspace_id)
        sort = owner.owner_id.partition("_")[0]
        try:
            if self._kinds.of_id(owner.owner_id) is not None:
                await self._sessions.head(principal, owner.owner_id)
            elif sort in RESOURCES:
                await self._catalog.retrieve(principal, RESOURCES[sort], owner.owner_id)
        except NotFound:
            return False
        return True
