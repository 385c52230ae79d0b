"""/v1/environments"""

from __future__ import annotations

from starlette.types import ASGIApp

from remit.catalog.environment_uses import environment_users
from remit.catalog.environments import environment_to_wire, in_use
from remit.schema import environments
from remit.schema.operation import NoQuery
from remit.server.operations.listing import read_page, resource_list
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services


class EnvironmentRoutes:
    """Create, retrieve, update, list, archive, delete."""

    def __init__(self, services: Services) -> None:
        self._sessions = services.sessions
        self._environments = services.environments

    @handles(environments.CREATE)
    async def create(self, call: Call[environments.EnvironmentCreate, NoQuery]) -> environments.Environment:
        return environment_to_wire(await self._environments.create(call.principal, call.body))

    @handles(environments.RETRIEVE)
    async def retrieve(self, call: Call[None, NoQuery], environment_id: str) -> environments.Environment:
        return environment_to_wire(await self._environments.retrieve(call.principal, environment_id))

    @handles(environments.UPDATE)
    async def update(
        self, call: Call[environments.EnvironmentUpdate, NoQuery], environment_id: str
    ) -> environments.Environment:
        return environment_to_wire(await self._environments.update(call.principal, environment_id, call.body))

    @handles(environments.ARCHIVE)
    async def archive(self, call: Call[None, NoQuery], environment_id: str) -> environments.Environment:
        return environment_to_wire(await self._environments.archive(call.principal, environment_id))

    @handles(environments.DELETE)
    async def delete(self, call: Call[None, NoQuery], environment_id: str) -> environments.EnvironmentDeleted:
        await self._environments.retrieve(call.principal, environment_id)
        if users := await environment_users(self._sessions, call.principal, environment_id):
            raise in_use(environment_id, users)
        await self._environments.delete(call.principal, environment_id)
        return {"id": environment_id, "type": "environment_deleted"}

    @handles(environments.LIST)
    async def list(self, call: Call[None, environments.EnvironmentPaging]) -> ASGIApp:
        page = read_page(call.query, list="environments")
        resources = await self._environments.list(
            call.principal, page.query(), include_archived=call.query.include_archived
        )
        return resource_list(page, resources, environment_to_wire)
