"""Memory stores that a session mounts: attached when it is created, each a folder below /mnt/memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from remit.catalog.memory_stores import MemoryStores
from remit.errors import InvalidRequest, NotFound, WrongState
from remit.schema.memory_stores import STORES_MAX, slug_of
from remit.schema.resources import MemoryStoreResourceParams, SessionMemoryStore
from remit.values import MEMORY, JsonObject, JsonValue, Principal


async def attach_stores(
    stores: MemoryStores, principal: Principal, params: Mapping[str, MemoryStoreResourceParams]
) -> tuple[SessionMemoryStore, ...]:
    """Return the stores as they are now, each with a folder of its own. Raises InvalidRequest naming the field."""
    if len(params) > STORES_MAX:
        raise InvalidRequest(f"`resources`: a session has at most {STORES_MAX} memory stores; attach fewer.")
    attached: dict[str, SessionMemoryStore] = {}
    for place, wanted in params.items():
        store_id = wanted.memory_store_id
        try:
            store = await stores.usable(principal, store_id)
        except NotFound as error:
            raise InvalidRequest(
                f"`{place}memory_store_id`: {error.message}", code="memory_store_not_found"
            ) from error
        except WrongState as error:
            raise InvalidRequest(f"`{place}memory_store_id`: {error.message}", code=error.code) from error
        if store_id in attached:
            raise InvalidRequest(f"`{place}memory_store_id`: {store_id!r} is attached twice; remove one.")
        attached[store_id] = SessionMemoryStore(
            memory_store_id=store_id,
            access=wanted.access or "read_write",
            instructions=wanted.instructions,
            name=store.config.name,
            description=store.config.description,
            mount_path=_free_path(store.config.name, {one.mount_path for one in attached.values()}),
        )
    return tuple(attached.values())


def attached_stores(created: JsonObject) -> tuple[SessionMemoryStore, ...]:
    """Return the stores of a session, from its first row."""
    kept = cast("list[JsonValue]", created.get("memory_stores") or [])
    return tuple(msgspec.convert(one, SessionMemoryStore) for one in kept)


def _free_path(name: str, taken: set[str]) -> str:
    path = first = f"{MEMORY}/{slug_of(name)}"
    number = 1
    while path in taken:
        number += 1
        path = f"{first}-{number}"
    return path
