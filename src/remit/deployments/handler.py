"""Carries a deployment on: asks `next_step`, does that one thing, and looks again.

Every step is safe to cut at any await: what a run makes has ids that the log gave it before, and what is repeated is
recognised by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import structlog

from remit.catalog.agents import Agents
from remit.catalog.resources import Resources
from remit.clock import Clock, rfc3339
from remit.deployments.kind import DEPLOYMENT, DeploymentWriter
from remit.deployments.rows import (
    DeploymentArchived,
    DeploymentPaused,
    FiringsMissed,
    PausedReason,
    RunDecided,
    RunEnded,
    RunFailed,
    RunSucceeded,
)
from remit.deployments.runs import GOES_ON_AFTER, RunRecord, error_type, list_run
from remit.deployments.state import Run
from remit.deployments.steps import (
    BeginRequested,
    BeginScheduled,
    CarryOut,
    NoteMissed,
    Rest,
    Step,
    next_step,
)
from remit.errors import LeaseLost, NotFound, RemitError, StoreUnavailable
from remit.ids import Ids
from remit.interfaces import LiveBus, SessionStore
from remit.sessions.opening import SessionOpening
from remit.streams.rows import RowBody
from remit.streams.writer import StreamWriter
from remit.values import HandlerResult, Lease

logger = structlog.get_logger(__name__)

STEPS_MAX = 100
"""Per wake; whoever requests more runs at once waits for the next."""


class DeploymentHandler:
    """The StreamHandler of deployments."""

    kind = DEPLOYMENT.name

    def __init__(
        self,
        *,
        store: SessionStore,
        bus: LiveBus,
        opening: SessionOpening,
        agents: Agents,
        runs: Resources[RunRecord],
        clock: Clock,
        ids: Ids,
        is_resting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._bus = bus
        self._opening = opening
        self._agents = agents
        self._runs = runs
        self._clock = clock
        self._ids = ids
        self._is_resting = is_resting

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        """Do what is due, and come again at the next firing."""
        log = StreamWriter(
            DEPLOYMENT,
            store=self._store,
            bus=self._bus,
            clock=self._clock,
            ids=self._ids,
            lease=lease,
            is_fenced=is_fenced,
        )
        await log.catch_up()
        await self._list_last(log)
        for _ in range(STEPS_MAX):
            step = next_step(log.state, log.stream_id, self._clock.now_us())
            if isinstance(step, Rest):
                return HandlerResult(seen_seq=log.state.seq, wake_at_us=step.wake_at_us)
            if (
                is_fenced() or self._is_resting()
            ):  # each step begins from the log, here or in the next process
                break
            await self._do(step, log)
            await log.catch_up()
        return HandlerResult(seen_seq=log.state.seq, wake_at_us=self._clock.now_us())

    async def forget(self, stream_id: str) -> None:
        """Do nothing: no state is kept between wakes."""

    async def _do(self, step: Step, log: DeploymentWriter) -> None:
        match step:
            case Rest():
                pass
            case BeginRequested(run_id=run_id):
                await log.append(RunDecided(run_id=run_id, session_id=self._ids.new("sesn")))
            case BeginScheduled(scheduled_us=scheduled_us):
                run_id, session_id = self._ids.new(self._runs.kind.id_prefix), self._ids.new("sesn")
                await log.append(RunDecided(run_id=run_id, session_id=session_id, scheduled_us=scheduled_us))
            case NoteMissed(first_us=first_us, until_us=until_us):
                await log.append(FiringsMissed(first_at=rfc3339(first_us), until_at=rfc3339(until_us)))
            case CarryOut(run=run):
                await self._carry_out(run, log)
            case _:
                assert_never(step)

    async def _carry_out(self, run: Run, log: DeploymentWriter) -> None:
        is_there = await self._is_there(run, log)
        if not is_there and await self._has_no_agent(run, log):
            await log.append(DeploymentArchived())
            return
        rows: list[RowBody] = [ended := await self._open(run, log, is_there=is_there)]
        is_scheduled = run.decided.scheduled_us is not None
        if isinstance(ended, RunFailed) and is_scheduled and ended.error not in GOES_ON_AFTER:
            rows.append(DeploymentPaused(reason=PausedReason(type="error", error=ended.error)))
        await log.append(*rows)
        await self._list_last(log)

    async def _list_last(self, log: DeploymentWriter) -> None:
        """A death may have come between the log and the list."""
        if (over := log.state.ended) is not None:
            await list_run(self._runs, log.principal, log.stream_id, over)

    async def _is_there(self, run: Run, log: DeploymentWriter) -> bool:
        """Whether its session was opened before a death."""
        try:
            await self._store.head(log.principal, run.decided.session_id)
        except NotFound:
            return False
        return True

    async def _has_no_agent(self, run: Run, log: DeploymentWriter) -> bool:
        try:
            return (await self._agents.retrieve(log.principal, run.config.agent_id)).is_archived
        except NotFound:
            return True

    async def _open(self, run: Run, log: DeploymentWriter, *, is_there: bool) -> RunEnded:
        decided = run.decided
        scheduled_at = None if decided.scheduled_us is None else rfc3339(decided.scheduled_us)
        try:
            if not is_there:
                prepared = await self._opening.prepare(log.principal, run.config.session())
                await self._opening.open(
                    log.principal,
                    prepared,
                    decided.session_id,
                    paid_by=log.state.created_by,
                    deployment_id=log.stream_id,
                )
        except (LeaseLost, StoreUnavailable):
            raise
        except RemitError as error:
            failure, message = error_type(error), error.message
        except Exception:  # a fault of ours, which every other attempt would meet as well
            logger.exception("deployment_run_failed", deployment_id=log.stream_id, run_id=decided.run_id)
            failure, message = "unknown_error", "The session could not be opened; the server's log says more."
        else:
            return RunSucceeded(
                run_id=decided.run_id, session_id=decided.session_id, scheduled_at=scheduled_at
            )
        return RunFailed(run_id=decided.run_id, error=failure, message=message, scheduled_at=scheduled_at)
