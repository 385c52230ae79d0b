"""Remit: an open, self-hosted platform for managed agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remit.app.run import run as run
    from remit.client.client import AsyncClient as AsyncClient
    from remit.client.client import Client as Client

__all__ = ["AsyncClient", "Client", "run"]


def __getattr__(name: str) -> object:
    """Load the client on first use: `import remit` is paid by every module of the platform."""
    if name in ("AsyncClient", "Client"):
        from remit.client import client

        return getattr(client, name)
    if name == "run":
        from remit.app.run import run

        return run
    raise AttributeError(f"module 'remit' has no attribute {name!r}")
