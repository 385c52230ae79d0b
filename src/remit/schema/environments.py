"""Environments on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.wire import Json, JsonMap, Metadata, MetadataPatch, Params

PACKAGE_SOURCES = ("apt", "cargo", "gem", "go", "npm", "pip")

EnvironmentName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Description = Annotated[str, msgspec.Meta(max_length=2_048)]


class UnrestrictedNetwork(Params, frozen=True, tag="unrestricted"):
    """Read only to be refused by name."""


class LimitedNetwork(Params, frozen=True, tag="limited"):
    """No host but those listed; in this release none can be."""

    allowed_hosts: list[str] | None = None
    allow_mcp_servers: bool | None = None
    allow_package_managers: bool | None = None


class PackagesParams(Params, frozen=True):
    """Packages by source; in this release all empty."""

    type: Literal["packages"] | None = None
    apt: list[str] | None = None
    cargo: list[str] | None = None
    gem: list[str] | None = None
    go: list[str] | None = None
    npm: list[str] | None = None
    pip: list[str] | None = None


class CloudConfigParams(Params, frozen=True, tag="cloud"):
    """A sandbox made here."""

    networking: UnrestrictedNetwork | LimitedNetwork | None = None
    packages: PackagesParams | None = None


class SelfHostedConfigParams(Params, frozen=True, tag="self_hosted"):
    """Read only to be refused by name."""


ConfigParams = CloudConfigParams | SelfHostedConfigParams


class EnvironmentCreate(Params, frozen=True):
    """POST /v1/environments."""

    name: EnvironmentName
    config: ConfigParams | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    scope: Literal["organization", "account"] | None = None


class EnvironmentUpdate(Params, frozen=True):
    """POST /v1/environments/{id}: what is left out (or null) stays."""

    name: EnvironmentName | None = None
    config: ConfigParams | None = None
    description: Description | UnsetType | None = UNSET
    metadata: MetadataPatch | None = None
    scope: Literal["organization", "account"] | None = None


class EnvironmentConfig(msgspec.Struct, kw_only=True, frozen=True):
    """What the catalog keeps, fully resolved."""

    name: str
    config: JsonMap
    description: str | None = None
    metadata: dict[str, str] = {}


def cloud_config() -> JsonMap:
    """The only configuration of this release: a sandbox without network and without extra packages."""
    packages: dict[str, Json] = {source: [] for source in PACKAGE_SOURCES}
    return {
        "type": "cloud",
        "networking": {
            "type": "limited",
            "allowed_hosts": [],
            "allow_mcp_servers": False,
            "allow_package_managers": False,
        },
        "packages": {"type": "packages", **packages},
    }


def environment_body(
    config: EnvironmentConfig, *, id: str, created_at: str, updated_at: str, archived_at: str | None
) -> JsonMap:
    """The environment as the wire shows it."""
    return {
        "id": id,
        "type": "environment",
        "name": config.name,
        "description": config.description,
        "config": config.config,
        "metadata": dict(config.metadata),
        "scope": "organization",
        "created_at": created_at,
        "updated_at": updated_at,
        "archived_at": archived_at,
    }
