"""Environments: templates of where tools run. Rules over the catalog; no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from remit.clock import Clock, rfc3339
from remit.errors import Conflict, InvalidRequest, WrongState
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.resources.environment_config import DefaultNetworking, resolve_config, system_packages
from remit.resources.metadata import merge_metadata
from remit.schema.environments import (
    Environment,
    EnvironmentConfig,
    EnvironmentCreate,
    EnvironmentUpdate,
    SelfHostedConfigParams,
    environment_body,
)
from remit.schema.wire import not_supported
from remit.values import Page, Principal, Resource

KIND = "environment"
ATTEMPTS_MAX = 5


FindMissing = Callable[[Sequence[str]], Awaitable[Sequence[str]]]
"""Which of these system packages the machine, and so its sandboxes, do not have."""


async def all_are_missing(wanted: Sequence[str]) -> Sequence[str]:
    """Where nobody looks."""
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
        self._catalog = catalog
        self._clock = clock
        self._ids = ids

    async def create(self, principal: Principal, params: EnvironmentCreate) -> Resource:
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
        now_us = self._clock.now_us()
        resource = Resource(
            workspace_id=principal.workspace_id,
            kind=KIND,
            id=self._ids.new("env"),
            version=1,
            name=config.name,
            body=msgspec.json.encode(config),
            created_at_us=now_us,
            updated_at_us=now_us,
        )
        await self._catalog.create(principal, resource)
        return resource

    async def retrieve(self, principal: Principal, environment_id: str) -> Resource:
        """Raises NotFound."""
        return await self._catalog.retrieve(principal, KIND, environment_id)

    async def update(self, principal: Principal, environment_id: str, params: EnvironmentUpdate) -> Resource:
        """Holds for new sandboxes only. Raises NotFound, InvalidRequest, WrongState."""
        _check_scope(params.scope)
        missing = await self._find_missing(system_packages(params.config))
        for _ in range(ATTEMPTS_MAX):
            current = await self.retrieve(principal, environment_id)
            if current.archived_at_us is not None:
                raise archived(environment_id)
            before = decode_config(current)
            after = _updated(before, params, missing)
            if after == before:
                return current
            changed = replace(current, name=after.name, body=msgspec.json.encode(after))
            if stored := await self._replace(principal, changed, current):
                return stored
        raise _is_contended(environment_id)

    async def archive(self, principal: Principal, environment_id: str) -> Resource:
        """No new sessions from now on; archiving twice changes nothing."""
        for _ in range(ATTEMPTS_MAX):
            current = await self.retrieve(principal, environment_id)
            if current.archived_at_us is not None:
                return current
            changed = replace(current, archived_at_us=self._clock.now_us())
            if stored := await self._replace(principal, changed, current):
                return stored
        raise _is_contended(environment_id)

    async def delete(self, principal: Principal, environment_id: str) -> None:
        """Of one that no session refers to (`resources.environment_uses`); one that is made at the same moment keeps what
        it took. Raises NotFound."""
        await self._catalog.delete(principal, KIND, environment_id)

    async def list(
        self, principal: Principal, page: Page, *, include_archived: bool = False
    ) -> Sequence[Resource]:
        """By time of creation."""
        return await self._catalog.list(principal, KIND, page, include_archived=include_archived)

    async def _replace(self, principal: Principal, changed: Resource, current: Resource) -> Resource | None:
        stored = replace(changed, version=current.version + 1, updated_at_us=self._clock.now_us())
        try:
            await self._catalog.update(
                principal, stored, expected_version=current.version, is_new_version=True
            )
        except (Conflict, WrongState):  # somebody was quicker, maybe with an archive: read it again
            return None
        return stored


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


def archived(environment_id: str) -> WrongState:
    """What every use of an archived environment answers."""
    return WrongState(
        f"Environment {environment_id!r} is archived; create or use another one.", code="environment_archived"
    )


def in_use(environment_id: str, users: Sequence[str]) -> WrongState:
    """What deleting answers while somebody refers to it."""
    return WrongState(
        f"Environment {environment_id!r} cannot be deleted while {', '.join(users)} refer to it; delete them first, or "
        "archive the environment: then nothing new is made of it."
    )


def decode_config(resource: Resource) -> EnvironmentConfig:
    """The stored configuration."""
    return msgspec.json.decode(resource.body, type=EnvironmentConfig)


def environment_to_wire(resource: Resource) -> Environment:
    """The environment object of the API."""
    archived_at_us = resource.archived_at_us
    return environment_body(
        decode_config(resource),
        id=resource.id,
        created_at=rfc3339(resource.created_at_us),
        updated_at=rfc3339(resource.updated_at_us),
        archived_at=rfc3339(archived_at_us) if archived_at_us is not None else None,
    )


def _is_contended(environment_id: str) -> Conflict:
    return Conflict(f"Environment {environment_id!r} is being changed by others all the time; try again.")
