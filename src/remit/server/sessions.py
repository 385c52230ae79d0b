"""/v1/sessions and their primary thread"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.errors import HoldRefused, InvalidRequest, NotFound, SequenceConflict
from remit.resources import budgets, session_changes
from remit.resources.environment_config import packages_of
from remit.resources.inbound import check_initial, stored_events
from remit.resources.message_files import pin_files, read_rubrics
from remit.resources.session_agent import resolve_session_agent
from remit.resources.session_resources import copy_resources
from remit.resources.session_wire import thread_to_wire, to_wire
from remit.resources.sessions import new_session
from remit.resources.web_settings import check_within_environment
from remit.schema.lists import encode_list, encode_list_both_ways
from remit.schema.sessions import STATUSES, SessionCreate, SessionUpdate
from remit.schema.wire import VERSION_MAX, not_supported
from remit.server.auth import principal_of
from remit.server.listing import PAGING, read_page
from remit.server.outcomes import check_verifiers
from remit.server.publishing import publish
from remit.server.requests import (
    CREATED_AT,
    Query,
    encoded_response,
    json_response,
    read_nothing,
    read_params,
)
from remit.server.services import Services
from remit.session.state import SessionState
from remit.values import Account, Append, JsonObject, Principal, StreamFilter, StreamHead

Decide = Callable[[SessionState, StreamHead, Sequence[Account]], Append | None]


class SessionRoutes:
    """Create, retrieve, update, list, archive, delete; the primary thread."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """In the order of the API's documentation."""
        return [
            Route("/v1/sessions", self.create, methods=["POST"]),
            Route("/v1/sessions", self.list, methods=["GET"]),
            Route("/v1/sessions/{session_id}", self.retrieve, methods=["GET"]),
            Route("/v1/sessions/{session_id}", self.update, methods=["POST", "PATCH"]),
            Route("/v1/sessions/{session_id}", self.delete, methods=["DELETE"]),
            Route("/v1/sessions/{session_id}/archive", self.archive, methods=["POST"]),
            Route("/v1/sessions/{session_id}/threads", self.threads, methods=["GET"]),
            Route("/v1/sessions/{session_id}/threads/{thread_id}", self.thread, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        Query(request)
        services, principal = self._services, principal_of(request)
        params = await read_params(request, SessionCreate, bytes_max=services.settings.body_bytes_max)
        if params.vault_ids:
            raise not_supported("vault_ids", "vaults are", "Remove them.")
        initial = await read_rubrics(
            services.files, principal, params.initial_events or [], field="initial_events"
        )
        check_initial(initial)
        events = stored_events(
            initial,
            lambda index: services.ids.new("sevt"),
            lambda index: services.ids.new("outc"),
            field="initial_events",
        )
        agent = await resolve_session_agent(services.agents, principal, params.agent)
        environment = await services.environments.usable(principal, params.environment_id)
        check_within_environment(
            cast("list[JsonObject]", agent["tools"]), environment.config.config, field="agent"
        )
        if params.budget is not None:
            budgets.check_priced(str(cast("JsonObject", agent["model"])["id"]), services.prices)
        has_packages = bool(packages_of(environment.config.config))
        await check_verifiers(services, principal, events, agent, has_packages=has_packages)
        files = await pin_files(services.files, principal, initial, field="initial_events")
        session_id = services.ids.new("sesn")
        resources = await copy_resources(
            services.files,
            principal,
            params.resources or [],
            session_id=session_id,
            present={},
            ids=services.ids,
            clock=services.clock,
        )
        stream, append = new_session(
            ids=services.ids,
            now_us=services.clock.now_us(),
            session_id=session_id,
            agent=agent,
            environment_id=environment.id,
            environment_config=environment.config.config,
            effects=budgets.session_accounts(
                nano_usd=budgets.budget_nano_usd(params.budget) if params.budget is not None else None,
                has_priced_verifier=budgets.has_priced_verifier(events),
            ),
            events=events,
            title=params.title,
            metadata=params.metadata,
            budget=budgets.budget_body(params.budget) if params.budget is not None else None,
            waits_for_reader=True,
            paid_by=principal.actor,
            resources=resources,
            files=files,
        )
        needed = [str(file["sha256"]) for file in (*resources, *files.values())]
        try:
            async with services.blobs.keeping(principal, session_id) as keeping:
                await keeping.need(needed)
                await keeping.commit()
                created = await services.sessions.create_stream(principal, stream, append)
        except BaseException:
            await services.files.delete_all(principal, [str(resource["file_id"]) for resource in resources])
            raise
        publish(services, append, created)
        return await self._answer(principal, session_id)

    async def retrieve(self, request: Request) -> Response:
        Query(request)
        return await self._answer(principal_of(request), request.path_params["session_id"])

    async def update(self, request: Request) -> Response:
        Query(request)
        services = self._services
        params = await read_params(request, SessionUpdate, bytes_max=services.settings.body_bytes_max)
        principal, session_id = principal_of(request), str(request.path_params["session_id"])

        def decide(state: SessionState, head: StreamHead, accounts: Sequence[Account]) -> Append | None:
            return session_changes.update(
                state,
                params,
                accounts,
                ids=services.ids,
                now_us=services.clock.now_us(),
                web=services.agents.web,
            )

        try:
            await self._change(principal, session_id, decide)
        except HoldRefused as error:
            raise InvalidRequest(
                f"`budget.max_list_cost.amount`: {error.message}", code="budget_not_raised"
            ) from error
        return await self._answer(principal, session_id)

    async def archive(self, request: Request) -> Response:
        Query(request)
        await read_nothing(request)
        services = self._services
        principal, session_id = principal_of(request), str(request.path_params["session_id"])

        def decide(state: SessionState, head: StreamHead, accounts: Sequence[Account]) -> Append | None:
            return session_changes.archive(state, head, ids=services.ids, now_us=services.clock.now_us())

        await self._change(principal, session_id, decide)
        return await self._answer(principal, session_id)

    async def delete(self, request: Request) -> Response:
        Query(request)
        await read_nothing(request)
        services = self._services
        principal, session_id = principal_of(request), str(request.path_params["session_id"])

        def decide(state: SessionState, head: StreamHead, accounts: Sequence[Account]) -> Append | None:
            return session_changes.delete(state, head, ids=services.ids, now_us=services.clock.now_us())

        await self._change(principal, session_id, decide, is_deletion=True)
        with suppress(NotFound):  # a worker was quicker
            state, _, _ = await services.states.load_all(principal, session_id, with_deleted=True)
            await services.removal.remove(principal, state)
        services.states.forget(principal, session_id)
        return json_response({"id": session_id, "type": "session_deleted"})

    async def list(self, request: Request) -> Response:
        query = Query(
            request,
            (
                *PAGING,
                *CREATED_AT,
                "order",
                "statuses",
                "agent_id",
                "agent_version",
                "include_archived",
                "deployment_id",
                "memory_store_id",
            ),
        )
        services, principal = self._services, principal_of(request)
        is_ascending = query.choice("order", ("asc", "desc"), default="desc") == "asc"
        page = read_page(query, list="sessions", is_ascending=is_ascending)
        after_us, before_us = query.created_after_us(), query.created_before_us()
        page.check_within(after_us, before_us)
        if query.text("deployment_id") or query.text("memory_store_id"):
            # There are no deployments or memory stores yet, so no session can have one.
            return encoded_response(encode_list_both_ways((), None, None))
        heads = await services.sessions.list_streams(
            principal,
            StreamFilter(
                kind="session",
                statuses=tuple(sorted(query.texts("statuses", among=STATUSES, limit=len(STATUSES)))),
                agent_id=query.text("agent_id"),
                agent_version=query.number("agent_version", minimum=1, maximum=VERSION_MAX, default=0)
                or None,
                include_archived=query.flag("include_archived"),
                created_after_us=after_us,
                created_before_us=before_us,
            ),
            page.query(),
        )
        positions = [(head.created_at_us, head.stream_id) for head in heads]
        shown = list(heads[: page.limit])
        if page.is_backwards:
            shown.reverse()
        now_us = services.clock.now_us()
        items = [item for head in shown if (item := await self._item(principal, head, now_us)) is not None]
        return encoded_response(
            encode_list_both_ways(items, page.next_page(positions), page.prev_page(positions))
        )

    async def threads(self, request: Request) -> Response:
        query = Query(request, (*PAGING, "statuses"))
        statuses = query.texts("statuses", among=STATUSES, limit=len(STATUSES))
        principal, session_id = principal_of(request), str(request.path_params["session_id"])
        read_page(query, list=f"threads of {session_id}")
        state, head = await self._services.states.load(principal, session_id)
        thread = thread_to_wire(state, head, now_us=self._services.clock.now_us())
        is_shown = not statuses or thread["status"] in statuses
        return encoded_response(encode_list([msgspec.json.encode(thread)] if is_shown else [], None))

    async def thread(self, request: Request) -> Response:
        Query(request)
        session_id, thread_id = request.path_params["session_id"], request.path_params["thread_id"]
        state, head = await self._services.states.load(principal_of(request), session_id)
        require_primary_thread(state, thread_id)
        return json_response(thread_to_wire(state, head, now_us=self._services.clock.now_us()))

    async def _answer(self, principal: Principal, session_id: str) -> Response:
        state, head = await self._services.states.load(principal, session_id)
        return json_response(to_wire(state, head, now_us=self._services.clock.now_us()))

    async def _item(self, principal: Principal, head: StreamHead, now_us: int) -> bytes | None:
        with suppress(NotFound):  # deleted since the list was read
            state = await self._services.states.at(principal, head)
            if not state.is_deleted:
                return msgspec.json.encode(to_wire(state, head, now_us=now_us))
        return None

    async def _change(
        self, principal: Principal, session_id: str, decide: Decide, *, is_deletion: bool = False
    ) -> None:
        """Fold, decide, append; again when the session moved on in between."""
        services = self._services
        for attempt in range(services.settings.decision_attempts_max):
            state, head, accounts = await services.states.load_all(
                principal, session_id, with_deleted=is_deletion
            )
            append = decide(state, head, accounts)
            if append is None:
                return
            try:
                publish(services, append, await services.sessions.append(principal, append))
            except SequenceConflict:
                if attempt + 1 == services.settings.decision_attempts_max:
                    raise
            else:
                return


def require_primary_thread(state: SessionState, thread_id: str) -> None:
    """Raises NotFound: a session has no other thread in this release."""
    if thread_id != state.thread_id:
        raise NotFound(f"Session {state.session_id!r} has no thread {thread_id!r}.")
