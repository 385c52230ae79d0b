"""Deployments as people act on them: every rule about what they may ask for. No HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import anyio
import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.agents import Agents, usable_agent
from remit.catalog.metadata import merge_metadata
from remit.catalog.resources import Resources, Stored
from remit.clock import Clock
from remit.deployments.kind import DEPLOYMENT
from remit.deployments.rows import (
    DeploymentArchived,
    DeploymentConfig,
    DeploymentCreated,
    DeploymentPaused,
    DeploymentUnpaused,
    DeploymentUpdated,
    PausedReason,
    RunRequested,
    Schedule,
)
from remit.deployments.runs import RunRecord, list_run
from remit.deployments.schedule import Cron
from remit.deployments.state import DeploymentState
from remit.errors import InvalidRequest, NotFound, WrongState
from remit.ids import Ids
from remit.interfaces import LiveBus, SessionStore
from remit.schema.deployments import SCHEDULED_MAX, DeploymentCreate, DeploymentUpdate, ScheduleParams
from remit.schema.events import SystemMessage, UserDefineOutcome, UserMessage
from remit.schema.resources import ResourceParams
from remit.schema.sessions import AgentReference
from remit.schema.wire import not_supported
from remit.sessions.budgets import budget_body
from remit.sessions.opening import SessionOpening
from remit.streams.rows import RowBody
from remit.streams.streams import StreamChange, Streams
from remit.values import JsonObject, Page, Principal, StreamFilter

RUN_SECONDS_MAX = 30.0
"""How long a caller waits for a run to begin; it begins all the same."""
RUN_POLL_SECONDS = 0.5
PAGE = 200

InitialEvent = UserMessage | UserDefineOutcome | SystemMessage


class Deployments:
    """Create, update, pause, unpause, archive and run the deployments of a workspace."""

    def __init__(
        self,
        streams: Streams[DeploymentState],
        runs: Resources[RunRecord],
        *,
        store: SessionStore,
        bus: LiveBus,
        opening: SessionOpening,
        agents: Agents,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self.streams = streams
        self.runs = runs
        self._store = store
        self._bus = bus
        self._opening = opening
        self._agents = agents
        self._clock = clock
        self._ids = ids

    async def create(self, principal: Principal, params: DeploymentCreate) -> str:
        """Return its id; everything that a session would need is looked at first. Raises InvalidRequest, NotFound,
        WrongState, Unpriced, VerifierUnavailable."""
        _refuse_vaults(params.vault_ids)
        agent_id, version = await self._pinned(principal, params.agent)
        config = DeploymentConfig(
            name=params.name,
            description=params.description or None,
            agent_id=agent_id,
            agent_version=version,
            environment_id=params.environment_id,
            initial_events=_stored_events(params.initial_events),
            resources=_stored_resources(params.resources or ()),
            metadata=merge_metadata({}, params.metadata or {}),
            budget=None if params.budget is None else budget_body(params.budget),
            schedule=_schedule(params.schedule, self._clock.now_us()),
        )
        await self._check(principal, config, is_newly_scheduled=config.schedule is not None)
        deployment_id = self._ids.new(DEPLOYMENT.names.id_prefix)
        created = DeploymentCreated(config=config, actor=principal.actor)
        now_us = self._clock.now_us()
        await self.streams.create(principal, deployment_id, created, wake_at_us=now_us)
        return deployment_id

    async def update(self, principal: Principal, deployment_id: str, params: DeploymentUpdate) -> None:
        """Change the configuration for runs to come; those that were begun keep what they had. Raises
        NotFound, WrongState (archived), and what `create` raises."""
        _refuse_vaults(None if params.vault_ids is UNSET else params.vault_ids)
        pinned = None if params.agent is UNSET else await self._pinned(principal, params.agent)

        async def choose(state: DeploymentState) -> RowBody | None:
            before = state.asked
            config = _updated(before, params, self._clock.now_us())
            if pinned is not None:
                config = replace(config, agent_id=pinned[0], agent_version=pinned[1])
            if config == before:
                return None
            is_new = before.schedule is None and config.schedule is not None
            await self._check(principal, config, is_newly_scheduled=is_new)
            return DeploymentUpdated(config=config, actor=principal.actor)

        await self._change(principal, deployment_id, choose)

    async def pause(self, principal: Principal, deployment_id: str) -> None:
        """Pause a deployment: nothing fires by itself, and runs can be requested. One that paused itself
        stays as it is. Raises NotFound, WrongState (archived)."""
        paused = DeploymentPaused(reason=PausedReason(type="manual"), actor=principal.actor)
        await self._change(
            principal, deployment_id, lambda state: _now(paused if state.paused is None else None)
        )

    async def unpause(self, principal: Principal, deployment_id: str) -> None:
        """Fire from the next scheduled time on. Raises NotFound, WrongState (archived)."""
        unpaused = DeploymentUnpaused(actor=principal.actor)
        await self._change(
            principal, deployment_id, lambda state: _now(None if state.paused is None else unpaused)
        )

    async def archive(self, principal: Principal, deployment_id: str) -> None:
        """Archive a deployment for good; twice changes nothing. A run that was begun is carried out. Raises
        NotFound."""
        archived = DeploymentArchived(actor=principal.actor)

        async def choose(state: DeploymentState) -> StreamChange | None:
            return (
                None if state.is_archived else StreamChange(rows=(archived,), wake_at_us=self._clock.now_us())
            )

        await self.streams.change(principal, deployment_id, choose)

    async def archive_of_agent(self, principal: Principal, agent_id: str) -> None:
        """Archive the deployments of an agent that is archived. One that this misses archives itself at its next run."""
        filter = StreamFilter(kind=DEPLOYMENT.name, agent_id=agent_id)
        while heads := await self._store.list_streams(principal, filter, Page(limit=PAGE)):
            for head in heads:
                await self.archive(principal, head.stream_id)

    async def run(self, principal: Principal, deployment_id: str) -> Stored[RunRecord]:
        """Have it run now, paused or not, and return how that began. Raises NotFound, WrongState (archived, or not begun in
        time: it begins later, and is listed then)."""
        run_id = self._ids.new(self.runs.kind.id_prefix)
        requested = RunRequested(run_id=run_id, actor=principal.actor)
        deadline = self._clock.monotonic() + RUN_SECONDS_MAX
        async with self._bus.subscribe(deployment_id) as subscription:
            await self._change(principal, deployment_id, lambda _: _now(requested))
            while self._clock.monotonic() < deadline:
                if (run := await self._begun(principal, deployment_id, run_id)) is not None:
                    return run
                with anyio.move_on_after(RUN_POLL_SECONDS):
                    await subscription.next()
        raise WrongState(
            f"The run {run_id!r} of {deployment_id!r} waits for a worker; look for it in GET /v1/deployment_runs."
        )

    async def _begun(self, principal: Principal, deployment_id: str, run_id: str) -> Stored[RunRecord] | None:
        """Each run is listed before the next one begins: it is in the list, or the last one, or not over."""
        try:
            return await self.runs.retrieve(principal, run_id)
        except NotFound:
            state, _ = await self.streams.load(principal, deployment_id)
        if state.ended is not None and state.ended.run.decided.run_id == run_id:
            return await list_run(self.runs, principal, deployment_id, state.ended)
        if state.is_archived and state.run is None:
            raise _is_archived(deployment_id)
        return None

    async def _change(
        self,
        principal: Principal,
        deployment_id: str,
        choose: Callable[[DeploymentState], Awaitable[RowBody | None]],
    ) -> None:
        async def chosen(state: DeploymentState) -> StreamChange | None:
            if state.is_archived:
                raise _is_archived(deployment_id)
            row = await choose(state)
            return None if row is None else StreamChange(rows=(row,), wake_at_us=self._clock.now_us())

        await self.streams.change(principal, deployment_id, chosen)

    # ------------------------------------------------------------------------------------------ checks

    async def _pinned(self, principal: Principal, agent: str | AgentReference) -> tuple[str, int]:
        id, version = (agent, None) if isinstance(agent, str) else (agent.id, agent.version)
        pinned = await usable_agent(self._agents, principal, id, version)
        return pinned.id, pinned.version

    async def _check(
        self, principal: Principal, config: DeploymentConfig, *, is_newly_scheduled: bool
    ) -> None:
        if all(event["type"] == "system.message" for event in config.initial_events):
            raise InvalidRequest(
                "`initial_events`: nothing of this begins any work; add a user.message or a user.define_outcome."
            )
        await self._opening.prepare(principal, config.session())
        if is_newly_scheduled and await self._scheduled(principal) >= SCHEDULED_MAX:
            raise InvalidRequest(
                f"`schedule`: the workspace has {SCHEDULED_MAX:,} scheduled deployments; archive some that are over."
            )

    async def _scheduled(self, principal: Principal) -> int:
        """How many there are."""
        found, position = 0, None
        while heads := await self._store.list_streams(
            principal, StreamFilter(kind=DEPLOYMENT.name), Page(limit=PAGE, position=position)
        ):
            for head in heads:
                found += (await self.streams.folds.at(principal, head)).asked.schedule is not None
            position = heads[-1].created_at_us, heads[-1].stream_id
        return found


def _is_archived(deployment_id: str) -> WrongState:
    return WrongState(f"Deployment {deployment_id!r} is archived; create a new one.")


async def _now(row: RowBody | None) -> RowBody | None:
    """What is decided without looking further."""
    return row


def _updated(before: DeploymentConfig, params: DeploymentUpdate, now_us: int) -> DeploymentConfig:
    """All but the agent, which is looked up."""
    changed = before
    if params.name is not UNSET:
        changed = replace(changed, name=params.name)
    if params.description is not UNSET:
        changed = replace(changed, description=params.description or None)
    if params.environment_id is not UNSET:
        changed = replace(changed, environment_id=params.environment_id)
    if params.initial_events is not UNSET:
        changed = replace(changed, initial_events=_stored_events(params.initial_events))
    if params.resources is not UNSET:
        changed = replace(changed, resources=_stored_resources(params.resources or ()))
    if params.metadata is not UNSET:
        changed = replace(changed, metadata=merge_metadata(before.metadata, params.metadata))
    if params.budget is not UNSET:
        changed = replace(changed, budget=None if params.budget is None else budget_body(params.budget))
    if params.schedule is not UNSET:
        changed = replace(changed, schedule=_schedule(params.schedule, now_us))
    return changed


def _schedule(params: ScheduleParams | None, now_us: int) -> Schedule | None:
    """Raises InvalidRequest for one that is none, or never comes from now on."""
    if params is None:
        return None
    if Cron.of(params.expression, params.timezone).next_after(now_us) is None:
        raise InvalidRequest(
            f"`schedule.expression`: {params.expression!r} never comes in {params.timezone}; correct it."
        )
    return Schedule(expression=params.expression, timezone=params.timezone)


def _stored_events(events: Sequence[InitialEvent]) -> tuple[JsonObject, ...]:
    """As they are sent at each run."""
    return tuple(_stored_event(event) for event in events)


def _stored_event(event: InitialEvent) -> JsonObject:
    body = cast("JsonObject", msgspec.to_builtins(event))
    return {name: value for name, value in body.items() if value is not None}


def _stored_resources(resources: Sequence[ResourceParams]) -> tuple[JsonObject, ...]:
    return tuple(cast("JsonObject", msgspec.to_builtins(resource)) for resource in resources)


def _refuse_vaults(vault_ids: object) -> None:
    if vault_ids:
        raise not_supported("vault_ids", "vaults are", "Remove them.")
