"""Resources of sessions: what callers send."""

from __future__ import annotations

from typing import Annotated

import msgspec

from remit.schema.wire import Json, Params, decode

RESOURCES_MAX = 500
"""Files of one session."""
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
    """Read only to be refused by name."""

    IS_TOLD = False

    memory_store_id: Json = None
    access: Json = None
    instructions: Json = None


ResourceParams = FileResourceParams | RepositoryResourceParams | MemoryStoreResourceParams
ResourceList = Annotated[list[ResourceParams], msgspec.Meta(max_length=RESOURCES_MAX)]


class ResourceUpdate(Params, frozen=True):
    """Read only to be refused by name: it renews a repository's token."""

    authorization_token: Json = None


def decode_resource(body: bytes) -> ResourceParams:
    """The body of POST /v1/sessions/{id}/resources. Raises InvalidRequest."""
    return decode(body, ResourceParams)  # type: ignore[arg-type]  # a union is decoded as well as a class
