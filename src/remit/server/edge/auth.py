"""Authentication: the key of a request, resolved once to a Principal."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers

from remit.clock import Clock
from remit.errors import Forbidden, Unauthenticated
from remit.interfaces import Catalog
from remit.values import Principal

OPENS_THE_API = ("api_key", "link")
"""Kinds of keys that may call at all; what a key may call is decided by its scopes (`server/edge/scopes.py`)."""


def hash_key(key: str) -> str:
    """Return the hash that the catalog keeps instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


async def authenticate(headers: Headers, catalog: Catalog, clock: Clock) -> Principal:
    """`Authorization: Bearer` first, then `x-api-key`. Raises Unauthenticated, Forbidden."""
    key = _presented_key(headers)
    row = await catalog.resolve_key(hash_key(key))
    if row is None:
        raise Unauthenticated(
            "The API key is unknown; check it (the operator's stands in the file `key` of the data folder)."
        )
    if row.revoked_at_us is not None:
        raise Unauthenticated(f"API key {row.id!r} is revoked; use another one.")
    if row.expires_at_us is not None and row.expires_at_us <= clock.now_us():
        raise Unauthenticated(f"API key {row.id!r} has expired; use another one.")
    if row.kind not in OPENS_THE_API:
        raise Forbidden(f"Key {row.id!r} is of kind {row.kind!r} and does not open the API; use an API key.")
    named = headers.get("anthropic-workspace-id")
    if named is not None and named != row.workspace_id:
        raise Forbidden(
            f"`anthropic-workspace-id`: the key belongs to workspace {row.workspace_id!r}; leave the header out."
        )
    return Principal(workspace_id=row.workspace_id, actor=row.id, kind="api_key", scopes=row.scopes)


def _presented_key(headers: Headers) -> str:
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        raise Unauthenticated("`Authorization`: must be `Bearer KEY`.")
    key = headers.get("x-api-key")
    if key:
        return key
    raise Unauthenticated("There is no API key; send `Authorization: Bearer KEY` or `x-api-key: KEY`.")
