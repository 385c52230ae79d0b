"""Principals, and the keys they ask with."""

from __future__ import annotations

from typing import Literal

from remit.values.value import Value


class Principal(Value, frozen=True, kw_only=True):
    """The principal who asks: resolved once at the edge, taken by every store method."""

    workspace_id: str
    actor: str
    """An id: `apikey_…`, `worker_…`, or `system`."""
    kind: Literal["api_key", "worker", "session", "system"] = "api_key"
    scopes: tuple[str, ...] = ("*",)
    pays_as: str | None = None
    """The key whose caps its model calls count against, where that is not the actor itself."""

    @property
    def payer(self) -> str:
        """The key whose caps bind."""
        return self.pays_as or self.actor


class KeyRow(Value, frozen=True, kw_only=True):
    """A key or token: only its hash is stored."""

    id: str
    sha256: str
    kind: Literal["api_key", "session", "environment", "link", "preview"]
    name: str
    scopes: tuple[str, ...]
    workspace_id: str
    created_at_us: int
    expires_at_us: int | None = None
    revoked_at_us: int | None = None
