"""The rows of a deployment's stream. Public ones have the names under which the hosted platform tells of the same."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from remit.schema.deployments import RunErrorType
from remit.schema.sessions import SessionCreate
from remit.schema.wire import convert
from remit.streams.rows import PrivateRow, PublicRow, RowTypes
from remit.values import JsonObject, Value


class Schedule(Value, frozen=True, kw_only=True):
    """Cron and its time zone, as they were given."""

    expression: str
    timezone: str


class DeploymentConfig(Value, frozen=True, kw_only=True):
    """All that people decide of a deployment."""

    name: str
    description: str | None = None
    agent_id: str
    agent_version: int
    environment_id: str
    initial_events: tuple[JsonObject, ...]
    """As they were sent, to be checked and sent again at each run."""
    resources: tuple[JsonObject, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    budget: JsonObject | None = None
    """Of each session."""
    schedule: Schedule | None = None

    def session(self) -> SessionCreate:
        """Return the request for the session of each run."""
        asked = {
            "agent": {"type": "agent", "id": self.agent_id, "version": self.agent_version},
            "environment_id": self.environment_id,
            "title": self.name,
            "budget": self.budget,
            "initial_events": list(self.initial_events),
            "resources": list(self.resources),
        }
        return convert(asked, SessionCreate, what="deployment")


class PausedReason(Value, frozen=True, kw_only=True):
    """The reason why a deployment does not fire by itself."""

    type: Literal["manual", "error"]
    error: RunErrorType | None = None
    """Of the run that failed."""


class DeploymentCreated(PublicRow, frozen=True, kw_only=True, tag="deployment.created"):
    """The configuration that was asked for, and by whom: the key whose caps bind its sessions."""

    config: DeploymentConfig
    actor: str


class DeploymentUpdated(PublicRow, frozen=True, kw_only=True, tag="deployment.updated"):
    """All of it, as it is from now on."""

    config: DeploymentConfig
    actor: str


class DeploymentPaused(PublicRow, frozen=True, kw_only=True, tag="deployment.paused"):
    """The deployment was paused: nothing fires by itself any more."""

    reason: PausedReason
    actor: str | None = None


class DeploymentUnpaused(PublicRow, frozen=True, kw_only=True, tag="deployment.unpaused"):
    """The deployment was unpaused: it fires from the next scheduled time on."""

    actor: str


class DeploymentArchived(PublicRow, frozen=True, kw_only=True, tag="deployment.archived"):
    """The deployment was archived for good."""

    actor: str | None = None
    """None: because its agent was, and a run that was begun has opened no session."""


class FiringsMissed(PublicRow, frozen=True, kw_only=True, tag="deployment.firings_missed"):
    """Scheduled times that came while nobody was there to fire, and are not made up for."""

    first_at: str
    until_at: str
    """The last of them is not later."""


class RunRequested(PrivateRow, frozen=True, kw_only=True, tag="deployment_run.requested"):
    """Somebody wants a run now."""

    run_id: str
    actor: str


class RunDecided(PrivateRow, frozen=True, kw_only=True, tag="deployment_run.decided"):
    """A run begins: the ids of all that it makes, before any of it is made. Void where the deployment was paused, archived or
    changed an instant before (`state.fold`)."""

    run_id: str
    session_id: str
    scheduled_us: int | None = None
    """None: somebody requested it."""


class RunSucceeded(PublicRow, frozen=True, kw_only=True, tag="deployment_run.succeeded"):
    """The session is there. What becomes of it is the session's own story."""

    run_id: str
    session_id: str
    scheduled_at: str | None = None


class RunFailed(PublicRow, frozen=True, kw_only=True, tag="deployment_run.failed"):
    """No session could be opened."""

    run_id: str
    error: RunErrorType
    message: str
    scheduled_at: str | None = None


RunEnded = RunSucceeded | RunFailed

ROWS = RowTypes(
    DeploymentCreated,
    DeploymentUpdated,
    DeploymentPaused,
    DeploymentUnpaused,
    DeploymentArchived,
    FiringsMissed,
    RunRequested,
    RunDecided,
    RunSucceeded,
    RunFailed,
)
