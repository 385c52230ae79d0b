"""The next step of a deployment: a pure function of its fold and the time."""

from __future__ import annotations

from remit.deployments.schedule import JITTER_MAX_US, Cron
from remit.deployments.state import DeploymentState, Run
from remit.values import Value

LATE_US_MAX = 600_000_000
"""A firing that is later than this is missed: whoever set a time meant that time. It covers a restart and a takeover."""


class Rest(Value, frozen=True, kw_only=True):
    """No step is due until `wake_at_us`; None: until somebody does something."""

    wake_at_us: int | None = None


class CarryOut(Value, frozen=True, kw_only=True):
    """Open the session of the run that was begun, and say so."""

    run: Run


class BeginRequested(Value, frozen=True, kw_only=True):
    """A run that somebody wants."""

    run_id: str


class BeginScheduled(Value, frozen=True, kw_only=True):
    """The firing of this scheduled time."""

    scheduled_us: int


class NoteMissed(Value, frozen=True, kw_only=True):
    """Scheduled times from the first until then, which nobody fired in time."""

    first_us: int
    until_us: int


Step = Rest | CarryOut | BeginRequested | BeginScheduled | NoteMissed


def next_step(state: DeploymentState, deployment_id: str, now_us: int) -> Step:
    """Choose the next step; of scheduled times that are due only the last is fired, if it is not too late."""
    if state.run is not None:
        return CarryOut(run=state.run)
    if state.requests:
        return BeginRequested(run_id=state.requests[0].run_id)
    schedule = state.asked.schedule
    if schedule is None or not state.fires:
        return Rest()
    cron = Cron.of(schedule.expression, schedule.timezone)
    first = cron.next_after(state.settled_us)
    if first is None:
        return Rest()
    if (fires_at_us := cron.fires_at_us(first, deployment_id)) > now_us:
        return Rest(wake_at_us=fires_at_us)
    # However long nobody was there, only the last minutes are looked through.
    oldest_us = now_us - LATE_US_MAX - JITTER_MAX_US
    last, is_late = first, fires_at_us < now_us - LATE_US_MAX
    for time in cron.upcoming(max(first, oldest_us)):
        if (fires_at_us := cron.fires_at_us(time, deployment_id)) > now_us:
            break
        last, is_late = time, fires_at_us < now_us - LATE_US_MAX
    if is_late:
        return NoteMissed(first_us=first, until_us=max(last, oldest_us))
    if last > first:
        return NoteMissed(first_us=first, until_us=last - 1)
    return BeginScheduled(scheduled_us=last)
