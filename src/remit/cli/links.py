"""Addresses of live pages, where the owner of the data folder serves them."""

from __future__ import annotations

from remit.client.client import AsyncClient
from remit.client.errors import ApiError, ConnectionLost

PAGES_NOT_SERVED = "pages_not_served"


async def page_link(client: AsyncClient, id: str | None = None) -> str | None:
    """The address of a page, where pages are served: a remark for people, never a reason to fail."""
    try:
        return str((await client.keys.link(id=id))["url"])
    except ConnectionLost:
        return None
    except ApiError as error:
        if error.error_code == PAGES_NOT_SERVED:
            return None
        raise
