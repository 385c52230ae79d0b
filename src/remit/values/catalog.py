"""Stored resources and blobs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from remit.values.value import Value


class Resource(Value, frozen=True, kw_only=True):
    """A row of the catalog: one version of an agent, an environment, an input, a key's metadata …"""

    workspace_id: str
    kind: str
    id: str
    version: int
    name: str | None
    body: bytes
    created_at_us: int
    updated_at_us: int
    archived_at_us: int | None = None
    parent_id: str | None = None
    """What it stands under (a memory under its store, a credential under its vault); stays as it was created."""
    unique_key: str | None = None
    """Taken once among those of its kind and parent that are not archived (a memory's path)."""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """What lists select by; the body could tell it."""


class ResourceFilter(Value, frozen=True, kw_only=True):
    """A selection of resources. Every given field must match."""

    kind: str
    parent_id: str | None = None
    unique_key: str | None = None
    unique_key_prefix: str | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """All of these must be among the resource's."""
    include_archived: bool = False
    created_after_us: int | None = None
    """Exclusive."""
    created_before_us: int | None = None
    """Exclusive."""


class StoredBlob(Value, frozen=True, kw_only=True):
    """A blob that is there."""

    digest: str
    size_bytes: int
    touched_at_us: int
    """When somebody put it last, or said that it is needed."""


class BlobOwner(Value, frozen=True, kw_only=True, order=True):
    """A stream or resource that needs blobs, or that somebody was about to make."""

    workspace_id: str
    owner_id: str


class BlobReference(Value, frozen=True, kw_only=True, order=True):
    """Somebody's need of a blob: while it stands the blob stays."""

    owner_id: str
    """A stream or resource."""
    digest: str


class Collected(Value, frozen=True, kw_only=True):
    """The things of one sort that a collector removed."""

    what: str
    """In words, plural."""
    count: int
    size_bytes: int
