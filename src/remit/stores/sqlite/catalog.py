"""`Catalog` on SQLite."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence

import apsw
import msgspec
from msgspec.structs import asdict, replace

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
from remit.stores.sqlite.cursor import Cursor
from remit.stores.sqlite.database import SqliteDatabase
from remit.stores.sqlite.rows import KEY_COLUMNS, RESOURCE_COLUMNS, bindings_of, key, resource
from remit.values import BlobOwner, BlobReference, KeyRow, Page, Principal, Resource, ResourceFilter

_INSERT_RESOURCE = f"""
INSERT INTO resources ({RESOURCE_COLUMNS}, is_current) VALUES ({bindings_of(Resource)}, 1)
"""

_REPLACE_RESOURCE = """
UPDATE resources SET name = :name, body = :body, updated_at_us = :updated_at_us, archived_at_us = :archived_at_us,
    unique_key = :unique_key, labels = :labels
WHERE workspace_id = :workspace_id AND kind = :kind AND id = :id AND version = :version
"""

_CURRENT = """
SELECT version, created_at_us, archived_at_us, parent_id FROM resources
WHERE workspace_id = ? AND kind = ? AND id = ? AND is_current = 1
"""

_KEY_HOLDER = """
SELECT id FROM resources
WHERE workspace_id = ?1 AND kind = ?2 AND ifnull(parent_id, '') = ifnull(?3, '') AND unique_key = ?4 AND id != ?5
  AND is_current = 1 AND archived_at_us IS NULL
"""

_PUT_KEY = f"""
INSERT INTO keys ({KEY_COLUMNS}) VALUES ({bindings_of(KeyRow)})
ON CONFLICT (id) DO UPDATE SET
    sha256 = excluded.sha256, kind = excluded.kind, name = excluded.name, scopes = excluded.scopes,
    workspace_id = excluded.workspace_id, created_at_us = excluded.created_at_us,
    expires_at_us = excluded.expires_at_us, revoked_at_us = excluded.revoked_at_us
"""


class SqliteCatalog:
    """`Catalog` in one SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    @property
    def queued_writes(self) -> int:
        """Writes that wait for a transaction."""
        return self._database.queued

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

        def run(cursor: Cursor) -> None:
            _require_parents(cursor, principal, parent_kind, (resource, *along))
            if siblings_max is not None and _count(cursor, *siblings) >= siblings_max:
                raise parent_full(resource, siblings_max)
            for one in (resource, *along):
                _create(cursor, principal, one)

        await self._database.write(run)

    async def retrieve(
        self, principal: Principal, kind: str, id: str, version: int | None = None
    ) -> Resource:
        def run(cursor: Cursor) -> Resource:
            row = cursor.execute(
                f"SELECT {RESOURCE_COLUMNS} FROM resources WHERE workspace_id = ?1 AND kind = ?2 AND id = ?3 "
                "AND (version = ?4 OR (?4 IS NULL AND is_current = 1))",
                (principal.workspace_id, kind, id, version),
            ).fetchone()
            if row is not None:
                return resource(row)
            _require_resource(cursor, principal, kind, id)
            raise no_such_version(kind, id, version)

        return self._database.read(run)

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
        def run(cursor: Cursor) -> None:
            name = (principal.workspace_id, resource.kind, resource.id)
            current = cursor.execute(_CURRENT, name).fetchone()
            if current is None:
                raise no_such_resource(resource.kind, resource.id)
            version, created_at_us, archived_at_us, parent_id = current
            require_changeable(resource, version, archived_at_us, expected_version=expected_version)
            _require_free_key(cursor, principal, resource, parent_id=parent_id)
            if is_new_version:
                cursor.execute(
                    "UPDATE resources SET is_current = 0 WHERE workspace_id = ? AND kind = ? AND id = ? AND version = ?",
                    (*name, version),
                )
                _insert(
                    cursor,
                    principal,
                    replace(resource, created_at_us=created_at_us, parent_id=parent_id),
                    version=version + 1,
                )
            else:
                cursor.execute(_REPLACE_RESOURCE, _bindings(principal, resource, version=version))
            _require_parents(cursor, principal, parent_kind, along)
            for one in along:
                _create(cursor, principal, one)

        await self._database.write(run)

    async def list(
        self,
        principal: Principal,
        filter: ResourceFilter,
        page: Page,
    ) -> Sequence[Resource]:
        conditions, values = _conditions(principal, filter)
        return await self._read_page("created_at_us", conditions, values, page)

    async def count(self, principal: Principal, filter: ResourceFilter) -> int:
        conditions, values = _conditions(principal, filter)
        return await self._database.read_in_thread(lambda cursor: _count(cursor, conditions, values))

    async def versions(self, principal: Principal, kind: str, id: str, page: Page) -> Sequence[Resource]:
        self._database.read(lambda cursor: _require_resource(cursor, principal, kind, id))
        return await self._read_page(
            "version", ["workspace_id = ?", "kind = ?", "id = ?"], [principal.workspace_id, kind, id], page
        )

    async def delete(self, principal: Principal, kind: str, id: str, *, with_children: bool = False) -> None:
        def run(cursor: Cursor) -> None:
            _require_resource(cursor, principal, kind, id)
            cursor.execute(
                "DELETE FROM resources WHERE workspace_id = ? AND kind = ? AND id = ?",
                (principal.workspace_id, kind, id),
            )
            if with_children:
                cursor.execute(
                    "DELETE FROM resources WHERE workspace_id = ? AND parent_id = ?",
                    (principal.workspace_id, id),
                )

        await self._database.write(run)

    async def _read_page(
        self, column: str, conditions: Sequence[str], values: Sequence[str | int], page: Page
    ) -> builtins.list[Resource]:
        position: tuple[int | str, ...] = ()
        if page.position is not None:
            conditions = [*conditions, f"({column}, id) {'>' if page.is_ascending else '<'} (?, ?)"]
            position = page.position
        direction = "ASC" if page.is_ascending else "DESC"
        statement = (
            f"SELECT {RESOURCE_COLUMNS} FROM resources WHERE {' AND '.join(conditions)} "
            f"ORDER BY {column} {direction}, id {direction} LIMIT ?"
        )

        def run(cursor: Cursor) -> builtins.list[Resource]:
            return [resource(row) for row in cursor.execute(statement, (*values, *position, page.limit))]

        return await self._database.read_in_thread(run)

    # ---------------------------------------------------------------------------------------------- keys

    async def put_key(self, key: KeyRow) -> None:
        def run(cursor: Cursor) -> None:
            values = {**asdict(key), "scopes": msgspec.json.encode(key.scopes).decode()}
            try:
                cursor.execute(_PUT_KEY, values)
            except apsw.ConstraintError as error:
                raise Conflict(f"Another key than {key.id!r} has this hash.") from error

        await self._database.write(run)

    async def resolve_key(self, sha256: str) -> KeyRow | None:
        def run(cursor: Cursor) -> KeyRow | None:
            row = cursor.execute(f"SELECT {KEY_COLUMNS} FROM keys WHERE sha256 = ?", (sha256,)).fetchone()
            return None if row is None else key(row)

        return self._database.read(run)

    async def list_keys(self, workspace_id: str) -> Sequence[KeyRow]:
        def run(cursor: Cursor) -> builtins.list[KeyRow]:
            found = cursor.execute(
                f"SELECT {KEY_COLUMNS} FROM keys WHERE workspace_id = ? ORDER BY created_at_us, id",
                (workspace_id,),
            )
            return [key(row) for row in found]

        return await self._database.read_in_thread(run)

    async def drop_expired_keys(self, kind: str, *, before_us: int) -> int:
        def run(cursor: Cursor) -> int:
            dropped = cursor.execute(
                "DELETE FROM keys WHERE kind = ? AND expires_at_us < ? RETURNING id", (kind, before_us)
            )
            return len(dropped.fetchall())

        return await self._database.write(run)

    # --------------------------------------------------------------------------------- blob references

    async def reference_blobs(
        self, principal: Principal, owner_id: str, digests: Sequence[str], *, at_us: int
    ) -> None:
        def run(cursor: Cursor) -> None:
            cursor.executemany(
                "INSERT INTO blob_references (workspace_id, owner_id, digest, said_at_us) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET said_at_us = max(said_at_us, excluded.said_at_us)",
                [(principal.workspace_id, owner_id, digest, at_us) for digest in digests],
            )

        await self._database.write(run)

    async def drop_references(
        self, principal: Principal, owner_id: str, *, said_before_us: int | None = None
    ) -> Sequence[str]:
        def run(cursor: Cursor) -> builtins.list[str]:
            dropped = cursor.execute(
                "DELETE FROM blob_references WHERE workspace_id = ?1 AND owner_id = ?2 "
                "AND (?3 IS NULL OR said_at_us < ?3) RETURNING digest",
                (principal.workspace_id, owner_id, said_before_us),
            ).fetchall()
            return sorted(digest for (digest,) in dropped if not _is_referenced(cursor, digest))

        return await self._database.write(run)

    async def has_reference(self, principal: Principal, digest: str) -> bool:
        def run(cursor: Cursor) -> bool:
            row = cursor.execute(
                "SELECT 1 FROM blob_references WHERE digest = ? AND workspace_id = ? LIMIT 1",
                (digest, principal.workspace_id),
            ).fetchone()
            return row is not None

        return self._database.read(run)

    async def unreferenced(self, digests: Sequence[str]) -> Sequence[str]:
        def run(cursor: Cursor) -> builtins.list[str]:
            return [digest for digest in digests if not _is_referenced(cursor, digest)]

        return await self._database.read_in_thread(run)

    async def list_references(
        self, principal: Principal, *, after: BlobReference | None, limit: int
    ) -> Sequence[BlobReference]:
        position = (after.owner_id, after.digest) if after is not None else ("", "")

        def run(cursor: Cursor) -> builtins.list[BlobReference]:
            found = cursor.execute(
                "SELECT owner_id, digest FROM blob_references WHERE workspace_id = ? AND (owner_id, digest) > (?, ?) "
                "ORDER BY owner_id, digest LIMIT ?",
                (principal.workspace_id, *position, limit),
            )
            return [BlobReference(owner_id=owner_id, digest=digest) for owner_id, digest in found]

        return await self._database.read_in_thread(run)

    async def list_owners(
        self,
        *,
        after: BlobOwner | None,
        limit: int,
        digest: str | None = None,
        silent_since_us: int | None = None,
    ) -> Sequence[BlobOwner]:
        position = (after.workspace_id, after.owner_id) if after is not None else ("", "")

        def run(cursor: Cursor) -> builtins.list[BlobOwner]:
            found = cursor.execute(
                "SELECT workspace_id, owner_id FROM blob_references "
                "WHERE (workspace_id, owner_id) > (?1, ?2) AND (?4 IS NULL OR digest = ?4) "
                "GROUP BY workspace_id, owner_id HAVING ?5 IS NULL OR max(said_at_us) < ?5 "
                "ORDER BY workspace_id, owner_id LIMIT ?3",
                (*position, limit, digest, silent_since_us),
            )
            return [
                BlobOwner(workspace_id=workspace_id, owner_id=owner_id) for workspace_id, owner_id in found
            ]

        return await self._database.read_in_thread(run)

    async def list_everywhere(self, kind: str, page: Page) -> Sequence[Resource]:
        return await self._read_page("created_at_us", ["kind = ?", "is_current = 1"], [kind], page)

    async def close(self) -> None:
        await self._database.close()


def _is_referenced(cursor: Cursor, digest: str) -> bool:
    found = cursor.execute("SELECT 1 FROM blob_references WHERE digest = ? LIMIT 1", (digest,))
    return found.fetchone() is not None


def _conditions(
    principal: Principal, filter: ResourceFilter
) -> tuple[builtins.list[str], builtins.list[str | int]]:
    conditions = ["workspace_id = ?", "kind = ?", "is_current = 1"]
    values: builtins.list[str | int] = [principal.workspace_id, filter.kind]
    if not filter.include_archived:
        conditions.append("archived_at_us IS NULL")
    for condition, value in (
        ("parent_id = ?", filter.parent_id),
        ("unique_key = ?", filter.unique_key),
        ("substr(unique_key, 1, length(?1)) = ?1", filter.unique_key_prefix),
        ("created_at_us > ?", filter.created_after_us),
        ("created_at_us < ?", filter.created_before_us),
    ):
        if value is not None:
            values.append(value)
            conditions.append(condition.replace("?1", f"?{len(values)}"))
    for name, text in filter.labels.items():
        conditions.append("EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)")
        values += [name, text]
    return conditions, values


def _require_free_key(
    cursor: Cursor, principal: Principal, resource: Resource, *, parent_id: str | None
) -> None:
    if resource.unique_key is None or resource.archived_at_us is not None:
        return
    name = (principal.workspace_id, resource.kind, parent_id, resource.unique_key, resource.id)
    if (holder := cursor.execute(_KEY_HOLDER, name).fetchone()) is not None:
        raise key_taken(resource, holder[0])


def _create(cursor: Cursor, principal: Principal, resource: Resource) -> None:
    name = (principal.workspace_id, resource.kind, resource.id)
    if cursor.execute(_CURRENT, name).fetchone() is not None:
        raise exists_already(resource)
    _require_free_key(cursor, principal, resource, parent_id=resource.parent_id)
    _insert(cursor, principal, resource, version=1)


def _insert(cursor: Cursor, principal: Principal, resource: Resource, *, version: int) -> None:
    cursor.execute(_INSERT_RESOURCE, _bindings(principal, resource, version=version))


def _bindings(principal: Principal, resource: Resource, *, version: int) -> Mapping[str, object]:
    labels = msgspec.json.encode(resource.labels).decode()
    return {
        **asdict(resource),
        "workspace_id": principal.workspace_id,
        "version": version,
        "labels": labels,
    }


def _count(cursor: Cursor, conditions: Sequence[str], values: Sequence[str | int]) -> int:
    row = cursor.execute(
        f"SELECT count(*) FROM resources WHERE {' AND '.join(conditions)}", values
    ).fetchone()
    assert row is not None
    return row[0]


def _require_parents(
    cursor: Cursor, principal: Principal, parent_kind: str | None, resources: Sequence[Resource]
) -> None:
    for kind, id in parents_of(parent_kind, resources):
        _require_resource(cursor, principal, kind, id)


def _require_resource(cursor: Cursor, principal: Principal, kind: str, id: str) -> None:
    if cursor.execute(_CURRENT, (principal.workspace_id, kind, id)).fetchone() is None:
        raise no_such_resource(kind, id)
