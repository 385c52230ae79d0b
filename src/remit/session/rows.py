"""The rows of a session's stream: what stands in each, who sees it. Those of its turns and of its machine have files of
their own. design/log.md says who writes them and when.

Fields that hold what the wire or a provider defines are JSON as it came. A field with a default is one that older logs lack.
"""

from __future__ import annotations

import sys

from msgspec import UNSET, UnsetType, field

from remit.session import machine_rows, turn_rows
from remit.streams.rows import PrivateRow, PublicRow, RowTypes, rows_in
from remit.values import JsonObject, JsonValue

# --------------------------------------------------------------------------------- the session, its status


class SessionCreated(PrivateRow, frozen=True, kw_only=True, tag="session.created"):
    """The first row: everything it was made with."""

    session: JsonObject
    agent: JsonObject
    thread_id: str
    environment_id: str | None = None
    config: JsonObject | None = None
    input: JsonObject | None = None
    toolchains: list[str] | None = None
    parent: str | None = None
    deployment_id: str | None = None
    paid_by: str | None = None
    """The key whose caps bind it."""
    waits_for_reader: bool = False
    resources: list[JsonObject] | None = None
    memory_stores: list[JsonObject] | None = None
    files: dict[str, JsonObject] | None = None


class SessionUpdated(PublicRow, frozen=True, kw_only=True, tag="session.updated"):
    """The session was updated, with what was changed and nothing else."""

    title: str | UnsetType | None = UNSET
    metadata: JsonObject | UnsetType = UNSET
    agent: JsonObject | UnsetType = UNSET
    budget: JsonObject | UnsetType | None = UNSET


class SessionMetadataCleared(PrivateRow, frozen=True, kw_only=True, tag="session.metadata_cleared"):
    """The wire has no word for it."""


class SessionArchived(PrivateRow, frozen=True, kw_only=True, tag="session.archived"):
    """The session takes no more events."""

    archived_at: str


class SessionDeleted(PublicRow, frozen=True, kw_only=True, tag="session.deleted"):
    """The last event."""


class SessionStatusRunning(PublicRow, frozen=True, kw_only=True, tag="session.status_running"):
    """A turn begins, or goes on after a pause."""


class SessionStatusRescheduled(PublicRow, frozen=True, kw_only=True, tag="session.status_rescheduled"):
    """A model call is made again after a pause."""


class SessionStatusIdle(PublicRow, frozen=True, kw_only=True, tag="session.status_idle"):
    """A turn has ended."""

    stop_reason: JsonObject
    stop_details: JsonObject | None = None


class SessionStatusTerminated(PublicRow, frozen=True, kw_only=True, tag="session.status_terminated"):
    """The session was archived."""


class ThreadStatusRow(PublicRow, frozen=True, kw_only=True):
    """The primary thread's status is its session's."""

    session_thread_id: str = ""
    agent_name: str = ""


class ThreadStatusRunning(ThreadStatusRow, frozen=True, kw_only=True, tag="session.thread_status_running"):
    """The thread runs, as its session does."""


class ThreadStatusRescheduled(
    ThreadStatusRow, frozen=True, kw_only=True, tag="session.thread_status_rescheduled"
):
    """The thread was rescheduled, as its session was."""


class ThreadStatusIdle(ThreadStatusRow, frozen=True, kw_only=True, tag="session.thread_status_idle"):
    """The thread is idle, as its session is."""

    stop_reason: JsonObject | None = None
    stop_details: JsonObject | None = None


class ThreadStatusTerminated(
    ThreadStatusRow, frozen=True, kw_only=True, tag="session.thread_status_terminated"
):
    """The thread was terminated, as its session was."""


class SessionUsage(PublicRow, frozen=True, kw_only=True, tag="session.usage"):
    """The usage so far."""

    usage: JsonObject
    budget: JsonObject | None = None


class SessionError(PublicRow, frozen=True, kw_only=True, tag="session.error"):
    """A failure, as people are told of it."""

    error: JsonObject


class TurnFailed(PrivateRow, frozen=True, kw_only=True, tag="turn.failed"):
    """A turn was given up."""

    reason: str
    message: str | None = None
    retry_after_seconds: float | None = None


class TurnContinued(PrivateRow, frozen=True, kw_only=True, tag="turn.continued"):
    """A parent lets it go on with the turn that stopped."""


class WaitBegan(PrivateRow, frozen=True, kw_only=True, tag="wait.began"):
    """The session waits for its turn at a limit; the wait ends with the next row of what it waited for."""

    what: str
    """model | sandbox"""
    limit: str
    ahead: int


# ------------------------------------------------------------------------------------------------- input


class SessionInputReceived(PrivateRow, frozen=True, kw_only=True, tag="input.received"):
    """The receipt of an input, with the input's id."""

    event: JsonObject
    batch: str | UnsetType = UNSET
    """The id of the first that was sent with it, where that is another."""
    is_emptying: bool | UnsetType = UNSET
    """Of an interrupt: it stops what is queued before it too; the wire's lets that begin afterwards."""


class UserMessageTaken(PublicRow, frozen=True, kw_only=True, tag="user.message"):
    """Consumed."""

    content: list[JsonObject]


class SystemMessageTaken(PublicRow, frozen=True, kw_only=True, tag="system.message"):
    """Consumed."""

    content: list[JsonObject]


class InterruptTaken(PublicRow, frozen=True, kw_only=True, tag="user.interrupt"):
    """Carried out."""


class OutcomeDefined(PublicRow, frozen=True, kw_only=True, tag="user.define_outcome"):
    """Consumed; the work toward it begins."""

    outcome_id: str
    description: str
    rubric: JsonObject | UnsetType | None = UNSET
    max_iterations: int | UnsetType | None = UNSET
    verifiers: list[JsonObject] | UnsetType | None = UNSET


class ConfirmationTaken(PublicRow, frozen=True, kw_only=True, tag="user.tool_confirmation"):
    """A person's answer to a use that asks."""

    tool_use_id: str
    result: str
    deny_message: str | UnsetType | None = UNSET


class FilesPinned(PrivateRow, frozen=True, kw_only=True, tag="files.pinned"):
    """The bytes of a message's files when it was sent."""

    files: dict[str, JsonObject]


class CallReconciled(PrivateRow, frozen=True, kw_only=True, tag="call.reconciled"):
    """The real cost of a call that was settled at its hold; also on the workspace's stream."""

    call_id: str
    stream_id: str = ""
    actor: str = ""
    how: str = ""
    real: JsonObject = field(default_factory=dict[str, JsonValue])


ROWS = RowTypes(*rows_in(sys.modules[__name__], turn_rows, machine_rows))
