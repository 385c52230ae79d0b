"""Environments: templates of where tools run. Rules over the catalog; no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.environment_config import DefaultNetworking, resolve_config, system_packages
from remit.catalog.metadata import merge_metadata
from remit.catalog.resources import ResourceKind, Resources, Stored
from remit.clock import Clock
from remit.errors import InvalidRequest, WrongState
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.schema.environments import (
    Environment,
    EnvironmentConfig,
    EnvironmentCreate,
    EnvironmentUpdate,
    SelfHostedConfigParams,
    environment_body,
)
from remit.schema.wire import not_supported
from remit.values import Principal

ENVIRONMENT = ResourceKind(
    name="environment", id_prefix="env", config=EnvironmentConfig, archived_code="environment_archived"
)

FindMissing = Callable[[Sequence[str]], Awaitable[Sequence[str]]]
"""Which of these system packages the machine, and so its sandboxes, do not have."""


async def all_are_missing(wanted: Sequence[str]) -> Sequence[str]:
    """Return all programs as missing: for platforms where nobody looks."""
    return wanted


class Environments:
    """Create, retrieve, update, archive, delete and list environments of a workspace.

    The wire does not version them; the catalog's version serves only to notice changes that were made in between.
    """

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        ids: Ids,
        *,
        default_networking: DefaultNetworking = "limited",
        find_missing: FindMissing = all_are_missing,
    ) -> None:
        self._find_missing = find_missing
        self._default_networking: DefaultNetworking = default_networking
        self._environments = Resources(ENVIRONMENT, catalog, clock, ids)
        self.retrieve = self._environments.retrieve
        self.archive = self._environments.archive
        self.list = self._environments.list
        self.usable = self._environments.usable
        self.ensure = self._environments.ensure
        self.delete = self._environments.delete
        """Of one that no session refers to (`catalog.environment_uses`); one that is made at the same moment keeps what
        it took."""

    async def create(self, principal: Principal, params: EnvironmentCreate) -> Stored[EnvironmentConfig]:
        """Raises InvalidRequest."""
        _check_scope(params.scope)
        missing = await self._find_missing(system_packages(params.config))
        config = EnvironmentConfig(
            name=params.name,
            description=params.description or None,
            config=resolve_config(
                params.config, default_networking=self._default_networking, missing=missing
            ),
            metadata=merge_metadata({}, params.metadata, empty_deletes=False),
        )
        return await self._environments.create(principal, config)

    async def update(
        self, principal: Principal, environment_id: str, params: EnvironmentUpdate
    ) -> Stored[EnvironmentConfig]:
        """Update an environment, for new sandboxes only. Raises NotFound, InvalidRequest, WrongState."""
        _check_scope(params.scope)
        missing = await self._find_missing(system_packages(params.config))
        return await self._environments.change(
            principal, environment_id, lambda before: _updated(before, params, missing)
        )


def _updated(
    current: EnvironmentConfig, params: EnvironmentUpdate, missing: Sequence[str]
) -> EnvironmentConfig:
    changed = current
    if params.name is not None:
        changed = replace(changed, name=params.name)
    if params.config is not None:
        if isinstance(params.config, SelfHostedConfigParams):
            raise InvalidRequest(
                "`config.type`: an environment's type cannot change; create a new one.",
                code="invalid_config_type_change",
            )
        changed = replace(
            changed, config=resolve_config(params.config, current=current.config, missing=missing)
        )
    if params.description is not UNSET:
        changed = replace(changed, description=params.description or None)
    if params.metadata is not None:
        changed = replace(
            changed, metadata=merge_metadata(current.metadata, params.metadata, empty_deletes=True)
        )
    return changed


def _check_scope(scope: str | None) -> None:
    if scope == "account":
        raise not_supported("scope", "account is", 'Remove it or use "organization".')


def in_use(environment_id: str, users: Sequence[str]) -> WrongState:
    """Make the refusal to delete an environment while somebody refers to it."""
    return WrongState(
        f"Environment {environment_id!r} cannot be deleted while {', '.join(users)} refer to it; delete them first, or "
        "archive the environment: then nothing new is made of it."
    )


def environment_to_wire(environment: Stored[EnvironmentConfig]) -> Environment:
    """Return the environment object of the API."""
    return environment_body(environment.config, id=environment.id, **environment.stamps())
