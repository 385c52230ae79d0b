"""/v1/agents"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.catalog.resources import Stored
from remit.resources.tools import not_offered
from remit.resources.web_settings import offer_mend
from remit.schema.agents import AgentConfig, AgentCreate, AgentUpdate
from remit.schema.wire import VERSION_MAX
from remit.server.auth import principal_of
from remit.server.listing import PAGING, read_page, resource_list
from remit.server.requests import Query, json_response, read_nothing, read_params
from remit.server.services import Services


class AgentRoutes:
    """Create, retrieve, update, list, archive; versions."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._agents = services.agents

    def routes(self) -> list[Route]:
        """In the order of the API's documentation."""
        return [
            Route("/v1/agents", self.create, methods=["POST"]),
            Route("/v1/agents", self.list, methods=["GET"]),
            Route("/v1/agents/{agent_id}", self.retrieve, methods=["GET"]),
            Route("/v1/agents/{agent_id}", self.update, methods=["POST", "PATCH"]),
            Route("/v1/agents/{agent_id}/archive", self.archive, methods=["POST"]),
            Route("/v1/agents/{agent_id}/versions", self.versions, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        Query(request)
        params = await read_params(request, AgentCreate, bytes_max=self._services.settings.body_bytes_max)
        return self._answer(await self._agents.create(principal_of(request), params))

    async def retrieve(self, request: Request) -> Response:
        query = Query(request, ("version",))
        version = query.number("version", minimum=1, maximum=VERSION_MAX, default=0) or None
        agent_id: str = request.path_params["agent_id"]
        return self._answer(await self._agents.retrieve(principal_of(request), agent_id, version))

    async def update(self, request: Request) -> Response:
        Query(request)
        params = await read_params(request, AgentUpdate, bytes_max=self._services.settings.body_bytes_max)
        agent_id: str = request.path_params["agent_id"]
        return self._answer(await self._agents.update(principal_of(request), agent_id, params))

    async def archive(self, request: Request) -> Response:
        Query(request)
        await read_nothing(request)
        agent_id: str = request.path_params["agent_id"]
        return json_response(
            self._agents.to_wire(await self._agents.archive(principal_of(request), agent_id))
        )

    async def list(self, request: Request) -> Response:
        query = Query(request, (*PAGING, "include_archived", "created_at[gte]", "created_at[lte]"))
        page = read_page(query, list="agents")
        after_us, before_us = query.created_after_us(), query.created_before_us()
        page.check_within(after_us, before_us)
        resources = await self._agents.list(
            principal_of(request),
            page.query(),
            include_archived=query.flag("include_archived"),
            created_after_us=after_us,
            created_before_us=before_us,
        )
        return resource_list(page, resources, self._agents.to_wire)

    async def versions(self, request: Request) -> Response:
        agent_id: str = request.path_params["agent_id"]
        page = read_page(Query(request, PAGING), list=f"versions of {agent_id}")
        resources = await self._agents.versions(principal_of(request), agent_id, page.query())
        return resource_list(page, resources, self._agents.to_wire, lambda agent: (agent.version, agent.id))

    def _answer(self, agent: Stored[AgentConfig]) -> Response:
        """The agent; a header names the tools that it asks for and does not get here."""
        response = json_response(self._agents.to_wire(agent))
        lacking = not_offered(agent.config.tools, self._agents.web)
        if lacking:
            mends = " ".join(f"{name} is not offered here. {offer_mend(name)}" for name in lacking)
            response.headers["remit-warning"] = f"This agent works without web tools: {mends}"
        return response
