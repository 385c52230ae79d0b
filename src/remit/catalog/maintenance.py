"""The ground that collectors share: who tidies up, and what there is in all workspaces."""

from __future__ import annotations

from collections.abc import AsyncIterator

from remit.catalog.resources import Config, ResourceKind, Stored
from remit.interfaces import Catalog
from remit.values import Page, Principal

PAGE = 500


async def everywhere(catalog: Catalog, kind: ResourceKind[Config]) -> AsyncIterator[Stored[Config]]:
    """Yield all resources of a kind, in all workspaces, oldest first."""
    position: tuple[int, str] | None = None
    while page := await catalog.list_everywhere(
        kind.name, Page(limit=PAGE, position=position, is_ascending=True)
    ):
        for row in page:
            yield kind.read(row)
        position = (page[-1].created_at_us, page[-1].id)


def maintenance_principal(workspace_id: str) -> Principal:
    """Return the principal that tidies up in a workspace."""
    return Principal(workspace_id=workspace_id, actor="system", kind="system")
