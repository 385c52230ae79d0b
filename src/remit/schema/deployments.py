"""Deployments and their runs on the wire."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.events import INITIAL_EVENTS_MAX, SystemMessage, UserDefineOutcome, UserMessage
from remit.schema.lists import LIMIT_DEFAULT, ListOf, PagingByTime, PagingWithinTimes
from remit.schema.operation import Answer, Operation
from remit.schema.resources import ResourceList
from remit.schema.sessions import AgentReference, Budget, BudgetLimit, Id
from remit.schema.stream_operations import stream_operations
from remit.schema.streams import DEPLOYMENT
from remit.schema.wire import Json, JsonMap, Metadata, MetadataPatch, Params

NAME_LENGTH_MAX = 256
DESCRIPTION_LENGTH_MAX = 2_048
SCHEDULED_MAX = 1_000
"""Deployments of a workspace that have a schedule and are not archived."""
RUNS_LIMIT_MAX = 1_000

DeploymentStatus = Literal["active", "paused"]
TriggerType = Literal["schedule", "manual"]
RunErrorType = Literal[
    "agent_archived_error",
    "environment_archived_error",
    "environment_not_found_error",
    "file_not_found_error",
    "mcp_egress_blocked_error",
    "memory_store_archived_error",
    "organization_disabled_error",
    "self_hosted_resources_unsupported_error",
    "session_creation_rejected_error",
    "session_rate_limited_error",
    "session_resource_not_found_error",
    "skill_not_found_error",
    "unknown_error",
    "vault_archived_error",
    "vault_not_found_error",
    "workspace_archived_error",
]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
Description = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_LENGTH_MAX)]
InitialEvents = Annotated[
    list[UserMessage | UserDefineOutcome | SystemMessage],
    msgspec.Meta(min_length=1, max_length=INITIAL_EVENTS_MAX),
]


class ScheduleParams(Params, frozen=True):
    """Five fields of POSIX cron, against the wall clock of an IANA time zone."""

    type: Literal["cron"]
    expression: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    timezone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class DeploymentCreate(Params, frozen=True):
    """POST /v1/deployments."""

    agent: Id | AgentReference
    environment_id: Id
    initial_events: InitialEvents
    name: Name
    description: Description | None = None
    metadata: Metadata | None = None
    budget: BudgetLimit | None = None
    resources: ResourceList | None = None
    schedule: ScheduleParams | None = None
    vault_ids: list[Json] | None = None


class DeploymentUpdate(Params, frozen=True):
    """POST /v1/deployments/{id}: what is left out stays."""

    agent: Id | AgentReference | UnsetType = UNSET
    environment_id: Id | UnsetType = UNSET
    initial_events: InitialEvents | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    budget: BudgetLimit | UnsetType | None = UNSET
    resources: ResourceList | UnsetType | None = UNSET
    schedule: ScheduleParams | UnsetType | None = UNSET
    vault_ids: list[Json] | UnsetType | None = UNSET


class DeployedAgent(TypedDict):
    """An agent at a version."""

    type: Literal["agent"]
    id: str
    version: int


class Schedule(TypedDict):
    """A schedule, with up to five times to come, and when the last scheduled run began."""

    type: Literal["cron"]
    expression: str
    timezone: str
    last_run_at: str | None
    upcoming_runs_at: list[str]


class ManualPause(Answer, frozen=True, tag="manual"):
    """Somebody paused it."""


class PausedReasonError(TypedDict):
    """The failed run's error."""

    type: RunErrorType


class ErrorPause(Answer, frozen=True, tag="error"):
    """A scheduled run failed in a way that the next one would too."""

    error: PausedReasonError


class Deployment(TypedDict):
    """An agent with all that it needs to run by itself."""

    id: str
    type: Literal["deployment"]
    name: str
    description: str | None
    status: DeploymentStatus
    paused_reason: ManualPause | ErrorPause | None
    agent: DeployedAgent
    environment_id: str
    initial_events: list[JsonMap]
    resources: list[JsonMap]
    vault_ids: list[str]
    metadata: dict[str, str]
    budget: Budget | None
    schedule: Schedule | None
    created_at: str
    updated_at: str
    archived_at: str | None


class RunError(TypedDict):
    """The reason why no session could be opened."""

    type: RunErrorType
    message: str


class ScheduleTrigger(Answer, frozen=True, tag="schedule"):
    """The deployment's schedule as a trigger: the instant at which it matched, before jitter."""

    scheduled_at: str


class ManualTrigger(Answer, frozen=True, tag="manual"):
    """Somebody's request."""


class DeploymentRun(TypedDict):
    """One run: exactly one of `session_id` and `error` is there."""

    id: str
    type: Literal["deployment_run"]
    deployment_id: str
    agent: DeployedAgent
    trigger_context: ScheduleTrigger | ManualTrigger
    session_id: str | None
    error: RunError | None
    created_at: str


class DeploymentPaging(PagingByTime, frozen=True):
    """The selection of listed deployments."""

    agent_id: str | None = None
    include_archived: bool = False
    status: DeploymentStatus | None = None


class DeploymentRunPaging(PagingWithinTimes, frozen=True):
    """The selection of listed runs."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=RUNS_LIMIT_MAX)] = LIMIT_DEFAULT
    deployment_id: str | None = None
    has_error: bool | None = None
    trigger_type: TriggerType | None = None


_ALL, _ONE = "/v1/deployments", "/v1/deployments/{deployment_id}"
CREATE = Operation("POST", _ALL, "Create a deployment", body=DeploymentCreate, answer=Deployment)
LIST = Operation("GET", _ALL, "List deployments", query=DeploymentPaging, answer=ListOf[Deployment])
OPERATIONS = stream_operations(DEPLOYMENT, Deployment)
RETRIEVE, EVENTS, STREAM, WHY, CHECK = OPERATIONS
UPDATE = Operation("POST", _ONE, "Update a deployment", body=DeploymentUpdate, answer=Deployment)
PAUSE = Operation("POST", f"{_ONE}/pause", "Pause a deployment", answer=Deployment)
UNPAUSE = Operation("POST", f"{_ONE}/unpause", "Unpause a deployment", answer=Deployment)
ARCHIVE = Operation("POST", f"{_ONE}/archive", "Archive a deployment", answer=Deployment)
RUN = Operation("POST", f"{_ONE}/run", "Run a deployment now", answer=DeploymentRun)
LIST_RUNS = Operation(
    "GET",
    "/v1/deployment_runs",
    "List runs of deployments",
    query=DeploymentRunPaging,
    answer=ListOf[DeploymentRun],
)
RETRIEVE_RUN = Operation(
    "GET",
    "/v1/deployment_runs/{deployment_run_id}",
    "Retrieve a run of a deployment",
    answer=DeploymentRun,
)
