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
from remit.interfaces import SessionStore
from remit.remits.events import EnvironmentRef, RemitCreated, RemitSessionCreated, RemitSetupEnded
from remit.remits.reopening import arriving
from remit.remits.state import session_event_id
from remit.remits.steps import ReopenOutcome
from remit.remits.verification import history_mounts
from remit.resources.agent_config import resolve_model
from remit.resources.agents import Agents
from remit.resources.environment_config import resolve_config
from remit.resources.environments import Environments
from remit.resources.inbound import stored_events
from remit.resources.kept_blobs import KeptBlobs
from remit.resources.session_kind import SESSION
from remit.resources.sessions import new_session
from remit.schema.environments import EnvironmentConfig
from remit.schema.events import UserDefineOutcome
from remit.schema.wire import convert
from remit.session import events
from remit.session.rows import TurnContinued
from remit.streams.children import Children
from remit.streams.deciding import decide
from remit.streams.grants import GrantNote, grants_in, opening_effects
from remit.values import ConsentReason, JsonObject, JsonValue, Principal

ENVIRONMENT_ID = "env_remit"
ENVIRONMENT_NAME = "remit"
TITLE_LENGTH_MAX = 120
GO_ON_ATTEMPTS_MAX = 20
"""A session that is told to go on may be at work for others meanwhile."""


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
            events=(self.outcome(created),),
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

    def outcome(self, created: RemitCreated) -> JsonObject:
        """The event that gives the session its outcome, read as any client's would be."""
        given: JsonObject = {
            "type": "user.define_outcome",
            "description": created.outcome,
            "verifiers": list[JsonValue](created.verifiers),
            "max_iterations": created.max_iterations,
        }
        event = convert(given, UserDefineOutcome, what="outcome")
        (stored,) = stored_events(
            [event], lambda _: self._ids.new("sevt"), lambda _: self._ids.new("outc"), field="initial_events"
        )
        return stored

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
    """What a remit says to its working session: appended like any client's, told to whoever works on it. Each gives the row
    by which it is told, the same however often it is said; None: the session is gone, and its remit sees that next."""

    def __init__(self, children: Children, store: SessionStore) -> None:
        self._children = children
        self._store = store

    async def interrupt(
        self, principal: Principal, session_id: str, command_id: str, *, is_at_work: bool = True
    ) -> None:
        """Interrupt the session, once per command. One that rests needs none, unless somebody else set it to work; one
        that is gone needs none either."""
        event: JsonObject = {"id": session_event_id(command_id), "type": "user.interrupt"}
        with suppress(NotFound):
            if not is_at_work:
                status = (await self._store.head(principal, session_id)).summary.status
                is_at_work = status in SESSION.busy_statuses
            if is_at_work:
                await self._put(principal, session_id, event, key=f"remit:{command_id}")

    async def reopen(
        self, principal: Principal, session_id: str, step: ReopenOutcome, outcome_event: JsonObject
    ) -> int | None:
        """Give the session its outcome again, with the iterations that are left."""
        event: JsonObject = {
            **outcome_event,
            "id": session_event_id(step.resume_id),
            "outcome_id": "outc_" + step.resume_id.partition("_")[2],
            "max_iterations": step.max_iterations,
        }
        with suppress(NotFound):
            return await self._put(principal, session_id, event, key=f"remit:{step.resume_id}")
        return None

    async def go_on(
        self, principal: Principal, session_id: str, command_id: str, notes: Sequence[GrantNote]
    ) -> int | None:
        """Let it go on with the turn that stopped, once per command, with what it is granted."""
        event = TurnContinued(id=session_event_id(command_id)).as_row(key=f"remit:{command_id}")

        async def attempt() -> int:
            seq = (await self._store.head(principal, session_id)).seq
            effects = arriving(notes, await self._store.accounts(principal, session_id)) if notes else ()
            appended = await self._children.tell(
                principal, session_id, event, effects=effects, expected_seq=seq
            )
            return appended.rows[0].seq

        with suppress(NotFound):
            return await decide(attempt, attempts_max=GO_ON_ATTEMPTS_MAX)
        return None

    async def _put(self, principal: Principal, session_id: str, event: JsonObject, *, key: str) -> int:
        appended = await self._children.tell(principal, session_id, events.received(event, key=key))
        return appended.rows[0].seq
