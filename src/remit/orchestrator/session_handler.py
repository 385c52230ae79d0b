"""Sessions as the worker sees them: one wake is one `SessionRun` over a kept fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from msgspec.structs import replace

from remit.catalog.environment_config import packages_of
from remit.catalog.trees import read_tree
from remit.clock import Clock
from remit.errors import InvalidRequest
from remit.ids import Ids
from remit.interfaces import BlobReader, Harness, LiveBus, ModelCaller, SessionStore, ToolSource
from remit.orchestrator.evaluation import Evaluation
from remit.orchestrator.session_run import SessionRun
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.surroundings import config_of, input_mounts, input_tree_digest, network_of, toolchains
from remit.orchestrator.turn import never
from remit.session.facts import describe_environment, describe_network
from remit.session.state import SessionState
from remit.sessions.kind import SESSION
from remit.sessions.memory import attached_stores
from remit.sessions.removal import SessionRemoval
from remit.sessions.resources import uploads_tree
from remit.streams.folds import Folds
from remit.streams.writer import StreamWriter
from remit.values import HandlerResult, JsonObject, Lease, Principal

Watch = Callable[[Harness, SessionState], Harness]
"""Stands around the harness of every run, for telemetry."""


def unwatched(harness: Harness, state: SessionState) -> Harness:
    """The harness itself."""
    return harness


class SessionHandler:
    """A StreamHandler for sessions."""

    kind = SESSION.name

    def __init__(
        self,
        *,
        store: SessionStore,
        bus: LiveBus,
        blobs: BlobReader,
        clock: Clock,
        ids: Ids,
        harnesses: Mapping[str, Harness],
        gateway: ModelCaller,
        tools: ToolSource,
        sandboxes: SessionSandboxes,
        evaluation: Evaluation,
        removal: SessionRemoval,
        reader_wait_seconds: float,
        watch: Watch = unwatched,
        is_resting: Callable[[], bool] = never,
    ) -> None:
        self._store = store
        self._bus = bus
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._harnesses = harnesses
        self._gateway = gateway
        self._tools = tools
        self._sandboxes = sandboxes
        self._evaluation = evaluation
        self._removal = removal
        self._reader_wait_seconds = reader_wait_seconds
        self._watch = watch
        self._is_resting = is_resting
        self._folds = Folds(SESSION, store, is_whole=True)

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        principal = Principal(workspace_id=lease.workspace_id, actor=lease.owner, kind="worker")
        fold = await self._folds.take(principal, lease.stream_id)
        state = fold.state
        writer = StreamWriter(
            SESSION,
            store=self._store,
            bus=self._bus,
            clock=self._clock,
            ids=self._ids,
            lease=lease,
            is_fenced=is_fenced,
            state=state,
        )
        await writer.catch_up()
        if state.is_deleted:
            await self._removal.remove(writer.principal, state)
            return HandlerResult(seen_seq=state.seq)
        result = await SessionRun(
            writer=writer,
            harness=self._watch(self._harness(state), state),
            gateway=self._gateway,
            tools=self._tools,
            sandboxes=self._sandboxes,
            evaluation=self._evaluation,
            bus=self._bus,
            blobs=self._blobs,
            describe=self._describe,
            reader_wait_seconds=self._reader_wait_seconds,
            is_resting=self._is_resting,
        ).go()
        await self._folds.put_back(principal, fold)
        return replace(result, is_near=self._sandboxes.get(lease.stream_id) is not None)

    async def forget(self, stream_id: str) -> None:
        """Keep nothing of a stream that is deleted or owned by another worker."""
        self._folds.forget(stream_id)
        await self._tools.forget(stream_id)
        await self._sandboxes.give_up(stream_id)

    def _harness(self, state: SessionState) -> Harness:
        wanted = cast("JsonObject", state.agent.get("harness") or {"name": "remit", "version": "1"})
        harness = self._harnesses.get(str(wanted["name"]))
        if harness is None or harness.version != wanted["version"]:
            offered = ", ".join(f"{one.name} {one.version}" for one in self._harnesses.values())
            raise InvalidRequest(
                f"the agent's harness {wanted['name']} {wanted['version']} is not installed here (there are: {offered})"
            )
        return harness

    async def _describe(self, state: SessionState) -> str:
        image = await self._sandboxes.provider.image(toolchains(state.created))
        digest = input_tree_digest(state.created)
        tree = await read_tree(self._blobs, digest)
        uploads = uploads_tree(state.resources)
        modes = self._sandboxes.provider.capabilities().network_modes
        return describe_environment(
            image.description,
            tree,
            input_mounts(state.created),
            uploads,
            attached_stores(state.created),
            network=describe_network(network_of(state), modes),
            packages=[name for names in packages_of(config_of(state)).values() for name in names],
            credentials=await self._sandboxes.credentials(state),
        )
