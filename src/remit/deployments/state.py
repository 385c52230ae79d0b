"""The fold of a deployment's log. Pure: any prefix folds, and in parts gives the same as at once."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from remit.clock import parse_rfc3339
from remit.deployments.rows import (
    ROWS,
    DeploymentArchived,
    DeploymentConfig,
    DeploymentCreated,
    DeploymentPaused,
    DeploymentUnpaused,
    DeploymentUpdated,
    FiringsMissed,
    PausedReason,
    RunDecided,
    RunEnded,
    RunFailed,
    RunRequested,
    RunSucceeded,
)
from remit.streams.rows import RowBody
from remit.values import EventRow, Value


class Run(Value, frozen=True, kw_only=True):
    """A run that was begun, with what it was to do when it was."""

    decided: RunDecided
    config: DeploymentConfig
    began_at_us: int


class EndedRun(Value, frozen=True, kw_only=True):
    """The last run that is over. Everything of it is listed before the next one begins."""

    run: Run
    ended: RunEnded


class DeploymentState(Value, frozen=True, kw_only=True):
    """A deployment as its log has it."""

    seq: int = 0
    last_processed_us: int = 0
    config: DeploymentConfig | None = None
    """None: only of an empty log."""
    created_by: str = ""
    updated_at_us: int = 0
    paused: PausedReason | None = None
    archived_at_us: int | None = None
    settled_us: int = 0
    """Scheduled times up to this one were fired, missed, or not of the schedule that holds now."""
    requests: tuple[RunRequested, ...] = ()
    run: Run | None = None
    ended: EndedRun | None = None
    failed: RunFailed | None = None
    """The last run that did."""
    last_run_at_us: int | None = None
    """When the last scheduled run began that is over."""

    @property
    def asked(self) -> DeploymentConfig:
        """Return the configuration, once there is a row."""
        assert self.config is not None, "the first row of a deployment says what it is"
        return self.config

    @property
    def is_archived(self) -> bool:
        return self.archived_at_us is not None

    @property
    def fires(self) -> bool:
        """Return whether the deployment runs by itself."""
        return self.asked.schedule is not None and self.paused is None and not self.is_archived


def fold(rows: Iterable[EventRow], state: DeploymentState) -> DeploymentState:
    """The state after more rows."""
    for row in rows:
        body = ROWS.decode(row)
        at_us = row.created_at_us
        if body is not None and body.stamped_at is not None:
            at_us = parse_rfc3339(body.stamped_at)
            state = replace(state, last_processed_us=max(state.last_processed_us, at_us))
        if body is not None:
            state = _after(state, body, at_us)
        state = replace(state, seq=row.seq)
    return state


def _after(state: DeploymentState, body: RowBody, at_us: int) -> DeploymentState:
    match body:
        case DeploymentCreated(config=config, actor=actor):
            return replace(state, config=config, created_by=actor, settled_us=at_us, updated_at_us=at_us)
        case DeploymentUpdated(config=config):
            is_same = config.schedule == state.asked.schedule
            settled_us = state.settled_us if is_same else max(state.settled_us, at_us)
            return replace(state, config=config, settled_us=settled_us, updated_at_us=at_us)
        case DeploymentPaused(reason=reason):
            return replace(state, paused=reason, updated_at_us=at_us)
        case DeploymentUnpaused():
            settled_us = max(state.settled_us, at_us)
            return replace(state, paused=None, settled_us=settled_us, updated_at_us=at_us)
        case DeploymentArchived(actor=actor):
            run = None if actor is None else state.run
            return replace(
                state, paused=None, archived_at_us=at_us, requests=(), run=run, updated_at_us=at_us
            )
        case FiringsMissed(until_at=until_at):
            return replace(state, settled_us=max(state.settled_us, parse_rfc3339(until_at)))
        case RunRequested():
            return state if state.is_archived else replace(state, requests=(*state.requests, body))
        case RunDecided():
            return _begun(state, body, at_us)
        case RunSucceeded() | RunFailed() if state.run is not None:
            return _over(state, state.run, body)
        case _:
            return state


def _begun(state: DeploymentState, decided: RunDecided, at_us: int) -> DeploymentState:
    """Who decided saw the log until an instant before. What came in between comes first."""
    scheduled_us = decided.scheduled_us
    run = Run(decided=decided, config=state.asked, began_at_us=at_us)
    if scheduled_us is None:
        left = tuple(one for one in state.requests if one.run_id != decided.run_id)
        return state if left == state.requests else replace(state, requests=left, run=run)
    if not state.fires or scheduled_us <= state.settled_us:
        return state
    return replace(state, run=run, settled_us=scheduled_us)


def _over(state: DeploymentState, run: Run, ended: RunEnded) -> DeploymentState:
    is_scheduled = run.decided.scheduled_us is not None
    return replace(
        state,
        run=None,
        ended=EndedRun(run=run, ended=ended),
        failed=ended if isinstance(ended, RunFailed) else state.failed,
        last_run_at_us=run.began_at_us if is_scheduled else state.last_run_at_us,
    )
