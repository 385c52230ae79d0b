"""Agents: stored, versioned configurations. Rules over the catalog; no HTTP."""

from __future__ import annotations

from typing import cast

from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.agent_config import Harnesses, resolve_create, resolve_update
from remit.catalog.resources import ResourceKind, Resources, Stored
from remit.catalog.tools import as_offered
from remit.catalog.web_settings import NO_WEB, WebOffer
from remit.clock import Clock
from remit.errors import InvalidRequest, WrongState
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.schema.agents import Agent, AgentConfig, AgentCreate, AgentUpdate, agent_body, snapshot_body
from remit.values import JsonObject, Principal

AGENT = ResourceKind(name="agent", id_prefix="agent", config=AgentConfig, shows_versions=True)


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
        self.harnesses = harnesses
        self._agents = Resources(AGENT, catalog, clock, ids)
        self.ensure = self._agents.ensure
        self.retrieve = self._agents.retrieve
        self.archive = self._agents.archive
        self.list = self._agents.list
        self.versions = self._agents.versions

    async def create(self, principal: Principal, params: AgentCreate) -> Stored[AgentConfig]:
        """Store version 1. Raises InvalidRequest."""
        return await self._agents.create(principal, resolve_create(params, self.harnesses, self.web))

    async def update(self, principal: Principal, agent_id: str, params: AgentUpdate) -> Stored[AgentConfig]:
        """Store a new version, or return the old one when nothing would change. Raises NotFound, InvalidRequest,
        WrongState, and Conflict when `version` is given and is not the newest."""

        def decide(before: AgentConfig) -> AgentConfig:
            after = resolve_update(before, params, self.harnesses, self.web)
            # What was shown, written back, changes nothing either.
            return before if self._as_offered(after) == self._as_offered(before) else after

        expected = None if params.version is UNSET else params.version
        return await self._agents.change(principal, agent_id, decide, expected_version=expected)

    def to_wire(self, agent: Stored[AgentConfig]) -> Agent:
        """Return the agent object of the API, with the tools that are offered now."""
        offered = self._as_offered(agent.config)
        return agent_body(offered, id=agent.id, version=agent.version, **agent.stamps())

    def snapshot(self, agent: Stored[AgentConfig], config: AgentConfig | None = None) -> JsonObject:
        """Return the agent as a session keeps it, with the tools that are offered now; `config` in place of the stored one
        where a session overrides parts."""
        snapshot = snapshot_body(self._as_offered(config or agent.config), id=agent.id, version=agent.version)
        return cast("JsonObject", snapshot)  # as it goes into the log

    def _as_offered(self, config: AgentConfig) -> AgentConfig:
        return replace(config, tools=as_offered(config.tools, self.web))


async def usable_agent(
    agents: Agents, principal: Principal, agent_id: str, version: int | None
) -> Stored[AgentConfig]:
    """Return an agent version that new work may be given. Raises NotFound, InvalidRequest, WrongState."""
    if version is not None and version < 1:
        raise InvalidRequest(
            "`agent.version`: versions start at 1; correct it or leave it out for the newest."
        )
    newest = await agents.retrieve(principal, agent_id)
    if newest.is_archived:
        raise WrongState(f"`agent`: {agent_id!r} is archived; use another agent.")
    return (
        newest if version in (None, newest.version) else await agents.retrieve(principal, agent_id, version)
    )
