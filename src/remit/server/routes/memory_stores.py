"""/v1/memory_stores, their memories and versions"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.types import ASGIApp

from remit.catalog.memory_stores import (
    MemoryBody,
    MemoryChange,
    MemoryStores,
    VersionBody,
    memory_to_wire,
    store_to_wire,
    version_to_wire,
)
from remit.catalog.resources import Stored
from remit.schema import memory_stores as api
from remit.schema.lists import encode_list
from remit.schema.operation import NoQuery
from remit.server.operations.cursors import ListCursor, decode_list_cursor, encode
from remit.server.operations.listing import read_page, resource_list
from remit.server.operations.requests import encoded_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services


class MemoryStoreRoutes:
    """Stores, memories, versions."""

    def __init__(self, services: Services) -> None:
        self._stores: MemoryStores = services.memory_stores

    @handles(api.CREATE)
    async def create(self, call: Call[api.MemoryStoreCreate, NoQuery]) -> api.MemoryStore:
        return store_to_wire(await self._stores.create(call.principal, call.body))

    @handles(api.LIST)
    async def list(self, call: Call[None, api.MemoryStorePaging]) -> ASGIApp:
        query = call.query
        page = read_page(query, list="memory_stores")
        page.check_within(query.created_after_us, query.created_before_us)
        stores = await self._stores.list(
            call.principal,
            page.query(),
            include_archived=query.include_archived,
            created_after_us=query.created_after_us,
            created_before_us=query.created_before_us,
        )
        return resource_list(page, stores, store_to_wire)

    @handles(api.RETRIEVE)
    async def retrieve(self, call: Call[None, NoQuery], memory_store_id: str) -> api.MemoryStore:
        return store_to_wire(await self._stores.retrieve(call.principal, memory_store_id))

    @handles(api.UPDATE)
    async def update(
        self, call: Call[api.MemoryStoreUpdate, NoQuery], memory_store_id: str
    ) -> api.MemoryStore:
        return store_to_wire(await self._stores.update(call.principal, memory_store_id, call.body))

    @handles(api.ARCHIVE)
    async def archive(self, call: Call[None, NoQuery], memory_store_id: str) -> api.MemoryStore:
        return store_to_wire(await self._stores.archive(call.principal, memory_store_id))

    @handles(api.DELETE)
    async def delete(self, call: Call[None, NoQuery], memory_store_id: str) -> api.MemoryStoreDeleted:
        await self._stores.delete(call.principal, memory_store_id)
        return {"id": memory_store_id, "type": "memory_store_deleted"}

    # ------------------------------------------------------------------------------------------ memories

    @handles(api.CREATE_MEMORY)
    async def create_memory(
        self, call: Call[api.MemoryCreate, api.MemoryView], memory_store_id: str
    ) -> api.Memory:
        memory = await self._stores.add(
            call.principal, memory_store_id, path=call.body.path, content=call.body.content or ""
        )
        return await self._shown(memory, call.query.view or "basic")

    @handles(api.LIST_MEMORIES)
    async def list_memories(self, call: Call[None, api.MemoryPaging], memory_store_id: str) -> ASGIApp:
        query = call.query
        if query.path_prefix is not None:
            api.check_prefix(query.path_prefix, "path_prefix")
        memories = await self._stores.all_memories(
            call.principal, memory_store_id, path_prefix=query.path_prefix
        )
        limit = min(query.limit, api.FULL_VIEW_MAX) if query.view == "full" else query.limit
        entries = _entries(memories, query.path_prefix or "/", query.depth)
        # The place is a path; what the list is of belongs to its name, so that no page of another one is gone on with.
        name = f"memories of {memory_store_id} below {query.path_prefix} {query.depth}"
        cursor = decode_list_cursor(query.page, list=name, is_ascending=True) if query.page else None
        after = cursor.position[1] if cursor is not None else ""
        left = [(path, memory) for path, memory in entries if path > after]
        items: Sequence[bytes] = [
            msgspec.json.encode(
                api.MemoryPrefix(path=path) if memory is None else await self._shown(memory, query.view)
            )
            for path, memory in left[:limit]
        ]
        next_page: str | None = None
        if len(left) > limit:
            position = (0, left[limit - 1][0])
            next_page = encode(ListCursor(list=name, is_ascending=True, direction="next", position=position))
        return encoded_response(encode_list(items, next_page))

    @handles(api.RETRIEVE_MEMORY)
    async def retrieve_memory(
        self, call: Call[None, api.MemoryView], memory_store_id: str, memory_id: str
    ) -> api.Memory:
        memory = await self._stores.memory(call.principal, memory_store_id, memory_id)
        return await self._shown(memory, call.query.view or "full")

    @handles(api.UPDATE_MEMORY)
    async def update_memory(
        self, call: Call[api.MemoryUpdate, api.MemoryView], memory_store_id: str, memory_id: str
    ) -> api.Memory:
        body = call.body
        expected = body.precondition.content_sha256 if body.precondition is not None else None
        change = MemoryChange(path=body.path, content=body.content, expected_sha256=expected)
        memory = await self._stores.change(call.principal, memory_store_id, memory_id, change)
        return await self._shown(memory, call.query.view or "basic")

    @handles(api.DELETE_MEMORY)
    async def delete_memory(
        self, call: Call[None, api.MemoryDeletion], memory_store_id: str, memory_id: str
    ) -> api.MemoryDeleted:
        expected = call.query.expected_content_sha256
        await self._stores.remove(call.principal, memory_store_id, memory_id, expected_sha256=expected)
        return {"id": memory_id, "type": "memory_deleted"}

    async def _shown(self, memory: Stored[MemoryBody], view: api.View) -> api.Memory:
        return memory_to_wire(memory, await self._stores.content(memory) if view == "full" else None)

    # ------------------------------------------------------------------------------------------ versions

    @handles(api.LIST_VERSIONS)
    async def list_versions(self, call: Call[None, api.MemoryVersionPaging], memory_store_id: str) -> ASGIApp:
        query = call.query
        page = read_page(query, list=f"memory versions of {memory_store_id}")
        if query.view == "full":
            page = msgspec.structs.replace(page, limit=min(page.limit, api.FULL_VIEW_MAX))
        page.check_within(query.created_after_us, query.created_before_us)
        wanted = {
            "memory_id": query.memory_id,
            "operation": query.operation,
            "session_id": query.session_id,
            "api_key_id": query.api_key_id,
            "service_account_id": query.service_account_id,
        }
        versions = await self._stores.versions(
            call.principal,
            memory_store_id,
            page.query(),
            labels={name: value for name, value in wanted.items() if value is not None},
            created_after_us=query.created_after_us,
            created_before_us=query.created_before_us,
        )
        items = [
            msgspec.json.encode(await self._version_shown(version, query.view))
            for version in versions[: page.limit]
        ]
        positions = [(version.row.created_at_us, version.id) for version in versions]
        return encoded_response(encode_list(items, page.next_page(positions)))

    @handles(api.RETRIEVE_VERSION)
    async def retrieve_version(
        self, call: Call[None, api.MemoryView], memory_store_id: str, memory_version_id: str
    ) -> api.MemoryVersion:
        version = await self._stores.version(call.principal, memory_store_id, memory_version_id)
        return await self._version_shown(version, call.query.view or "full")

    @handles(api.REDACT_VERSION)
    async def redact(
        self, call: Call[None, NoQuery], memory_store_id: str, memory_version_id: str
    ) -> api.MemoryVersion:
        version = await self._stores.redact(call.principal, memory_store_id, memory_version_id)
        return version_to_wire(version, None)

    async def _version_shown(self, version: Stored[VersionBody], view: api.View) -> api.MemoryVersion:
        return version_to_wire(
            version, await self._stores.version_content(version) if view == "full" else None
        )


def _entries(
    memories: Sequence[Stored[MemoryBody]], prefix: str, depth: int
) -> list[tuple[str, Stored[MemoryBody] | None]]:
    """What a list shows, by path: memories, and of a depth of 1 the folders that hold the deeper ones."""
    entries: dict[str, Stored[MemoryBody] | None] = {}
    for memory in memories:
        name, is_deeper, _ = memory.config.path.removeprefix(prefix).partition("/")
        if depth == 1 and is_deeper:
            entries[f"{prefix}{name}/"] = None
        else:
            entries[memory.config.path] = memory
    return sorted(entries.items(), key=lambda entry: entry[0])
