"""/v1/deployments and their runs"""

from __future__ import annotations

import msgspec
from starlette.types import ASGIApp

from remit.deployments.kind import DEPLOYMENT
from remit.deployments.runs import label, run_to_wire
from remit.deployments.views import WHERE_TIMERS_RUN
from remit.errors import InvalidRequest
from remit.schema import deployments as api
from remit.schema.lists import encode_list
from remit.schema.operation import NoQuery
from remit.server.operations.listing import read_page, resource_list
from remit.server.operations.requests import encoded_response, json_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.values import Principal, StreamFilter


class DeploymentRoutes:
    """The routes of deployments beside those of every stream."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._deployments = services.deployments

    @handles(api.CREATE)
    async def create(self, call: Call[api.DeploymentCreate, NoQuery]) -> ASGIApp:
        deployment_id = await self._deployments.create(call.principal, call.body)
        return await self._answer(call.principal, deployment_id)

    @handles(api.LIST)
    async def list(self, call: Call[None, api.DeploymentPaging]) -> ASGIApp:
        query, principal = call.query, call.principal
        if query.status is not None and query.include_archived:
            raise InvalidRequest(
                "`include_archived`: cannot be combined with `status`; leave one of them out."
            )
        page = read_page(query, list="deployments")
        page.check_within(query.created_after_us, query.created_before_us)
        heads = await self._services.sessions.list_streams(
            principal,
            StreamFilter(
                kind=DEPLOYMENT.name,
                statuses=() if query.status is None else (query.status,),
                agent_id=query.agent_id,
                include_archived=query.include_archived,
                created_after_us=query.created_after_us,
                created_before_us=query.created_before_us,
            ),
            page.query(),
        )
        views = [await self._deployments.streams.view_of(principal, head) for head in heads[: page.limit]]
        positions = [(head.created_at_us, head.stream_id) for head in heads]
        items = [msgspec.json.encode(view) for view in views]
        return encoded_response(encode_list(items, page.next_page(positions)))

    @handles(api.UPDATE)
    async def update(self, call: Call[api.DeploymentUpdate, NoQuery], deployment_id: str) -> ASGIApp:
        await self._deployments.update(call.principal, deployment_id, call.body)
        return await self._answer(call.principal, deployment_id)

    @handles(api.PAUSE)
    async def pause(self, call: Call[None, NoQuery], deployment_id: str) -> ASGIApp:
        await self._deployments.pause(call.principal, deployment_id)
        return await self._answer(call.principal, deployment_id)

    @handles(api.UNPAUSE)
    async def unpause(self, call: Call[None, NoQuery], deployment_id: str) -> ASGIApp:
        await self._deployments.unpause(call.principal, deployment_id)
        return await self._answer(call.principal, deployment_id)

    @handles(api.ARCHIVE)
    async def archive(self, call: Call[None, NoQuery], deployment_id: str) -> ASGIApp:
        await self._deployments.archive(call.principal, deployment_id)
        return await self._answer(call.principal, deployment_id)

    @handles(api.RUN)
    async def run(self, call: Call[None, NoQuery], deployment_id: str) -> api.DeploymentRun:
        return run_to_wire(await self._deployments.run(call.principal, deployment_id))

    @handles(api.LIST_RUNS)
    async def list_runs(self, call: Call[None, api.DeploymentRunPaging]) -> ASGIApp:
        query = call.query
        page = read_page(query, list="deployment_runs")
        page.check_within(query.created_after_us, query.created_before_us)
        wanted = {
            "deployment_id": query.deployment_id,
            "has_error": None if query.has_error is None else label(query.has_error),
            "trigger_type": query.trigger_type,
        }
        runs = await self._deployments.runs.list(
            call.principal,
            page.query(),
            labels={name: value for name, value in wanted.items() if value is not None},
            created_after_us=query.created_after_us,
            created_before_us=query.created_before_us,
        )
        return resource_list(page, runs, run_to_wire)

    @handles(api.RETRIEVE_RUN)
    async def retrieve_run(self, call: Call[None, NoQuery], deployment_run_id: str) -> api.DeploymentRun:
        return run_to_wire(await self._deployments.runs.retrieve(call.principal, deployment_run_id))

    async def _answer(self, principal: Principal, deployment_id: str) -> ASGIApp:
        """The deployment; of one that fires by itself a header says where timers run."""
        state, head = await self._deployments.streams.load(principal, deployment_id)
        response = json_response(await self._deployments.streams.view_of(principal, head))
        if state.fires:
            response.headers["remit-warning"] = WHERE_TIMERS_RUN
        return response
