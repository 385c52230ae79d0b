"""/v1/environments"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.resources.environment_uses import environment_users
from remit.resources.environments import environment_to_wire, in_use
from remit.schema.environments import EnvironmentCreate, EnvironmentUpdate
from remit.server.auth import principal_of
from remit.server.listing import PAGING, read_page, resource_list
from remit.server.requests import Query, json_response, read_nothing, read_params
from remit.server.services import Services


class EnvironmentRoutes:
    """Create, retrieve, update, list, archive, delete."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._environments = services.environments

    def routes(self) -> list[Route]:
        """In the order of the API's documentation."""
        return [
            Route("/v1/environments", self.create, methods=["POST"]),
            Route("/v1/environments", self.list, methods=["GET"]),
            Route("/v1/environments/{environment_id}", self.retrieve, methods=["GET"]),
            Route("/v1/environments/{environment_id}", self.update, methods=["POST", "PATCH"]),
            Route("/v1/environments/{environment_id}", self.delete, methods=["DELETE"]),
            Route("/v1/environments/{environment_id}/archive", self.archive, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        Query(request)
        params = await read_params(
            request, EnvironmentCreate, bytes_max=self._services.settings.body_bytes_max
        )
        return json_response(
            environment_to_wire(await self._environments.create(principal_of(request), params))
        )

    async def retrieve(self, request: Request) -> Response:
        Query(request)
        environment_id: str = request.path_params["environment_id"]
        return json_response(
            environment_to_wire(await self._environments.retrieve(principal_of(request), environment_id))
        )

    async def update(self, request: Request) -> Response:
        Query(request)
        params = await read_params(
            request, EnvironmentUpdate, bytes_max=self._services.settings.body_bytes_max
        )
        environment_id: str = request.path_params["environment_id"]
        return json_response(
            environment_to_wire(
                await self._environments.update(principal_of(request), environment_id, params)
            )
        )

    async def archive(self, request: Request) -> Response:
        Query(request)
        await read_nothing(request)
        environment_id: str = request.path_params["environment_id"]
        return json_response(
            environment_to_wire(await self._environments.archive(principal_of(request), environment_id))
        )

    async def delete(self, request: Request) -> Response:
        Query(request)
        await read_nothing(request)
        environment_id: str = request.path_params["environment_id"]
        principal = principal_of(request)
        await self._environments.retrieve(principal, environment_id)
        if users := await environment_users(self._services.sessions, principal, environment_id):
            raise in_use(environment_id, users)
        await self._environments.delete(principal, environment_id)
        return json_response({"id": environment_id, "type": "environment_deleted"})

    async def list(self, request: Request) -> Response:
        query = Query(request, (*PAGING, "include_archived"))
        page = read_page(query, list="environments")
        resources = await self._environments.list(
            principal_of(request), page.query(), include_archived=query.flag("include_archived")
        )
        return resource_list(page, resources, environment_to_wire)
