"""/v1/keys and /v1/links: who may call, and who may look. A secret is answered once and kept only as its hash."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec
from starlette.types import ASGIApp

from remit.clock import rfc3339
from remit.errors import InvalidRequest, NotFound, WrongState
from remit.schema import keys
from remit.schema.operation import NoQuery
from remit.schema.wire import convert
from remit.server.edge.auth import hash_key
from remit.server.edge.scopes import READ, READ_ONE
from remit.server.operations.listing import read_page, resource_list
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.values import KeyRow, Principal

KEY_PREFIX = "rk_"
LINK_PREFIX = "rl_"
SECRET_BYTES = 32
NOT_SERVED_CODE = "pages_not_served"


class KeyRoutes:
    """Create, list, revoke; and read-only links for people. `public_url` is where pages are served, if they are."""

    def __init__(self, services: Services, *, public_url: str | None) -> None:
        self._services = services
        self._public_url = public_url

    @handles(keys.CREATE)
    async def create(self, call: Call[keys.KeyCreate, NoQuery]) -> keys.NewKey:
        principal, services, params = call.principal, self._services, call.body
        for index, scope in enumerate(params.scopes):
            if scope.startswith(READ_ONE):
                self._path_of(scope.removeprefix(READ_ONE), field=f"scopes[{index}]")
        secret = new_secret(KEY_PREFIX)
        now_us = services.clock.now_us()
        key = KeyRow(
            id=services.ids.new("apikey"),
            sha256=hash_key(secret),
            kind="api_key",
            name=params.name,
            scopes=tuple(dict.fromkeys(params.scopes)),
            workspace_id=params.workspace_id or principal.workspace_id,
            created_at_us=now_us,
            expires_at_us=_expiry(now_us, params.expires_in_seconds),
        )
        await services.catalog.put_key(key)
        return {**key_view(key), "secret": secret}

    @handles(keys.LIST)
    async def list(self, call: Call[None, keys.KeyPaging]) -> ASGIApp:
        named = call.query.workspace_id
        workspace_id = call.principal.workspace_id if named is None else workspace_named(named)
        page = read_page(call.query, list="keys")
        after = page.query().position
        found = [
            key
            for key in reversed(await self._services.catalog.list_keys(workspace_id))
            if after is None or (key.created_at_us, key.id) < after
        ]
        return resource_list(page, found, key_view, lambda key: (key.created_at_us, key.id))

    @handles(keys.REVOKE)
    async def revoke(self, call: Call[keys.KeyRevoke, NoQuery], key_id: str) -> keys.Key:
        principal, services = call.principal, self._services
        workspace_id = call.body.workspace_id or principal.workspace_id
        key = _find(await services.catalog.list_keys(workspace_id), key_id)
        if key.id == principal.actor:
            raise WrongState(
                f"Key {key.id!r} is the one you ask with; revoke it with another operator's key."
            )
        if key.revoked_at_us is None:
            key = msgspec.structs.replace(key, revoked_at_us=services.clock.now_us())
            await services.catalog.put_key(key)
        return key_view(key)

    @handles(keys.LINK)
    async def create_link(self, call: Call[keys.LinkCreate, NoQuery]) -> keys.Link:
        """A token for a page, made of what the caller may read anyway."""
        principal, services, params = call.principal, self._services, call.body
        path = "/" if params.id is None else await self._page_of(principal, params.id)
        if self._public_url is None:
            raise WrongState(
                "Pages are served by `remit up`, which does not run on this data folder; start it and ask again.",
                code=NOT_SERVED_CODE,
            )
        secret, now_us = new_secret(LINK_PREFIX), services.clock.now_us()
        key = KeyRow(
            id=services.ids.new("apikey"),
            sha256=hash_key(secret),
            kind="link",
            name=f"link of {principal.actor}",
            scopes=(READ if params.id is None else READ_ONE + params.id,),
            workspace_id=principal.workspace_id,
            created_at_us=now_us,
            expires_at_us=_expiry(now_us, params.expires_in_seconds),
        )
        await services.catalog.drop_expired_keys("link", before_us=now_us)
        await services.catalog.put_key(key)
        view = key_view(key)
        return {
            "id": key.id,
            "type": "link",
            "url": f"{self._public_url}{path}?token={secret}",
            "scopes": view["scopes"],
            "expires_at": view["expires_at"],
        }

    async def _page_of(self, principal: Principal, stream_id: str) -> str:
        path = self._path_of(stream_id, field="id")
        try:
            await self._services.sessions.head(principal, stream_id)
        except NotFound as error:
            raise NotFound(f"`id`: there is no {stream_id!r} in this workspace.") from error
        return path.removeprefix("/v1")

    def _path_of(self, stream_id: str, *, field: str) -> str:
        """Where the API shows it. Raises InvalidRequest where it shows nothing with such an id."""
        kind = self._services.kinds.of_id(stream_id)
        if kind is None or kind.names.path is None:
            raise InvalidRequest(f"`{field}`: {stream_id!r} is no id of a stream that the API shows.")
        return kind.names.path_of(stream_id)


def new_secret(prefix: str) -> str:
    """A key or token that nobody can guess."""
    return prefix + secrets.token_urlsafe(SECRET_BYTES)


def key_view(key: KeyRow) -> keys.Key:
    """The key as the API shows it: never its secret."""
    return {
        "id": key.id,
        "type": "key",
        "kind": key.kind,
        "name": key.name,
        "scopes": list(key.scopes),
        "workspace_id": key.workspace_id,
        "created_at": rfc3339(key.created_at_us),
        "expires_at": None if key.expires_at_us is None else rfc3339(key.expires_at_us),
        "revoked_at": None if key.revoked_at_us is None else rfc3339(key.revoked_at_us),
    }


def _find(among: Sequence[KeyRow], key_id: str) -> KeyRow:
    found = next((key for key in among if key.id == key_id), None)
    if found is None:
        raise NotFound(f"No key {key_id!r} in this workspace.")
    return found


def workspace_named(text: str) -> str:
    """The id of a workspace in a query. Raises InvalidRequest."""
    return convert({"workspace_id": text}, keys.KeyRevoke, what="workspace_id").workspace_id or text


def workspace_within(principal: Principal, workspace_id: str | None) -> Principal:
    """Return an operator's principal, asking for another workspace than its own."""
    return msgspec.structs.replace(principal, workspace_id=workspace_id or principal.workspace_id)


def _expiry(now_us: int, seconds: int | None) -> int | None:
    return None if seconds is None else now_us + seconds * 1_000_000
