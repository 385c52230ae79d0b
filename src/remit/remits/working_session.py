"""The session that works for a remit: how it is made, interrupted and set going again. It is an ordinary session; what
the remit puts into it is ordinary input, keyed so that a repetition is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import msgspec
from msgspec.structs import replace

from remit.catalog.agent_config import resolve_model
from remit.catalog.agents import Agents
from remit.catalog.environment_config import packages_of, resolve_config
from remit.catalog.environments import Environments
from remit.catalog.owned_blobs import OwnedBlobs
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
from remit.schema.environments import EnvironmentConfig
from remit.schema.events import UserDefineOutcome
from remit.schema.wire import convert
from remit.sessions.first_rows import new_session
from remit.sessions.kind import SESSION
from remit.sessions.sending import OutcomeGrounds, Sending
from remit.streams.grants import GrantNote, grants_in, opening_effects
from remit.values import Account, ConsentReason, Effect, JsonObject, JsonValue, Principal

ENVIRONMENT_ID = "env_remit"
ENVIRONMENT_NAME = "remit"
TITLE_LENGTH_MAX = 120


class SessionOpener:
    """Makes the session that a remit's log has decided, by the rules every session obeys."""

    def __init__(
        self,
        *,
        store: SessionStore,
        blobs: OwnedBlobs,
        agents: Agents,
        environments: Environments,
        sending: Sending,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._agents = agents
        self._environments = environments
        self._sending = sending
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
        is gone, BlobMissing when a baseline is, VerifierUnavailable when what judges it is."""
        agent = await self._agents.retrieve(principal, created.agent.id, created.agent.version)
        config = agent.config
        config = replace(config, model=resolve_model(created.model, current=config.model))
        environment = created.environment or await self._environment(principal)
        snapshot = self._agents.snapshot(agent, config)
        judged = OutcomeGrounds(
            agent=snapshot,
            toolchains=created.toolchains,
            has_packages=bool(packages_of(environment.config)) or created.setup is not None,
        )
        outcome = outcome_of(created, created.max_iterations)
        input = await self._sending.prepare(principal, [outcome], judged, field="initial_events")
        stream, append = new_session(
            ids=self._ids,
            now_us=self._clock.now_us(),
            session_id=session.session_id,
            agent=snapshot,
            environment_id=environment.id,
            environment_config=environment.config,
            effects=(*opening_effects(session.grants), *grants_in(session.grants)),
            events=input.events,
            title=created.outcome.strip()[:TITLE_LENGTH_MAX],
            parent_stream_id=remit_id,
            paid_by=created.paid_by,
            input=_input(created, setup or RemitSetupEnded(), baselines, despite),
            toolchains=created.toolchains,
        )
        async with self._blobs.puts(principal, session.session_id) as puts:
            await puts.need(digest for digest in baselines if digest is not None)
            await puts.commit()
            await self._store.create_stream(principal, stream, append)

    async def _environment(self, principal: Principal) -> EnvironmentRef:
        """The workspace's own environment for remits that name none, made at first use."""
        config = EnvironmentConfig(name=ENVIRONMENT_NAME, config=resolve_config(None))
        return environment_ref(await self._environments.ensure(principal, ENVIRONMENT_ID, config))


def outcome_of(created: RemitCreated, max_iterations: int) -> UserDefineOutcome:
    """The event that gives a session the remit's outcome, read as any client's would be."""
    given: JsonObject = {
        "type": "user.define_outcome",
        "description": created.outcome,
        "verifiers": list[JsonValue](created.verifiers),
        "max_iterations": max_iterations,
    }
    return convert(given, UserDefineOutcome, what="outcome")


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
    """What a remit says to its working session: sent like any client's input, once per command, however often it is said.
    None: the session is gone, and its remit sees that next."""

    def __init__(self, sending: Sending, store: SessionStore) -> None:
        self._sending = sending
        self._store = store

    async def interrupt(
        self, principal: Principal, session_id: str, command_id: str, *, is_at_work: bool = True
    ) -> None:
        """Interrupt the session with what is queued in it. One that rests needs none, unless somebody else set it to work;
        one that is gone needs none either."""
        with suppress(NotFound):
            if not is_at_work:
                head = await self._store.head(principal, session_id)
                is_at_work = head.summary.status in SESSION.busy_statuses or head.wake_at_us is not None
            if is_at_work:
                await self._sending.interrupt(principal, session_id, session_event_id(command_id))

    async def reopen(
        self, principal: Principal, session_id: str, step: ReopenOutcome, created: RemitCreated
    ) -> int | None:
        """Give the session its outcome again, with the iterations that are left; return the row that does. Raises what
        `Sending.send` raises."""
        outcome = outcome_of(created, step.max_iterations)
        with suppress(NotFound):
            sent = await self._sending.send(principal, session_id, [outcome], command_id=step.resume_id)
            return sent.seq
        return None

    async def go_on(
        self, principal: Principal, session_id: str, command_id: str, notes: Sequence[GrantNote]
    ) -> int | None:
        """Let it go on with the turn that stopped, with what it is granted; return the row that says so."""

        def granted(accounts: Sequence[Account]) -> tuple[Effect, ...]:
            return tuple(arriving(notes, accounts)) if notes else ()

        with suppress(NotFound):
            event_id = session_event_id(command_id)
            return await self._sending.go_on(principal, session_id, event_id, granted)
        return None
