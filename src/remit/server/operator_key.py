"""The operator's key: of whoever can read the data folder, or given by the settings."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import Literal

from remit.clock import Clock
from remit.config import Settings
from remit.errors import InvalidRequest
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.server.edge.auth import hash_key
from remit.server.edge.scopes import EVERYTHING, OPERATOR
from remit.server.routes.keys import KEY_PREFIX, new_secret
from remit.values import KeyRow

DEFAULT_WORKSPACE = "wrkspc_default"
KEY_FILE = "key"
OWNERS_ALONE = 0o600
GIVEN_KEY_NAME = "operator (REMIT_API_KEY)"

KeyOrigin = Literal["made", "kept", "given"]


@dataclass(frozen=True, kw_only=True)
class OperatorKey:
    """The operator's key, and whether it was made just now, stood in the data folder, or is the setting's."""

    secret: str = field(repr=False)
    origin: KeyOrigin


async def operator_key(settings: Settings, catalog: Catalog, clock: Clock, ids: Ids) -> OperatorKey:
    """The key of whoever can read the data folder; made once, kept readable by its owner only. A key that the settings
    give is registered beside it, and is the first one where there is none yet. Raises InvalidRequest."""

    async def opens(secret: str) -> bool:
        name = GIVEN_KEY_NAME if secret == settings.api_key else OPERATOR
        # Bytes of a damaged file must not become a key, one that could be guessed perhaps.
        if secret != settings.api_key and not _is_made(secret) and not await _is_known(secret, catalog):
            return False
        return await _opens_as_operator(secret, name, catalog, clock, ids)

    path = settings.data / KEY_FILE
    kept = path.read_text(errors="replace").strip() if path.exists() else ""
    is_new = not kept or not await opens(kept)
    # The first start, one that was killed before the key reached the disk, a damaged file, or a revoked key.
    key = (settings.api_key or new_secret(KEY_PREFIX)) if is_new else kept
    for secret in dict.fromkeys((key, settings.api_key or key)):
        if not await opens(secret):
            raise InvalidRequest(
                "REMIT_API_KEY is a key that was revoked, has expired or is not an operator's; choose another one."
            )
    if is_new:
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(mode=OWNERS_ALONE)
        new.write_text(key + "\n")
        new.replace(path)
    elif stat.S_IMODE(path.stat().st_mode) & ~OWNERS_ALONE:
        path.chmod(OWNERS_ALONE)  # of a copy, say, or a backup
    if settings.api_key is not None:
        return OperatorKey(secret=settings.api_key, origin="given")
    return OperatorKey(secret=key, origin="made" if is_new else "kept")


def _is_made(secret: str) -> bool:
    """Whether this has the form of the secrets that are made here."""
    return secret.startswith(KEY_PREFIX) and secret.isascii() and len(secret) == len(new_secret(KEY_PREFIX))


async def _is_known(secret: str, catalog: Catalog) -> bool:
    return await catalog.resolve_key(hash_key(secret)) is not None


async def _opens_as_operator(secret: str, name: str, catalog: Catalog, clock: Clock, ids: Ids) -> bool:
    """Whether this is a valid key of the operator's; one that the catalog does not know becomes one."""
    digest = hash_key(secret)
    row = await catalog.resolve_key(digest)
    now_us = clock.now_us()
    if row is None:
        await catalog.put_key(
            KeyRow(
                id=ids.new("apikey"),
                sha256=digest,
                kind="api_key",
                name=name,
                scopes=(EVERYTHING, OPERATOR),
                workspace_id=DEFAULT_WORKSPACE,
                created_at_us=now_us,
            )
        )
        return True
    is_valid = row.revoked_at_us is None and (row.expires_at_us is None or row.expires_at_us > now_us)
    return is_valid and OPERATOR in row.scopes
