"""The session that works for a remit: how it is made, interrupted and set going again. It is an ordinary session; what
the remit puts into it is ordinary input, keyed so that a repetition is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import msgspec
from msgspec.structs import replace

from remit.catalog.resources import Stored
from remit.clock import Clock
from remit.errors import NotFound
from remit.ids import Ids
from remit.interfaces import Dispatcher, LiveBus, SessionStore
from remit.remits.accounts import grants_in, opening_effects
from remit.remits.events import EnvironmentRef, GrantNote, RemitCreated, RemitSessionCreated, RemitSetupEnded
from remit.remits.reopening import continue_session
from remit.remits.steps import ReopenOutcome, session_event_id
from remit.remits.verification import history_mounts
from remit.resources.agent_config import resolve_model
from remit.resources.agents import Agents
from remit.resources.environment_config import resolve_config
from remit.resources.environments import Environments
from remit.resources.inbound import stored_events
from remit.resources.kept_blobs import KeptBlobs
from remit.resources.sessions import new_session
from remit.schema.environments import EnvironmentConfig
from remit.schema.events import UserDefineOutcome
from remit.schema.wire import convert
from remit.session import events
from remit.values import Append, ConsentReason, JsonObject, JsonValue, LiveItem, Principal

ENVIRONMENT_ID = "env_remit"
ENVIRONMENT_NAME = "remit"
TITLE_LENGTH_MAX = 120


class SessionOpener:
    """Makes the session that a remit's log has decided, by the rules every session obeys."""

    def __init__(
        self,
        *,
        store: SessionStore,
        blobs: KeptBlobs,
        agents: Agents,
        environments: Environments,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._agents = agents
        self._environments = environments
        self._clock = clock
        self._ids = ids

    async def open(
        self,
        principal: Principal,
        *,
        remit_id: str,
        created: RemitCreated,
        session: RemitSessionCreated,
        baselines: Sequence[str | None] = (),
        despite: Sequence[ConsentReason] = (),
        setup: RemitSetupEnded | None = None,
    ) -> None:
        """Make it with its outcome, its input, what its verifiers showed of that (`baselines`, one for each), what was
        accepted, and the child's side of its grants, due at once; nothing if it exists. Raises NotFound when the agent
        is gone, BlobMissing when a baseline is."""
        agent = await self._agents.retrieve(principal, created.agent.id, created.agent.version)
        config = agent.config
        config = replace(config, model=resolve_model(created.model, current=config.model))
        environment = created.environment or await self._environment(principal)
        stream, append = new_session(
            ids=self._ids,
            now_us=self._clock.now_us(),
            session_id=session.session_id,
            agent=self._agents.snapshot(agent, config),
            environment_id=environment.id,
            environment_config=environment.config,
            effects=(*opening_effects(session.grants), *grants_in(session.grants)),
            events=self._outcome(created),
            title=created.outcome.strip()[:TITLE_LENGTH_MAX],
            parent_stream_id=remit_id,
            paid_by=created.paid_by,
            input=_input(created, setup or RemitSetupEnded(), baselines, despite),
            toolchains=created.toolchains,
        )
        async with self._blobs.keeping(principal, session.session_id) as keeping:
            await keeping.need(digest for digest in baselines if digest is not None)
            await keeping.commit()
            await self._store.create_stream(principal, stream, append)

    def _outcome(self, created: RemitCreated) -> Sequence[JsonObject]:
        """The first event, read as any client's would be."""
        given: JsonObject = {
            "type": "user.define_outcome",
            "description": created.outcome,
            "verifiers": list[JsonValue](created.verifiers),
            "max_iterations": created.max_iterations,
        }
        event = convert(given, UserDefineOutcome, what="outcome")
        return stored_events(
            [event], lambda _: self._ids.new("sevt"), lambda _: self._ids.new("outc"), field="initial_events"
        )

    async def _environment(self, principal: Principal) -> EnvironmentRef:
        """The workspace's own environment for remits that name none, made at first use."""
        config = EnvironmentConfig(name=ENVIRONMENT_NAME, config=resolve_config(None))
        return environment_ref(await self._environments.ensure(principal, ENVIRONMENT_ID, config))


def environment_ref(environment: Stored[EnvironmentConfig]) -> EnvironmentRef:
    """Return an environment as a log keeps it."""
    return EnvironmentRef(id=environment.id, name=environment.config.name, config=environment.config.config)


def _input(
    created: RemitCreated,
    setup: RemitSetupEnded,
    baselines: Sequence[str | None],
    despite: Sequence[ConsentReason],
) -> JsonObject | None:
    if created.tree_digest is None and not any(baselines):
        return None
    mounts = (*history_mounts(created.history_digest), *setup.mounts)
    return {
        "tree_digest": created.tree_digest,
        "mounts": [cast("JsonValue", msgspec.to_builtins(mount)) for mount in mounts],
        "python_path": list[JsonValue](setup.python_path),
        "path": list[JsonValue](setup.path),
        "baselines": list[JsonValue](baselines),
        "despite": list[JsonValue](despite),
    }


class SessionInput:
    """What a remit says to its working session: appended like any client's, told to whoever works on it."""

    def __init__(self, *, store: SessionStore, bus: LiveBus, dispatcher: Dispatcher, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._dispatcher = dispatcher
        self._clock = clock

    async def interrupt(self, principal: Principal, session_id: str, command_id: str) -> None:
        """Interrupt the session, once per command. A session that is gone needs none."""
        event: JsonObject = {"id": session_event_id(command_id), "type": "user.interrupt"}
        try:
            await self._put(principal, session_id, event, key=f"remit:{command_id}")
        except NotFound:
            return

    async def reopen(
        self, principal: Principal, session_id: str, step: ReopenOutcome, outcome_event: JsonObject
    ) -> None:
        """Give the session its outcome again, with the iterations that are left."""
        event: JsonObject = {
            **outcome_event,
            "id": session_event_id(step.resume_id),
            "outcome_id": "outc_" + step.resume_id.partition("_")[2],
            "max_iterations": step.max_iterations,
        }
        await self._put(principal, session_id, event, key=f"remit:{step.resume_id}")

    async def go_on(
        self, principal: Principal, session_id: str, command_id: str, notes: Sequence[GrantNote]
    ) -> None:
        """Let it go on with the turn that stopped, once per command, with what it is granted. A session that is gone needs
        none: its remit sees that next."""
        with suppress(NotFound):
            appended = await continue_session(
                self._store,
                principal,
                session_id,
                session_event_id(command_id),
                notes,
                key=f"remit:{command_id}",
                now_us=self._clock.now_us(),
            )
            self._bus.publish(LiveItem(stream_id=session_id, rows=appended.rows))
            self._dispatcher.hint(session_id)

    async def _put(self, principal: Principal, session_id: str, event: JsonObject, *, key: str) -> None:
        row = events.received(event, key=key)
        append = Append(stream_id=session_id, events=(row,), wake_at_us=self._clock.now_us())
        appended = await self._store.append(principal, append)
        self._bus.publish(LiveItem(stream_id=session_id, rows=appended.rows))
        self._dispatcher.hint(session_id)
