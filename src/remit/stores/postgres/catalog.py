"""`Catalog` on PostgreSQL."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import asyncpg
import msgspec
from msgspec.structs import replace

from remit.errors import Conflict
from remit.stores.catalog_rules import (
    exists_already,
    key_taken,
    no_such_resource,
    no_such_version,
    parent_full,
    parents_of,
    require_changeable,
)
from remit.stores.postgres.connection import PostgresConnection
from remit.stores.postgres.database import PostgresDatabase
from remit.stores.postgres.rows import KEY_COLUMNS, RESOURCE_COLUMNS, encoded, key, resource
from remit.values import BlobOwner, BlobReference, KeyRow, Page, Principal, Resource, ResourceFilter

_INSERT_RESOURCE = """
INSERT INTO resources (workspace_id, kind, id, version, is_current, name, body, created_at_us, updated_at_us,
                       archived_at_us, parent_id, unique_key, labels)
VALUES ($1, $2, $3, $4, true, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT DO NOTHING RETURNING id
"""

_REPLACE_RESOURCE = """
UPDATE resources SET name = $5, body = $6, updated_at_us = $7, archived_at_us = $8, unique_key = $9, labels = $10
WHERE workspace_id = $1 AND kind = $2 AND id = $3 AND version = $4
"""

_CURRENT = """
SELECT version, created_at_us, archived_at_us, parent_id FROM resources
WHERE workspace_id = $1 AND kind = $2 AND id = $3 AND is_current
"""

_KEY_HOLDER = """
SELECT id FROM resources
WHERE workspace_id = $1 AND kind = $2 AND coalesce(parent_id, '') = coalesce($3, '') AND unique_key = $4 AND id <> $5
  AND is_current AND archived_at_us IS NULL
"""

_PUT_KEY = """
INSERT INTO keys (id, sha256, kind, name, scopes, workspace_id, created_at_us, expires_at_us, revoked_at_us)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO UPDATE SET
    sha256 = excluded.sha256, kind = excluded.kind, name = excluded.name, scopes = excluded.scopes,
    workspace_id = excluded.workspace_id, created_at_us = excluded.created_at_us,
    expires_at_us = excluded.expires_at_us, revoked_at_us = excluded.revoked_at_us
"""


class PostgresCatalog:
    """`Catalog` in one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    # ----------------------------------------------------------------------------------------- resources

    async def create(
        self,
        principal: Principal,
        resource: Resource,
        *,
        along: Sequence[Resource] = (),
        parent_kind: str | None = None,
        siblings_max: int | None = None,
    ) -> None:
        siblings = _conditions(principal, ResourceFilter(kind=resource.kind, parent_id=resource.parent_id))

        async def run(connection: PostgresConnection) -> None:
            async with connection.transaction():
                is_counted = siblings_max is not None
                await _hold_parents(
                    connection, principal, parent_kind, (resource, *along), is_alone=is_counted
                )
                if siblings_max is not None and await _count(connection, *siblings) >= siblings_max:
                    raise parent_full(resource, siblings_max)
                await _create(connection, principal, (resource, *along))

        await self._database.run(run, is_repeatable=False)

    async def retrieve(
        self, principal: Principal, kind: str, id: str, version: int | None = None
    ) -> Resource:
        async def run(connection: PostgresConnection) -> Resource:
            row = await connection.fetchrow(
                f"SELECT {RESOURCE_COLUMNS} FROM resources WHERE workspace_id = $1 AND kind = $2 AND id = $3 "
                "AND (version = $4 OR ($4::bigint IS NULL AND is_current))",
                principal.workspace_id,
                kind,
                id,
                version,
            )
            if row is not None:
                return resource(row)
            await _require_resource(connection, principal, kind, id)
            raise no_such_version(kind, id, version)

        return await self._database.run(run)

    async def update(
        self,
        principal: Principal,
        resource: Resource,
        *,
        expected_version: int,
        is_new_version: bool,
        along: Sequence[Resource] = (),
        parent_kind: str | None = None,
    ) -> None:
        name = (principal.workspace_id, resource.kind, resource.id)

        async def run(connection: PostgresConnection) -> None:
            async with connection.transaction():
                # Before its own row: a deletion with children locks them in this order.
                await _hold_parents(connection, principal, parent_kind, along)
                # Its first version stands for all of them: the current one is another row after each change.
                await connection.execute(
                    "SELECT FROM resources WHERE workspace_id = $1 AND kind = $2 AND id = $3 AND version = 1 FOR UPDATE",
                    *name,
                )
                current = await connection.fetchrow(_CURRENT, *name)
                if current is None:
                    raise no_such_resource(resource.kind, resource.id)
                version, created_at_us, archived_at_us, parent_id = current
                require_changeable(resource, version, archived_at_us, expected_version=expected_version)
                await _create(connection, principal, along)
                if is_new_version:
                    await connection.execute(
                        "UPDATE resources SET is_current = false "
                        "WHERE workspace_id = $1 AND kind = $2 AND id = $3 AND version = $4",
                        *name,
                        version,
                    )
                    changed = replace(resource, created_at_us=created_at_us, parent_id=parent_id)
                    if not await _insert(connection, principal, changed, version=version + 1):
                        await _refuse_key(connection, principal, resource, parent_id=parent_id)
                    return
                try:
                    async with connection.transaction():
                        await connection.execute(
                            _REPLACE_RESOURCE,
                            *name,
                            version,
                            encoded(resource.name),
                            resource.body,
                            resource.updated_at_us,
                            resource.archived_at_us,
                            resource.unique_key,
                            _labels(resource),
                        )
                except asyncpg.UniqueViolationError:
                    await _refuse_key(connection, principal, resource, parent_id=parent_id)

        await self._database.run(run, is_repeatable=False)

    async def list(self, principal: Principal, filter: ResourceFilter, page: Page) -> Sequence[Resource]:
        return await self._read_page("created_at_us", *_conditions(principal, filter), page)

    async def count(self, principal: Principal, filter: ResourceFilter) -> int:
        conditions, values = _conditions(principal, filter)
        return await self._database.run(lambda connection: _count(connection, conditions, values))

    async def versions(self, principal: Principal, kind: str, id: str, page: Page) -> Sequence[Resource]:
        await self._database.run(lambda connection: _require_resource(connection, principal, kind, id))
        return await self._read_page(
            "version",
            ["workspace_id = $1", "kind = $2", "id = $3"],
            [principal.workspace_id, kind, id],
            page,
        )

    async def delete(self, principal: Principal, kind: str, id: str, *, with_children: bool = False) -> None:
        async def run(connection: PostgresConnection) -> None:
            async with connection.transaction():
                status = await connection.execute(
                    "DELETE FROM resources WHERE workspace_id = $1 AND kind = $2 AND id = $3",
                    principal.workspace_id,
                    kind,
                    id,
                )
                if status == "DELETE 0":
                    raise no_such_resource(kind, id)
                if with_children:
                    await connection.execute(
                        "DELETE FROM resources WHERE workspace_id = $1 AND parent_id = $2",
                        principal.workspace_id,
                        id,
                    )

        await self._database.run(run, is_repeatable=False)

    async def _read_page(
        self, column: str, conditions: Sequence[str], values: Sequence[object], page: Page
    ) -> builtins.list[Resource]:
        values = [*values, *(page.position or ()), page.limit]
        if page.position is not None:
            sign = ">" if page.is_ascending else "<"
            position = f"({column}, id) {sign} (${len(values) - 2}, ${len(values) - 1})"
            conditions = [*conditions, position]
        direction = "ASC" if page.is_ascending else "DESC"
        statement = (
            f"SELECT {RESOURCE_COLUMNS} FROM resources WHERE {' AND '.join(conditions)} "
            f"ORDER BY {column} {direction}, id {direction} LIMIT ${len(values)}"
        )
        found = await self._database.run(lambda connection: connection.fetch(statement, *values))
        return [resource(row) for row in found]

    # ---------------------------------------------------------------------------------------------- keys

    async def put_key(self, key: KeyRow) -> None:
        async def run(connection: PostgresConnection) -> None:
            try:
                await connection.execute(
                    _PUT_KEY,
                    key.id,
                    key.sha256,
                    key.kind,
                    key.name.encode(),
                    msgspec.json.encode(key.scopes),
                    key.workspace_id,
                    key.created_at_us,
                    key.expires_at_us,
                    key.revoked_at_us,
                )
            except asyncpg.UniqueViolationError as error:
                raise Conflict(f"Another key than {key.id!r} has this hash.") from error

        await self._database.run(run)

    async def resolve_key(self, sha256: str) -> KeyRow | None:
        row = await self._database.run(
            lambda connection: connection.fetchrow(
                f"SELECT {KEY_COLUMNS} FROM keys WHERE sha256 = $1", sha256
            )
        )
        return None if row is None else key(row)

    async def list_keys(self, workspace_id: str) -> Sequence[KeyRow]:
        found = await self._database.run(
            lambda connection: connection.fetch(
                f"SELECT {KEY_COLUMNS} FROM keys WHERE workspace_id = $1 ORDER BY created_at_us, id",
                workspace_id,
            )
        )
        return [key(row) for row in found]

    async def drop_expired_keys(self, kind: str, *, before_us: int) -> int:
        status = await self._database.run(
            lambda connection: connection.execute(
                "DELETE FROM keys WHERE kind = $1 AND expires_at_us < $2", kind, before_us
            ),
            is_repeatable=False,
        )
        return int(status.rpartition(" ")[2])

    # --------------------------------------------------------------------------------- blob references

    async def reference_blobs(
        self, principal: Principal, owner_id: str, digests: Sequence[str], *, at_us: int
    ) -> None:
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT INTO blob_references (workspace_id, owner_id, digest, said_at_us) "
                "SELECT $1, $2, digest, $4 FROM unnest($3::text[]) AS asked (digest) ORDER BY digest "
                "ON CONFLICT (workspace_id, owner_id, digest) DO UPDATE "
                "SET said_at_us = greatest(blob_references.said_at_us, excluded.said_at_us)",
                principal.workspace_id,
                owner_id,
                builtins.list(dict.fromkeys(digests)),
                at_us,
            )
        )

    async def drop_references(
        self, principal: Principal, owner_id: str, *, said_before_us: int | None = None
    ) -> Sequence[str]:
        async def run(connection: PostgresConnection) -> Sequence[str]:
            dropped = await connection.fetch(
                "DELETE FROM blob_references WHERE workspace_id = $1 AND owner_id = $2 "
                "AND ($3::bigint IS NULL OR said_at_us < $3) RETURNING digest",
                principal.workspace_id,
                owner_id,
                said_before_us,
            )
            return await _unreferenced(connection, sorted(digest for (digest,) in dropped))

        return await self._database.run(run)

    async def has_reference(self, principal: Principal, digest: str) -> bool:
        return await self._database.run(
            lambda connection: connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM blob_references WHERE digest = $1 AND workspace_id = $2)",
                digest,
                principal.workspace_id,
            )
        )

    async def unreferenced(self, digests: Sequence[str]) -> Sequence[str]:
        return await self._database.run(lambda connection: _unreferenced(connection, digests))

    async def list_references(
        self, principal: Principal, *, after: BlobReference | None, limit: int
    ) -> Sequence[BlobReference]:
        position = (after.owner_id, after.digest) if after is not None else ("", "")
        found = await self._database.run(
            lambda connection: connection.fetch(
                "SELECT owner_id, digest FROM blob_references WHERE workspace_id = $1 AND (owner_id, digest) > ($2, $3) "
                "ORDER BY owner_id, digest LIMIT $4",
                principal.workspace_id,
                *position,
                limit,
            )
        )
        return [BlobReference(owner_id=owner_id, digest=digest) for owner_id, digest in found]

    async def list_owners(
        self,
        *,
        after: BlobOwner | None,
        limit: int,
        digest: str | None = None,
        silent_since_us: int | None = None,
    ) -> Sequence[BlobOwner]:
        position = (after.workspace_id, after.owner_id) if after is not None else ("", "")
        found = await self._database.run(
            lambda connection: connection.fetch(
                "SELECT workspace_id, owner_id FROM blob_references "
                "WHERE (workspace_id, owner_id) > ($1, $2) AND ($4::text IS NULL OR digest = $4) "
                "GROUP BY workspace_id, owner_id HAVING $5::bigint IS NULL OR max(said_at_us) < $5 "
                "ORDER BY workspace_id, owner_id LIMIT $3",
                *position,
                limit,
                digest,
                silent_since_us,
            )
        )
        return [BlobOwner(workspace_id=workspace_id, owner_id=owner_id) for workspace_id, owner_id in found]

    async def list_everywhere(self, kind: str, page: Page) -> Sequence[Resource]:
        return await self._read_page("created_at_us", ["kind = $1", "is_current"], [kind], page)

    async def break_off(self) -> None:
        """See PostgresSessionStore.break_off."""
        self._database.break_off()

    async def close(self) -> None:
        await self._database.close()


def _conditions(
    principal: Principal, filter: ResourceFilter
) -> tuple[builtins.list[str], builtins.list[object]]:
    conditions = ["workspace_id = $1", "kind = $2", "is_current"]
    values: builtins.list[object] = [principal.workspace_id, filter.kind]
    if not filter.include_archived:
        conditions.append("archived_at_us IS NULL")
    for condition, value in (
        ("parent_id = ?", filter.parent_id),
        ("unique_key = ?", filter.unique_key),
        ("starts_with(unique_key, ?)", filter.unique_key_prefix),
        ("created_at_us > ?", filter.created_after_us),
        ("created_at_us < ?", filter.created_before_us),
        ("labels @> ?::text::jsonb", msgspec.json.encode(filter.labels).decode() if filter.labels else None),
    ):
        if value is not None:
            values.append(value)
            conditions.append(condition.replace("?", f"${len(values)}"))
    return conditions, values


async def _insert(
    connection: PostgresConnection, principal: Principal, resource: Resource, *, version: int
) -> bool:
    """False: the id, or the unique key, is taken."""
    inserted = await connection.fetchrow(
        _INSERT_RESOURCE,
        principal.workspace_id,
        resource.kind,
        resource.id,
        version,
        encoded(resource.name),
        resource.body,
        resource.created_at_us,
        resource.updated_at_us,
        resource.archived_at_us,
        resource.parent_id,
        resource.unique_key,
        _labels(resource),
    )
    return inserted is not None


async def _create(
    connection: PostgresConnection, principal: Principal, resources: Sequence[Resource]
) -> None:
    """The first version of each."""
    for one in resources:
        if not await _insert(connection, principal, one, version=1):
            name = (principal.workspace_id, one.kind, one.id)
            if await connection.fetchrow(_CURRENT, *name) is not None:
                raise exists_already(one)
            await _refuse_key(connection, principal, one, parent_id=one.parent_id)


async def _count(connection: PostgresConnection, conditions: Sequence[str], values: Sequence[object]) -> int:
    return await connection.fetchval(
        f"SELECT count(*) FROM resources WHERE {' AND '.join(conditions)}", *values
    )


async def _hold_parents(
    connection: PostgresConnection,
    principal: Principal,
    parent_kind: str | None,
    resources: Sequence[Resource],
    *,
    is_alone: bool = False,
) -> None:
    """Have a deletion of them wait until this transaction has ended: it finds what was inserted. `is_alone`: whoever else
    wants to be alone under one of them waits as well, and counts what was inserted."""
    lock = "FOR NO KEY UPDATE" if is_alone else "FOR KEY SHARE"
    for kind, id in parents_of(parent_kind, resources):
        held = await connection.fetchrow(
            "SELECT true FROM resources WHERE workspace_id = $1 AND kind = $2 AND id = $3 AND version = 1 "
            f"{lock}",
            principal.workspace_id,
            kind,
            id,
        )
        if held is None:
            raise no_such_resource(kind, id)


async def _refuse_key(
    connection: PostgresConnection, principal: Principal, resource: Resource, *, parent_id: str | None
) -> None:
    holder = await connection.fetchval(
        _KEY_HOLDER, principal.workspace_id, resource.kind, parent_id, resource.unique_key, resource.id
    )
    raise key_taken(resource, holder or "another")  # whoever had it may have let go of it since


async def _require_resource(connection: PostgresConnection, principal: Principal, kind: str, id: str) -> None:
    if await connection.fetchrow(_CURRENT, principal.workspace_id, kind, id) is None:
        raise no_such_resource(kind, id)


async def _unreferenced(connection: PostgresConnection, digests: Sequence[str]) -> Sequence[str]:
    if not digests:
        return []
    found = await connection.fetch(
        "SELECT DISTINCT digest FROM blob_references WHERE digest = ANY($1::text[])", list(digests)
    )
    needed = {digest for (digest,) in found}
    return [digest for digest in digests if digest not in needed]


def _labels(resource: Resource) -> str:
    return msgspec.json.encode(resource.labels).decode()
