"""Environments on the wire."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.lists import ListOf, Paging
from remit.schema.operation import Operation
from remit.schema.wire import JsonMap, Metadata, MetadataPatch, Params

PACKAGE_SOURCES = ("apt", "cargo", "gem", "go", "npm", "pip")

EnvironmentName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Description = Annotated[str, msgspec.Meta(max_length=2_048)]


class UnrestrictedNetwork(Params, frozen=True, tag="unrestricted"):
    """Every public host."""


class LimitedNetwork(Params, frozen=True, tag="limited"):
    """No host but those listed."""

    allowed_hosts: list[str] | None = None
    allow_mcp_servers: bool | None = None
    allow_package_managers: bool | None = None


class RegistriesAndHosts(Params, frozen=True, tag="package_managers_and_custom"):
    """An older form of `limited` with `allow_package_managers`, and answered as that."""

    IS_TOLD = False

    allowed_hosts: list[str] | None = None


NetworkParams = UnrestrictedNetwork | LimitedNetwork | RegistriesAndHosts


class PackagesParams(Params, frozen=True):
    """Packages by source; pip and npm are installed, of apt what the machine has is taken, the rest refused by name."""

    type: Literal["packages"] | None = None
    apt: list[str] | None = None
    cargo: list[str] | None = None
    gem: list[str] | None = None
    go: list[str] | None = None
    npm: list[str] | None = None
    pip: list[str] | None = None


class CloudConfigParams(Params, frozen=True, tag="cloud"):
    """A sandbox made here."""

    networking: NetworkParams | None = None
    packages: PackagesParams | None = None
    variables: dict[str, str] | None = None
    """Remit's own: environment variables of its sandboxes. Not for secrets: whoever reads the environment reads them."""


class AnthropicCloudConfigParams(CloudConfigParams, frozen=True, tag="anthropic_cloud"):
    """An older word for `cloud`, and answered as that."""

    IS_TOLD = False


class SelfHostedConfigParams(Params, frozen=True, tag="self_hosted"):
    """Read only to be refused by name."""

    IS_TOLD = False


ConfigParams = CloudConfigParams | AnthropicCloudConfigParams | SelfHostedConfigParams


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
    """The configuration that the catalog keeps, fully resolved."""

    name: str
    config: JsonMap
    description: str | None = None
    metadata: dict[str, str] = {}


class Environment(TypedDict):
    """A template of where tools run."""

    id: str
    type: Literal["environment"]
    name: str
    description: str | None
    config: JsonMap
    metadata: dict[str, str]
    scope: Literal["organization"]
    created_at: str
    updated_at: str
    archived_at: str | None


class EnvironmentDeleted(TypedDict):
    """The word that an environment is gone."""

    id: str
    type: Literal["environment_deleted"]


def environment_body(
    config: EnvironmentConfig, *, id: str, created_at: str, updated_at: str, archived_at: str | None
) -> Environment:
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


class EnvironmentPaging(Paging, frozen=True):
    """The selection of listed environments."""

    include_archived: bool = False


_ALL, _ONE = "/v1/environments", "/v1/environments/{environment_id}"
CREATE = Operation("POST", _ALL, "Create an environment", body=EnvironmentCreate, answer=Environment)
LIST = Operation("GET", _ALL, "List environments", query=EnvironmentPaging, answer=ListOf[Environment])
RETRIEVE = Operation("GET", _ONE, "Retrieve an environment", answer=Environment)
UPDATE = Operation(
    "POST", _ONE, "Update an environment", body=EnvironmentUpdate, answer=Environment, takes_patch=True
)
DELETE = Operation("DELETE", _ONE, "Delete an environment", answer=EnvironmentDeleted)
ARCHIVE = Operation("POST", f"{_ONE}/archive", "Archive an environment", answer=Environment)
