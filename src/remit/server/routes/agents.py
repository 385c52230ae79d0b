"""/v1/agents"""

from __future__ import annotations

from starlette.types import ASGIApp

from remit.catalog.resources import Stored
from remit.catalog.tools import not_offered
from remit.catalog.web_settings import offer_mend
from remit.schema import agents
from remit.schema.lists import Paging
from remit.schema.operation import NoQuery
from remit.server.operations.listing import read_page, resource_list
from remit.server.operations.requests import json_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services


class AgentRoutes:
    """Create, retrieve, update, list, archive; versions."""

    def __init__(self, services: Services) -> None:
        self._agents = services.agents
        self._deployments = services.deployments

    @handles(agents.CREATE)
    async def create(self, call: Call[agents.AgentCreate, NoQuery]) -> ASGIApp:
        return self._answer(await self._agents.create(call.principal, call.body))

    @handles(agents.RETRIEVE)
    async def retrieve(self, call: Call[None, agents.AgentAtVersion], agent_id: str) -> ASGIApp:
        return self._answer(await self._agents.retrieve(call.principal, agent_id, call.query.version))

    @handles(agents.UPDATE)
    async def update(self, call: Call[agents.AgentUpdate, NoQuery], agent_id: str) -> ASGIApp:
        return self._answer(await self._agents.update(call.principal, agent_id, call.body))

    @handles(agents.ARCHIVE)
    async def archive(self, call: Call[None, NoQuery], agent_id: str) -> agents.Agent:
        archived = await self._agents.archive(call.principal, agent_id)
        await self._deployments.archive_of_agent(call.principal, agent_id)
        return self._agents.to_wire(archived)

    @handles(agents.LIST)
    async def list(self, call: Call[None, agents.AgentPaging]) -> ASGIApp:
        query = call.query
        page = read_page(query, list="agents")
        page.check_within(query.created_after_us, query.created_before_us)
        resources = await self._agents.list(
            call.principal,
            page.query(),
            include_archived=query.include_archived,
            created_after_us=query.created_after_us,
            created_before_us=query.created_before_us,
        )
        return resource_list(page, resources, self._agents.to_wire)

    @handles(agents.VERSIONS)
    async def versions(self, call: Call[None, Paging], agent_id: str) -> ASGIApp:
        page = read_page(call.query, list=f"versions of {agent_id}")
        resources = await self._agents.versions(call.principal, agent_id, page.query())
        return resource_list(page, resources, self._agents.to_wire, lambda agent: (agent.version, agent.id))

    def _answer(self, agent: Stored[agents.AgentConfig]) -> ASGIApp:
        """The agent; a header names the tools that it asks for and does not get here."""
        response = json_response(self._agents.to_wire(agent))
        lacking = not_offered(agent.config.tools, self._agents.web)
        if lacking:
            mends = " ".join(f"{name} is not offered here. {offer_mend(name)}" for name in lacking)
            response.headers["remit-warning"] = f"This agent works without web tools: {mends}"
        return response
