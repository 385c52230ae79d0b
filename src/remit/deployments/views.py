"""A deployment as the API shows it, and why it is where it is. Pure."""

from __future__ import annotations

from typing import cast

from remit.clock import rfc3339
from remit.deployments.rows import PausedReason, RunFailed
from remit.deployments.schedule import Cron
from remit.deployments.state import DeploymentState
from remit.schema.deployments import Deployment, DeploymentStatus, ErrorPause, ManualPause, Schedule
from remit.schema.events import UserDefineOutcome
from remit.schema.sessions import Budget
from remit.schema.wire import convert
from remit.sessions.inbound import describe_verifiers
from remit.streams.waiting import Reason, Trouble, Way, Why, attend, lease_sentence
from remit.values import JsonObject, StreamHead

WHERE_TIMERS_RUN = (
    "Schedules fire while a server runs on this data (`remit up`); what comes due while none does is missed."
)


def status_of(state: DeploymentState) -> DeploymentStatus:
    """Return the status on the wire, which says that an archived deployment is active."""
    return "active" if state.paused is None else "paused"


def deployment_view(
    deployment_id: str, state: DeploymentState, *, created_at_us: int, now_us: int
) -> Deployment:
    """Return the deployment object of the API."""
    config = state.asked
    return {
        "id": deployment_id,
        "type": "deployment",
        "name": config.name,
        "description": config.description,
        "status": status_of(state),
        "paused_reason": None if state.paused is None else _reason(state.paused),
        "agent": {"type": "agent", "id": config.agent_id, "version": config.agent_version},
        "environment_id": config.environment_id,
        "initial_events": [_shown(event) for event in config.initial_events],
        "resources": list(config.resources),
        "vault_ids": [],
        "metadata": dict(config.metadata),
        "budget": cast("Budget | None", config.budget),  # as it was checked
        "schedule": _schedule(state, now_us),
        "created_at": rfc3339(created_at_us),
        "updated_at": rfc3339(state.updated_at_us),
        "archived_at": None if state.archived_at_us is None else rfc3339(state.archived_at_us),
    }


def _shown(event: JsonObject) -> JsonObject:
    """As it was sent. An outcome without a rubric shows one that states its verifiers, for readers that know only rubrics."""
    if event["type"] != "user.define_outcome" or "rubric" in event:
        return event
    outcome = convert(event, UserDefineOutcome, what="outcome")
    rubric: JsonObject = {"type": "text", "content": describe_verifiers(outcome.verifiers or ())}
    return {**event, "rubric": rubric}


def _reason(reason: PausedReason) -> ManualPause | ErrorPause:
    return ManualPause() if reason.error is None else ErrorPause(error={"type": reason.error})


def _schedule(state: DeploymentState, now_us: int) -> Schedule | None:
    schedule, last_us = state.asked.schedule, state.last_run_at_us
    if schedule is None:
        return None
    cron = Cron.of(schedule.expression, schedule.timezone)
    upcoming = [] if state.is_archived else cron.upcoming_few(now_us)
    return {
        "type": "cron",
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "last_run_at": None if last_us is None else rfc3339(last_us),
        "upcoming_runs_at": [rfc3339(one) for one in upcoming],
    }


def explain_deployment(state: DeploymentState, head: StreamHead, path: str, *, now_us: int) -> Why:
    """Explain why a deployment is where it is."""
    found = _find(state, head, path, now_us)
    failed = state.failed
    return Why(
        id=head.stream_id,
        kind=head.kind,
        status="archived" if state.is_archived else status_of(state),
        waits_for=found.waits_for,
        since=rfc3339(found.since_us),
        sentences=found.sentences,
        ways=found.ways,
        trouble=None if failed is None else _trouble(state, failed),
    )


def _trouble(state: DeploymentState, failed: RunFailed) -> Trouble:
    at = failed.processed_at
    return Trouble(at=str(at or rfc3339(state.updated_at_us)), type=failed.error, message=failed.message)


def _find(state: DeploymentState, head: StreamHead, path: str, now_us: int) -> Reason:
    since_us = max(state.updated_at_us, state.last_run_at_us or 0)
    run_now = Way(does="Run it now", call=f"POST {path}/run")
    if state.run is not None or state.requests:
        missing = attend(head, path, now_us=now_us)
        return missing or Reason(
            waits_for="worker", since_us=head.lease_until_us, sentences=(lease_sentence(head),)
        )
    if state.is_archived:
        return Reason(
            waits_for="nobody", since_us=since_us, sentences=("It is archived: it runs no more, for good.",)
        )
    if state.paused is not None:
        why = (
            "Somebody paused it."
            if state.paused.error is None
            else f"A scheduled run failed ({state.paused.error}), and the next one would too: it paused itself."
        )
        return Reason(
            waits_for="person",
            since_us=since_us,
            sentences=(why, "Unpaused, it fires from the next scheduled time on; nothing is made up for."),
            ways=(
                Way(does="Mend what failed, if something did", call=f"POST {path}"),
                Way(does="Unpause it", call=f"POST {path}/unpause"),
                run_now,
            ),
        )
    if state.asked.schedule is None:
        return Reason(
            waits_for="person",
            since_us=since_us,
            sentences=("It has no schedule: it runs when somebody says so.",),
            ways=(run_now,),
        )
    if head.owner is not None or head.wake_at_us is None or head.wake_at_us <= now_us:
        missing = attend(head, path, now_us=now_us)
        if missing is not None:
            return missing
    due = "soon" if head.wake_at_us is None else f"at {rfc3339(head.wake_at_us)}"
    return Reason(
        waits_for="time",
        since_us=since_us,
        sentences=(f"It fires {due}, jitter included.", WHERE_TIMERS_RUN),
        ways=(run_now,),
    )
