"""Resources of sessions on the wire."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import msgspec

from remit.schema.lists import ListOf, Paging
from remit.schema.memory_stores import INSTRUCTIONS_LENGTH_MAX, STORES_MAX, Access
from remit.schema.operation import SMALL_BODY_BYTES, Answer, Operation
from remit.schema.wire import Json, Params, decode

FILES_MAX = 500
"""Of one session."""
RESOURCES_LIMIT_MAX = 1_000
MOUNT_PATH_LENGTH_MAX = 1_024


class FileResourceParams(Params, frozen=True, tag="file"):
    """An uploaded file, copied into the session and mounted read-only."""

    file_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    mount_path: Annotated[str, msgspec.Meta(min_length=1, max_length=MOUNT_PATH_LENGTH_MAX)] | None = None


class RepositoryResourceParams(Params, frozen=True, tag="github_repository"):
    """Read only to be refused by name."""

    IS_TOLD = False

    url: Json = None
    authorization_token: Json = None
    checkout: Json = None
    mount_path: Json = None


class MemoryStoreResourceParams(Params, frozen=True, tag="memory_store"):
    """A memory store, mounted below /mnt/memory; at creation alone."""

    memory_store_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    access: Access | None = None
    instructions: Annotated[str, msgspec.Meta(max_length=INSTRUCTIONS_LENGTH_MAX)] | None = None


ResourceParams = FileResourceParams | RepositoryResourceParams | MemoryStoreResourceParams
ResourceList = Annotated[list[ResourceParams], msgspec.Meta(max_length=FILES_MAX + STORES_MAX)]


class ResourceUpdate(Params, frozen=True):
    """Read only to be refused by name: it renews a repository's token."""

    authorization_token: Json = None


def decode_resource(body: bytes) -> ResourceParams:
    """The body of POST /v1/sessions/{id}/resources. Raises InvalidRequest."""
    return decode(body, ResourceParams)  # type: ignore[arg-type]  # a union is decoded as well as a class


class SessionFile(Answer, frozen=True, tag="file"):
    """A file of a session."""

    id: str
    file_id: str
    mount_path: str
    created_at: str
    updated_at: str


class SessionMemoryStore(Answer, frozen=True, tag="memory_store"):
    """A memory store of a session; its name and description are those of when the session was made."""

    memory_store_id: str
    access: Access
    instructions: str | None
    name: str
    description: str
    mount_path: str


SessionResource = SessionFile | SessionMemoryStore


class SessionResourceDeleted(TypedDict):
    """The word that a resource is gone."""

    id: str
    type: Literal["session_resource_deleted"]


class ResourcePaging(Paging, frozen=True):
    """The selection of listed resources of a session."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=RESOURCES_LIMIT_MAX)] = RESOURCES_LIMIT_MAX


_ALL, _ONE = "/v1/sessions/{session_id}/resources", "/v1/sessions/{session_id}/resources/{resource_id}"
ADD = Operation(
    "POST", _ALL, "Add a file", body=FileResourceParams, reads=decode_resource, answer=SessionFile
)
LIST = Operation("GET", _ALL, "List resources", query=ResourcePaging, answer=ListOf[SessionResource])
RETRIEVE = Operation("GET", _ONE, "Retrieve a resource", answer=SessionFile)
UPDATE = Operation(
    "POST",
    _ONE,
    "Update a resource",
    body=ResourceUpdate,
    answer=SessionFile,
    body_bytes_max=SMALL_BODY_BYTES,
    takes_patch=True,
)
DELETE = Operation("DELETE", _ONE, "Remove a resource", answer=SessionResourceDeleted)
