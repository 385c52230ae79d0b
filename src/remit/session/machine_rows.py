"""The rows about a session's machine: sandboxes, snapshots, files, packages, services."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from remit.streams.rows import PrivateRow, PublicRow
from remit.values import CredentialUse, JsonObject


class SandboxStarted(PrivateRow, frozen=True, kw_only=True, tag="sandbox.started"):
    """A sandbox is about to be used."""

    sandbox_id: str
    key: str | None = None
    provider: str | None = None
    isolation: str | None = None
    not_held: list[str] | None = None
    image_digest: str | None = None
    tree_digest: str | None = None
    network: str | None = None
    credentials: list[str] | None = None
    packages_digest: str | None = None
    memory: dict[str, str | None] | None = None
    """By memory store, the tree that its folder begins with."""


class SandboxReleased(PrivateRow, frozen=True, kw_only=True, tag="sandbox.released"):
    """A sandbox is gone, in good order."""

    sandbox_id: str = ""
    tree_digest: str | None = None


class SessionSandboxLost(PublicRow, frozen=True, kw_only=True, tag="session.sandbox_lost"):
    """A sandbox is gone, with what only it had."""

    reason: str
    cause: str | UnsetType = UNSET
    restored_from: JsonObject | None = None
    lost: JsonObject | None = None


class SnapshotTaken(PrivateRow, frozen=True, kw_only=True, tag="snapshot.taken"):
    """The working tree is durable."""

    tree_digest: str
    outputs_digest: str | None = None
    outputs_unlisted: int | None = None
    sandbox_id: str | None = None
    covers_seq: int
    files: int = 0
    bytes: int = 0
    taken_at: str | None = None
    left_out: list[JsonObject] | UnsetType = UNSET


class ServicesSeen(PrivateRow, frozen=True, kw_only=True, tag="services.seen"):
    """The services that listen now."""

    services: list[JsonObject]


class PackagesInstalling(PublicRow, frozen=True, kw_only=True, tag="session.packages_installing"):
    """Packages are being installed, which takes a while."""

    packages: JsonObject | None = None


class PackagesInstalled(PrivateRow, frozen=True, kw_only=True, tag="packages.installed"):
    """The same in every sandbox of the session."""

    tree_digest: str
    packages: JsonObject | None = None
    image_digest: str | None = None
    files: int = 0
    bytes: int = 0


class CredentialsUsed(PublicRow, frozen=True, kw_only=True, tag="session.credentials_used"):
    """By requests of the sandbox, or of the platform to the session's MCP servers."""

    credentials: list[JsonObject]

    @classmethod
    def of(cls, uses: Sequence[CredentialUse]) -> CredentialsUsed:
        """Return the row that tells of these."""
        return cls(credentials=[msgspec.to_builtins(use) for use in uses])


class MemorySynced(PrivateRow, frozen=True, kw_only=True, tag="memory.synced"):
    """A memory store and its folder came to agree on these: SHA-256 by path, None: it is gone."""

    memory_store_id: str
    agreed: dict[str, str | None]


class SessionMemoryNotKept(PublicRow, frozen=True, kw_only=True, tag="session.memory_not_kept"):
    """Files in the folder of a memory store that are no memories as they are."""

    memory_store_id: str
    mount_path: str
    files: list[JsonObject]
    more: int


class ResourceAdded(PrivateRow, frozen=True, kw_only=True, tag="session.resource_added"):
    """A file is mounted."""

    resource: JsonObject


class ResourceRemoved(PrivateRow, frozen=True, kw_only=True, tag="session.resource_removed"):
    """A resource is no longer the session's."""

    resource_id: str
