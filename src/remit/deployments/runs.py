"""Runs as people list them: a copy of what the log of a deployment says of each, made after it; and what a failure is called."""

from __future__ import annotations

from remit.catalog.resources import ResourceKind, Resources, Stored
from remit.clock import rfc3339
from remit.deployments.rows import RunFailed
from remit.deployments.state import EndedRun
from remit.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    RateLimited,
    RemitError,
    Unpriced,
    VerifierUnavailable,
    WrongState,
)
from remit.schema.deployments import (
    DeploymentRun,
    ManualTrigger,
    RunErrorType,
    ScheduleTrigger,
)
from remit.values import Principal, Value


class RunRecord(Value, frozen=True, kw_only=True):
    """The entry of a run in lists."""

    deployment_id: str
    agent_id: str
    agent_version: int
    scheduled_at: str | None = None
    session_id: str | None = None
    error: RunErrorType | None = None
    message: str = ""


RUN = ResourceKind(
    name="deployment run",
    id_prefix="drun",
    config=RunRecord,
    labels=lambda run: {
        "deployment_id": run.deployment_id,
        "has_error": label(run.error is not None),
        "trigger_type": "manual" if run.scheduled_at is None else "schedule",
    },
)


def label(is_so: bool) -> str:
    """Return the label by which a list selects yes or no."""
    return "true" if is_so else "false"


async def list_run(
    runs: Resources[RunRecord], principal: Principal, deployment_id: str, over: EndedRun
) -> Stored[RunRecord]:
    """Have a run in the list that is over in the log; once."""
    decided, ended, config = over.run.decided, over.ended, over.run.config
    is_failed = isinstance(ended, RunFailed)
    record = RunRecord(
        deployment_id=deployment_id,
        agent_id=config.agent_id,
        agent_version=config.agent_version,
        scheduled_at=None if decided.scheduled_us is None else rfc3339(decided.scheduled_us),
        session_id=None if is_failed else ended.session_id,
        error=ended.error if is_failed else None,
        message=ended.message if is_failed else "",
    )
    return await runs.ensure(principal, decided.run_id, record)


def run_to_wire(run: Stored[RunRecord]) -> DeploymentRun:
    """Return the run object of the API."""
    record = run.config
    scheduled_at = record.scheduled_at
    return {
        "id": run.id,
        "type": "deployment_run",
        "deployment_id": record.deployment_id,
        "agent": {"type": "agent", "id": record.agent_id, "version": record.agent_version},
        "trigger_context": (
            ManualTrigger() if scheduled_at is None else ScheduleTrigger(scheduled_at=scheduled_at)
        ),
        "session_id": record.session_id,
        "error": None if record.error is None else {"type": record.error, "message": record.message},
        "created_at": run.stamps()["created_at"],
    }


BY_CODE: dict[str, RunErrorType] = {
    "environment_archived": "environment_archived_error",
    "environment_not_found": "environment_not_found_error",
    "file_expired": "file_not_found_error",
    "file_not_found": "file_not_found_error",
    "mcp_egress_blocked": "mcp_egress_blocked_error",
    "memory_store_archived": "memory_store_archived_error",
    "memory_store_not_found": "session_resource_not_found_error",
}
REJECTIONS = (InvalidRequest, WrongState, Conflict, Unpriced, VerifierUnavailable)
GOES_ON_AFTER: frozenset[RunErrorType] = frozenset(
    {"session_rate_limited_error", "session_creation_rejected_error"}
)
"""Every other failure of a scheduled run pauses the deployment: the next one would fail alike."""


def error_type(error: RemitError) -> RunErrorType:
    """Return the API's name of the reason why a session could not be opened."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    match error:
        case RateLimited():
            return "session_rate_limited_error"
        case NotFound():
            return "session_resource_not_found_error"
        case _ if isinstance(error, REJECTIONS):
            return "session_creation_rejected_error"
        case _:
            return "unknown_error"
