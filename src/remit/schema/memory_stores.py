"""Memory stores, their memories and the versions of those on the wire."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from remit.errors import InvalidRequest
from remit.schema.lists import LIMIT_DEFAULT, LIMIT_MAX, ListOf, PagingByTime
from remit.schema.operation import Answer, Operation
from remit.schema.wire import Metadata, MetadataPatch, Params

BETA = "agent-memory-2026-07-22"
CONTENT_BYTES_MAX = 102_400
MEMORIES_MAX = 2_000
"""In one store."""
STORES_MAX = 8
"""Of one session."""
PATH_BYTES_MAX = 1_024
SEGMENTS_MAX = 20
FULL_VIEW_MAX = 20
"""Memories of one page that come with their contents."""
INSTRUCTIONS_LENGTH_MAX = 4_096
SLUG_LENGTH_MAX = 200
"""A number may follow, and no file system has names of more than 255 bytes."""

StoreName = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
StoreDescription = Annotated[str, msgspec.Meta(max_length=1_024)]
Access = Literal["read_write", "read_only"]
View = Literal["basic", "full"]
ChangeKind = Literal["created", "modified", "deleted"]
Sha256 = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class MemoryStoreCreate(Params, frozen=True):
    """POST /v1/memory_stores."""

    name: StoreName
    description: StoreDescription | None = None
    metadata: Metadata | None = None


class MemoryStoreUpdate(Params, frozen=True):
    """POST /v1/memory_stores/{id}: what is left out stays; an empty description clears it."""

    name: StoreName | None = None
    description: StoreDescription | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET


class MemoryStore(TypedDict):
    """A named container of an agent's memories."""

    id: str
    type: Literal["memory_store"]
    name: str
    description: str
    metadata: dict[str, str]
    created_at: str
    updated_at: str
    archived_at: str | None


class MemoryStoreDeleted(TypedDict):
    """The word that a store is gone, with its memories and their versions."""

    id: str
    type: Literal["memory_store_deleted"]


class MemoryStorePaging(PagingByTime, frozen=True):
    """The selection of listed stores."""

    include_archived: bool = False


class MemoryCreate(Params, frozen=True):
    """POST …/memories. A content of null is an empty one."""

    path: str
    content: str | None


class ContentPrecondition(Params, frozen=True, tag="content_sha256"):
    """The memory's content must still be the one with this SHA-256."""

    content_sha256: Sha256


class MemoryUpdate(Params, frozen=True):
    """POST …/memories/{id}: what is left out (or null) stays; another path renames it."""

    content: str | None = None
    path: str | None = None
    precondition: ContentPrecondition | None = None


class MemoryView(Params, frozen=True):
    """The choice whether the answer has the content; else as the call is used to."""

    view: View | None = None


class MemoryPaging(Params, frozen=True):
    """The selection of memories below a prefix; a depth of 1: its children alone, deeper ones grouped."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    page: str | None = None
    path_prefix: str | None = None
    depth: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    view: View = "basic"


class MemoryDeletion(Params, frozen=True):
    """The content that must still be there for a memory to be deleted."""

    expected_content_sha256: Sha256 | None = None


class Memory(Answer, frozen=True, tag="memory"):
    """A text at a path of a store."""

    id: str
    memory_store_id: str
    path: str
    content: str | None
    content_sha256: str
    content_size_bytes: int
    memory_version_id: str
    created_at: str
    updated_at: str


class MemoryPrefix(Answer, frozen=True, tag="memory_prefix"):
    """Stands for all memories below a path."""

    path: str


class MemoryDeleted(TypedDict):
    """The word that a memory is gone; its versions stay."""

    id: str
    type: Literal["memory_deleted"]


class SessionActor(Answer, frozen=True, tag="session_actor"):
    """An agent, through the folder that a session mounts."""

    session_id: str


class ApiActor(Answer, frozen=True, tag="api_actor"):
    """A key."""

    api_key_id: str


class MemoryVersion(TypedDict):
    """One change of a memory."""

    id: str
    type: Literal["memory_version"]
    memory_store_id: str
    memory_id: str
    operation: ChangeKind
    path: str | None
    content: str | None
    content_sha256: str | None
    content_size_bytes: int | None
    created_by: SessionActor | ApiActor | None
    created_at: str
    redacted_at: str | None
    redacted_by: SessionActor | ApiActor | None


class MemoryVersionPaging(PagingByTime, frozen=True):
    """The selection of listed versions."""

    memory_id: str | None = None
    operation: ChangeKind | None = None
    session_id: str | None = None
    api_key_id: str | None = None
    service_account_id: str | None = None
    view: View = "basic"


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def check_store_name(name: str) -> None:
    """Raise InvalidRequest for a name that holds control characters."""
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise InvalidRequest("`name`: holds control characters; remove them.")


def check_path(path: str, field: str) -> None:
    """Raise InvalidRequest unless this is a memory's path."""
    wrong = wrong_with_path(path)
    if wrong is not None:
        raise InvalidRequest(f"`{field}`: {wrong}; give a path such as /projects/notes.md.")


def check_prefix(prefix: str, field: str) -> None:
    """Raise InvalidRequest unless whole segments can lie below this."""
    if not prefix.endswith("/"):
        raise InvalidRequest(
            f"`{field}`: must end with `/`, so that it matches whole segments, such as /notes/."
        )
    if prefix != "/" and (wrong := wrong_with_path(prefix[:-1])) is not None:
        raise InvalidRequest(f"`{field}`: {wrong}; give a prefix such as /notes/.")


def wrong_with_path(path: str) -> str | None:
    """Return why this cannot be a memory's path; None: it can."""
    if not path.startswith("/"):
        return f"must start with `/`, not {path[:80]!r}"
    if any(unicodedata.category(character) in _UNSEEN for character in path):
        return "holds characters that cannot be seen"
    if len(path.encode()) > PATH_BYTES_MAX:
        return f"has more than {PATH_BYTES_MAX} bytes"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode's normal form C"
    segments = path[1:].split("/")
    if len(segments) > SEGMENTS_MAX:
        return f"has more than {SEGMENTS_MAX} segments"
    if any(segment in ("", ".", "..") for segment in segments):
        return f"has an empty segment, `.` or `..`: {path[:80]!r}"
    return None


def check_content(content: str, field: str) -> bytes:
    """Return the content's bytes. Raises InvalidRequest for one that is too large, or no text."""
    try:
        encoded = content.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"`{field}`: holds half a character (a lone surrogate); correct it.") from error
    if len(encoded) > CONTENT_BYTES_MAX:
        raise InvalidRequest(
            f"`{field}`: has {len(encoded)} bytes, and a memory at most {CONTENT_BYTES_MAX}; split it."
        )
    return encoded


def slug_of(name: str) -> str:
    """Return the name of a store's folder below MEMORY; `memory` for a name without letters and digits of ASCII."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:SLUG_LENGTH_MAX].strip("-") or "memory"


_STORES, _STORE = "/v1/memory_stores", "/v1/memory_stores/{memory_store_id}"
_MEMORIES, _MEMORY = f"{_STORE}/memories", f"{_STORE}/memories/{{memory_id}}"
_VERSIONS, _VERSION = f"{_STORE}/memory_versions", f"{_STORE}/memory_versions/{{memory_version_id}}"
CREATE = Operation(
    "POST", _STORES, "Create a memory store", body=MemoryStoreCreate, answer=MemoryStore, beta=BETA
)
LIST = Operation(
    "GET", _STORES, "List memory stores", query=MemoryStorePaging, answer=ListOf[MemoryStore], beta=BETA
)
RETRIEVE = Operation("GET", _STORE, "Retrieve a memory store", answer=MemoryStore, beta=BETA)
UPDATE = Operation(
    "POST",
    _STORE,
    "Update a memory store",
    body=MemoryStoreUpdate,
    answer=MemoryStore,
    takes_patch=True,
    beta=BETA,
)
ARCHIVE = Operation("POST", f"{_STORE}/archive", "Archive a memory store", answer=MemoryStore, beta=BETA)
DELETE = Operation("DELETE", _STORE, "Delete a memory store", answer=MemoryStoreDeleted, beta=BETA)
CREATE_MEMORY = Operation(
    "POST", _MEMORIES, "Create a memory", body=MemoryCreate, query=MemoryView, answer=Memory, beta=BETA
)
LIST_MEMORIES = Operation(
    "GET", _MEMORIES, "List memories", query=MemoryPaging, answer=ListOf[Memory | MemoryPrefix], beta=BETA
)
RETRIEVE_MEMORY = Operation("GET", _MEMORY, "Retrieve a memory", query=MemoryView, answer=Memory, beta=BETA)
UPDATE_MEMORY = Operation(
    "POST",
    _MEMORY,
    "Update a memory",
    body=MemoryUpdate,
    query=MemoryView,
    answer=Memory,
    takes_patch=True,
    beta=BETA,
)
DELETE_MEMORY = Operation(
    "DELETE", _MEMORY, "Delete a memory", query=MemoryDeletion, answer=MemoryDeleted, beta=BETA
)
LIST_VERSIONS = Operation(
    "GET",
    _VERSIONS,
    "List versions of memories",
    query=MemoryVersionPaging,
    answer=ListOf[MemoryVersion],
    beta=BETA,
)
RETRIEVE_VERSION = Operation(
    "GET", _VERSION, "Retrieve a version of a memory", query=MemoryView, answer=MemoryVersion, beta=BETA
)
REDACT_VERSION = Operation(
    "POST", f"{_VERSION}/redact", "Redact a version of a memory", answer=MemoryVersion, beta=BETA
)
