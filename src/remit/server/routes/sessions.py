"""/v1/sessions and their primary thread"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from starlette.types import ASGIApp

from remit.errors import HoldRefused, InvalidRequest, NotFound, WrongState
from remit.schema import sessions
from remit.schema.lists import encode_list, encode_list_both_ways
from remit.schema.operation import NoQuery
from remit.schema.streams import DEPLOYMENT
from remit.server.operations.listing import read_page
from remit.server.operations.requests import encoded_response, json_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.streams.publishing import publish
from remit.session.state import SessionState
from remit.sessions import changes as session_changes
from remit.sessions.inbound import check_initial
from remit.sessions.wire import account_to_wire, thread_to_wire, to_wire
from remit.streams.deciding import decide
from remit.values import Account, Append, Principal, StreamFilter, StreamHead

Choose = Callable[[SessionState, StreamHead, Sequence[Account]], Append | None]


class SessionRoutes:
    """Create, retrieve, update, list, archive, delete; the primary thread."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handles(sessions.CREATE)
    async def create(self, call: Call[sessions.SessionCreate, NoQuery]) -> ASGIApp:
        services, principal = self._services, call.principal
        check_initial(call.body.initial_events or ())
        prepared = await services.opening.prepare(principal, call.body)
        session_id = services.ids.new("sesn")
        await services.opening.open(
            principal, prepared, session_id, paid_by=principal.actor, waits_for_reader=True
        )
        return await self._answer(principal, session_id)

    @handles(sessions.UPDATE)
    async def update(self, call: Call[sessions.SessionUpdate, NoQuery], session_id: str) -> ASGIApp:
        services = self._services

        def choose(state: SessionState, head: StreamHead, accounts: Sequence[Account]) -> Append | None:
            return session_changes.update(
                state,
                call.body,
                accounts,
                ids=services.ids,
                now_us=services.clock.now_us(),
                web=services.agents.web,
            )

        try:
            await self._change(call.principal, session_id, choose)
        except HoldRefused as error:
            raise InvalidRequest(
                f"`budget.max_list_cost.amount`: {error.message}", code="budget_not_raised"
            ) from error
        return await self._answer(call.principal, session_id)

    @handles(sessions.ARCHIVE)
    async def archive(self, call: Call[None, NoQuery], session_id: str) -> ASGIApp:
        services, principal = self._services, call.principal

        def choose(state: SessionState, head: StreamHead, accounts: Sequence[Account]) -> Append | None:
            return session_changes.archive(state, head, ids=services.ids, now_us=services.clock.now_us())

        await self._change(principal, session_id, choose)
        return await self._answer(principal, session_id)

    @handles(sessions.DELETE)
    async def delete(self, call: Call[None, NoQuery], session_id: str) -> sessions.SessionDeleted:
        services, principal = self._services, call.principal

        def choose(state: SessionState, head: StreamHead, accounts: Sequence[Account]) -> Append | None:
            return session_changes.delete(state, head, ids=services.ids, now_us=services.clock.now_us())

        await self._change(principal, session_id, choose, is_deletion=True)
        with suppress(NotFound):  # a worker was quicker
            state, _, _ = await services.states.load_all(principal, session_id, with_deleted=True)
            await services.removal.remove(principal, state)
        services.states.forget(session_id)
        return {"id": session_id, "type": "session_deleted"}

    @handles(sessions.LIST)
    async def list(self, call: Call[None, sessions.SessionPaging]) -> ASGIApp:
        services, principal, query = self._services, call.principal, call.query
        page = read_page(query, list="sessions", is_ascending=query.order == "asc")
        page.check_within(query.created_after_us, query.created_before_us)
        if query.deployment_id is not None and not DEPLOYMENT.is_of(query.deployment_id):
            # Sessions of remits have parents too, which are no deployments.
            return encoded_response(encode_list_both_ways((), None, None))
        heads = await services.sessions.list_streams(
            principal,
            StreamFilter(
                kind="session",
                statuses=query.statuses,
                agent_id=query.agent_id,
                agent_version=query.agent_version,
                parent_stream_id=query.deployment_id,
                refers_to=query.memory_store_id,
                include_archived=query.include_archived,
                created_after_us=query.created_after_us,
                created_before_us=query.created_before_us,
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

    @handles(sessions.THREADS)
    async def threads(self, call: Call[None, sessions.ThreadPaging], session_id: str) -> ASGIApp:
        statuses = call.query.statuses
        read_page(call.query, list=f"threads of {session_id}")
        state, head = await self._services.states.load(call.principal, session_id)
        thread = thread_to_wire(state, head, now_us=self._services.clock.now_us())
        is_shown = not statuses or thread["status"] in statuses
        return encoded_response(encode_list([msgspec.json.encode(thread)] if is_shown else [], None))

    @handles(sessions.THREAD)
    async def thread(self, call: Call[None, NoQuery], session_id: str, thread_id: str) -> ASGIApp:
        state, head = await self._services.states.load(call.principal, session_id)
        require_primary_thread(state, thread_id)
        return json_response(thread_to_wire(state, head, now_us=self._services.clock.now_us()))

    @handles(sessions.ARCHIVE_THREAD)
    async def archive_thread(self, call: Call[None, NoQuery], session_id: str, thread_id: str) -> ASGIApp:
        state, _ = await self._services.states.load(call.principal, session_id)
        require_primary_thread(state, thread_id)
        raise WrongState("The primary thread ends with its session; archive the session instead.")

    @handles(sessions.ACCOUNTS)
    async def accounts(self, call: Call[None, NoQuery], session_id: str) -> ASGIApp:
        """Show what is spent, held and left, from the ledger, in the receipt's form."""
        loaded = await self._services.states.load_all(call.principal, session_id, with_deleted=True)
        return json_response({"data": list(map(account_to_wire, loaded.accounts)), "next_page": None})

    async def _answer(self, principal: Principal, session_id: str) -> ASGIApp:
        state, head = await self._services.states.load(principal, session_id)
        return json_response(to_wire(state, head, now_us=self._services.clock.now_us()))

    async def _item(self, principal: Principal, head: StreamHead, now_us: int) -> bytes | None:
        with suppress(NotFound):  # deleted since the list was read
            state = await self._services.states.at(principal, head)
            if not state.is_deleted:
                return msgspec.json.encode(to_wire(state, head, now_us=now_us))
        return None

    async def _change(
        self, principal: Principal, session_id: str, choose: Choose, *, is_deletion: bool = False
    ) -> None:
        services = self._services

        async def attempt() -> None:
            state, head, accounts = await services.states.load_all(
                principal, session_id, with_deleted=is_deletion
            )
            append = choose(state, head, accounts)
            if append is not None:
                publish(services, append, await services.sessions.append(principal, append))

        await decide(attempt)


def require_primary_thread(state: SessionState, thread_id: str) -> None:
    """Raises NotFound: a session has no other thread in this release."""
    if thread_id != state.thread_id:
        raise NotFound(f"Session {state.session_id!r} has no thread {thread_id!r}.")
