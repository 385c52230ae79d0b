"""Opening a session as a client asks for it, whoever asks: what is looked at before anything is stored, and the one
transaction that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from remit.catalog.agents import Agents
from remit.catalog.environment_config import packages_of
from remit.catalog.environments import Environments
from remit.catalog.files import Files
from remit.catalog.mcp_servers import check_servers_reachable
from remit.catalog.memory_stores import MemoryStores
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.resources import Stored
from remit.catalog.web_settings import check_within_environment
from remit.clock import Clock
from remit.errors import NotFound
from remit.ids import Ids
from remit.interfaces import Dispatcher, LiveBus, Prices, SessionStore
from remit.schema.environments import EnvironmentConfig
from remit.schema.resources import SessionMemoryStore
from remit.schema.sessions import SessionCreate
from remit.schema.wire import not_supported
from remit.sessions import budgets
from remit.sessions.agent import resolve_session_agent
from remit.sessions.first_rows import new_session
from remit.sessions.memory import attach_stores
from remit.sessions.resources import SessionResources, check_files, copy_files, sort_resources
from remit.sessions.sending import Input, OutcomeGrounds, Sending
from remit.streams.deciding import tell
from remit.values import JsonObject, Principal


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A session that could be opened now."""

    params: SessionCreate
    agent: JsonObject
    environment: Stored[EnvironmentConfig]
    input: Input
    """Its first events."""
    resources: SessionResources
    memory_stores: Sequence[SessionMemoryStore]


class SessionOpening:
    """Prepares and opens sessions of a workspace."""

    def __init__(
        self,
        *,
        store: SessionStore,
        bus: LiveBus,
        dispatcher: Dispatcher,
        blobs: OwnedBlobs,
        agents: Agents,
        environments: Environments,
        files: Files,
        memory_stores: MemoryStores,
        prices: Prices,
        sending: Sending,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._bus = bus
        self._dispatcher = dispatcher
        self._blobs = blobs
        self._agents = agents
        self._environments = environments
        self._files = files
        self._memory_stores = memory_stores
        self._prices = prices
        self._sending = sending
        self._clock = clock
        self._ids = ids

    async def prepare(self, principal: Principal, params: SessionCreate) -> Prepared:
        """Look at everything that it needs; store nothing. Raises InvalidRequest, NotFound (`environment_not_found`, or of
        the agent), WrongState (`environment_archived`, or of the agent), Unpriced, VerifierUnavailable."""
        if params.vault_ids:
            raise not_supported("vault_ids", "vaults are", "Remove them.")
        resources = sort_resources(params.resources or [])
        memory_stores = await attach_stores(self._memory_stores, principal, resources.stores)
        agent = await resolve_session_agent(self._agents, principal, params.agent)
        try:
            environment = await self._environments.usable(principal, params.environment_id)
        except NotFound as error:
            raise NotFound(error.message, code="environment_not_found") from error
        config = environment.config.config
        check_within_environment(cast("list[JsonObject]", agent["tools"]), config, field="agent")
        check_servers_reachable(cast("list[JsonObject]", agent["mcp_servers"]), config, field="agent")
        if params.budget is not None:
            budgets.check_priced(str(cast("JsonObject", agent["model"])["id"]), self._prices)
        judged = OutcomeGrounds(agent=agent, has_packages=bool(packages_of(config)))
        initial = params.initial_events or ()
        input = await self._sending.prepare(principal, initial, judged, field="initial_events")
        await check_files(self._files, principal, resources.files)
        return Prepared(
            params=params,
            agent=agent,
            environment=environment,
            input=input,
            resources=resources,
            memory_stores=memory_stores,
        )

    async def open(
        self,
        principal: Principal,
        prepared: Prepared,
        session_id: str,
        *,
        paid_by: str,
        deployment_id: str | None = None,
        waits_for_reader: bool = False,
    ) -> None:
        """Make it, due at once where it has events; nothing if it is there. Raises InvalidRequest for a resource that is gone,
        HoldRefused, StoreUnavailable."""
        params = prepared.params
        resources = await copy_files(
            self._files,
            principal,
            prepared.resources.files,
            session_id=session_id,
            present={},
            ids=self._ids,
            clock=self._clock,
        )
        stream, append = new_session(
            ids=self._ids,
            now_us=self._clock.now_us(),
            session_id=session_id,
            agent=prepared.agent,
            environment_id=prepared.environment.id,
            environment_config=prepared.environment.config.config,
            effects=budgets.session_accounts(
                nano_usd=budgets.budget_nano_usd(params.budget) if params.budget is not None else None,
                has_priced_verifier=budgets.has_priced_verifier(prepared.input.events),
            ),
            events=prepared.input.events,
            title=params.title,
            metadata=params.metadata,
            budget=budgets.budget_body(params.budget) if params.budget is not None else None,
            waits_for_reader=waits_for_reader,
            paid_by=paid_by,
            deployment_id=deployment_id,
            resources=resources,
            memory_stores=prepared.memory_stores,
            files=prepared.input.files,
        )
        needed = [str(file["sha256"]) for file in (*resources, *prepared.input.files.values())]
        try:
            async with self._blobs.puts(principal, session_id) as puts:
                await puts.need(needed)
                await puts.commit()
                created = await self._store.create_stream(principal, stream, append)
        except BaseException:
            await self._files.delete_all(principal, [str(resource["file_id"]) for resource in resources])
            raise
        tell(self._bus, self._dispatcher, append, created)
