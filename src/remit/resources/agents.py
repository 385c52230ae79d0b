"""Agents: stored, versioned configurations. Rules over the catalog; no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from remit.clock import Clock, rfc3339
from remit.errors import Conflict, InvalidRequest, WrongState
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.resources.agent_config import Harnesses, resolve_create, resolve_update
from remit.resources.tools import as_offered
from remit.resources.web_settings import NO_WEB, WebOffer
from remit.schema.agents import Agent, AgentConfig, AgentCreate, AgentUpdate, agent_body, snapshot_body
from remit.values import JsonObject, Page, Principal, Resource

KIND = "agent"
ATTEMPTS_MAX = 5
"""How often a change is decided anew when somebody else changed the same agent in between."""


class Agents:
    """Create, retrieve, update, archive and list agents of a workspace."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        ids: Ids,
        harnesses: Harnesses,
        web: WebOffer = NO_WEB,
    ) -> None:
        self.web = web
        self._catalog = catalog
        self._clock = clock
        self._ids = ids
        self._harnesses = harnesses

    async def create(self, principal: Principal, params: AgentCreate) -> Resource:
        """Version 1. Raises InvalidRequest."""
        config = resolve_create(params, self._harnesses, self.web)
        now_us = self._clock.now_us()
        resource = Resource(
            workspace_id=principal.workspace_id,
            kind=KIND,
            id=self._ids.new("agent"),
            version=1,
            name=config.name,
            body=msgspec.json.encode(config),
            created_at_us=now_us,
            updated_at_us=now_us,
        )
        await self._catalog.create(principal, resource)
        return resource

    async def retrieve(self, principal: Principal, agent_id: str, version: int | None = None) -> Resource:
        """The newest or the given version. Raises NotFound."""
        return await self._catalog.retrieve(principal, KIND, agent_id, version)

    async def update(self, principal: Principal, agent_id: str, params: AgentUpdate) -> Resource:
        """A new version, or the old one when nothing would change. Raises NotFound, InvalidRequest, WrongState, and
        Conflict when `version` is given and is not the newest."""
        for _ in range(ATTEMPTS_MAX):
            current = await self.retrieve(principal, agent_id)
            if params.version is not UNSET and params.version != current.version:
                raise Conflict(
                    f"`version`: agent {agent_id!r} is at version {current.version}, not {params.version}; "
                    "retrieve it and decide again.",
                    code="version_conflict",
                )
            if current.archived_at_us is not None:
                raise WrongState(f"Agent {agent_id!r} is archived and cannot be changed; create a new one.")
            before = decode_config(current)
            after = resolve_update(before, params, self._harnesses, self.web)
            if self._as_offered(after) == self._as_offered(before):  # also what was shown, written back
                return current
            changed = replace(
                current,
                version=current.version + 1,
                name=after.name,
                body=msgspec.json.encode(after),
                updated_at_us=self._clock.now_us(),
            )
            if await self._replace(principal, changed, current, is_new_version=True):
                return changed
        raise _is_contended(agent_id)

    async def archive(self, principal: Principal, agent_id: str) -> Resource:
        """Read-only from now on; archiving twice changes nothing."""
        for _ in range(ATTEMPTS_MAX):
            current = await self.retrieve(principal, agent_id)
            if current.archived_at_us is not None:
                return current
            now_us = self._clock.now_us()
            archived = replace(current, archived_at_us=now_us, updated_at_us=now_us)
            if await self._replace(principal, archived, current, is_new_version=False):
                return archived
        raise _is_contended(agent_id)

    async def list(
        self,
        principal: Principal,
        page: Page,
        *,
        include_archived: bool = False,
        created_after_us: int | None = None,
        created_before_us: int | None = None,
    ) -> Sequence[Resource]:
        """Newest versions; bounds exclusive."""
        return await self._catalog.list(
            principal,
            KIND,
            page,
            include_archived=include_archived,
            created_after_us=created_after_us,
            created_before_us=created_before_us,
        )

    async def versions(self, principal: Principal, agent_id: str, page: Page) -> Sequence[Resource]:
        """All versions, newest first. Raises NotFound."""
        return await self._catalog.versions(principal, KIND, agent_id, page)

    def to_wire(self, resource: Resource) -> Agent:
        """The agent object of the API, with the tools that are offered now."""
        archived_at_us = resource.archived_at_us
        return agent_body(
            self._as_offered(decode_config(resource)),
            id=resource.id,
            version=resource.version,
            created_at=rfc3339(resource.created_at_us),
            updated_at=rfc3339(resource.updated_at_us),
            archived_at=rfc3339(archived_at_us) if archived_at_us is not None else None,
        )

    def snapshot(self, resource: Resource, config: AgentConfig | None = None) -> JsonObject:
        """The agent as a session keeps it, with the tools that are offered now; `config` in place of the stored one
        where a session overrides parts."""
        kept = self._as_offered(config or decode_config(resource))
        snapshot = snapshot_body(kept, id=resource.id, version=resource.version)
        return cast("JsonObject", snapshot)  # as it goes into the log

    def _as_offered(self, config: AgentConfig) -> AgentConfig:
        return replace(config, tools=as_offered(config.tools, self.web))

    async def _replace(
        self, principal: Principal, changed: Resource, current: Resource, *, is_new_version: bool
    ) -> bool:
        try:
            await self._catalog.update(
                principal, changed, expected_version=current.version, is_new_version=is_new_version
            )
        except (Conflict, WrongState):  # somebody was quicker, maybe with an archive: read it again
            return False
        return True


async def usable_agent(agents: Agents, principal: Principal, agent_id: str, version: int | None) -> Resource:
    """An agent version that new work may be given. Raises NotFound, InvalidRequest, WrongState."""
    if version is not None and version < 1:
        raise InvalidRequest(
            "`agent.version`: versions start at 1; correct it or leave it out for the newest."
        )
    newest = await agents.retrieve(principal, agent_id)
    if newest.archived_at_us is not None:
        raise WrongState(f"`agent`: {agent_id!r} is archived; use another agent.")
    return (
        newest if version in (None, newest.version) else await agents.retrieve(principal, agent_id, version)
    )


def decode_config(resource: Resource) -> AgentConfig:
    """The stored configuration."""
    return msgspec.json.decode(resource.body, type=AgentConfig)


def _is_contended(agent_id: str) -> Conflict:
    return Conflict(f"Agent {agent_id!r} is being changed by others all the time; try again.")
