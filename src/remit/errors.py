"""Every expected failure, named after its condition. HTTP-free: `server/edge/errors.py` maps them once.

Each carries a message that is safe to show to the caller: what happened, to which id, and what to do about it.
Internals are logged where the error is raised, never put into the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal


class RemitError(Exception):
    """Base of all expected failures. `code` is the stable `error.details.error_code` of the wire, where there is one."""

    code: str | None = None

    def __init__(
        self, message: str, *, code: str | None = None, details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.details: Mapping[str, object] = details or {}


# What the caller sent.
class InvalidRequest(RemitError):
    """A field is unknown, of the wrong type, out of range or not supported. The message names it and the mend."""


class NotServed(RemitError):
    """A method of the wire that this version does not have. Repeating the call does not help."""

    code = "not_supported"


class TooLarge(RemitError):
    """The body or one part of it exceeds a named limit."""


class Unauthenticated(RemitError):
    """No key, or one that is unknown, revoked or expired."""


class Forbidden(RemitError):
    """The key is valid but lacks the scope."""


class NotFound(RemitError):
    """No such thing in this workspace (another workspace's id is the same answer)."""


class Conflict(RemitError):
    """The thing changed meanwhile, or its name is taken. Deterministic: repeating the call does not help."""


class KeyTaken(Conflict):
    """Another resource has this unique key; its id is `holder_id`."""

    def __init__(self, message: str, *, holder_id: str) -> None:
        super().__init__(message)
        self.holder_id = holder_id


class ParentFull(Conflict):
    """As many of this kind stand under the parent as may."""


class PathConflict(Conflict):
    """Another memory of the store is at this path; `details` name it."""


class PreconditionFailed(Conflict):
    """The memory's content is not the one that the caller has seen."""


class WrongState(RemitError):
    """The thing exists but its state refuses this (archive while running, approve after the end)."""


class RateLimited(RemitError):
    """A queue or rate limit of ours is full; try again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(RateLimited):
    """The server itself has as much to do as it takes on, whoever asks; try again after `retry_after_seconds`."""


# The store.
class LeaseLost(RemitError):
    """The epoch is stale: another worker owns the stream. Stop at once; append nothing more."""


class SequenceConflict(RemitError):
    """`expected_seq` is not the head: fold again and decide anew."""


class StoreUnavailable(RemitError):
    """The store cannot commit (disk full, I/O error). Nothing of the append is durable."""


class StoreAway(StoreUnavailable):
    """The store does not answer now and may in a moment. Whether a write that was under way is durable is not known."""


class DataFolderBusy(RemitError):
    """Another process owns the data folder; its API socket is `socket_path`."""

    def __init__(self, message: str, *, socket_path: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.socket_path = socket_path
        self.pid = pid
        """The owner's process, where it could be read."""


# Money.
class HoldRefused(RemitError):
    """`spent + held + granted + amount` would exceed the cap, or the account is stopped. Nothing was appended."""

    code = "budget_reached"


class Unpriced(RemitError):
    """The model has no price, so it cannot serve a dollar budget. The message shows the line that adds one."""

    code = "model_not_budgetable"


# Models.
class ModelUnavailable(RemitError):
    """No provider can serve this model id (no key, no such provider). The message names the ways to get one."""


class ModelInstallFailed(RemitError):
    """A local model could not be fetched, verified or removed. What has come of it is kept for the next attempt."""


class ModelCallFailed(RemitError):
    """A provider refused or broke off a call.

    `reason` tells the retry policy what to do; `billed` tells the ledger: "no" (refused before any work),
    "input" (no more than reading the request: closed before a status line), or "unknown" (cut, time-out, crash),
    which is settled at the hold. What is not "no" is marked `assumed`.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        billed: str,
        is_retryable: bool,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """overloaded | rate_limited | invalid | too_long | authentication | billing | unavailable | cut | timeout | garbage"""
        self.billed = billed
        self.is_retryable = is_retryable
        self.retry_after_seconds = retry_after_seconds


class CompactionLimitReached(RemitError):
    """A history does not fit the model's context however often it is summarised."""


# Sandboxes.
class SandboxUnavailable(RemitError):
    """No sandbox can be made here. The message names the exact mend."""


class PackagesNotInstalled(SandboxUnavailable):
    """The packages of an environment cannot be had now. The message says what the installer said."""

    def __init__(self, message: str, *, is_repeated: bool = False) -> None:
        super().__init__(message)
        self.is_repeated = is_repeated
        """It was said before in this turn, and not tried again."""


class SandboxLost(RemitError):
    """The sandbox died or can no longer be reached; what ran in it may have had effects."""


class SandboxRefused(RemitError):
    """The sandbox refused the request itself (stale epoch, path outside the allowed roots, limit exceeded)."""


class ToolsUnavailable(RemitError):
    """Tools that an agent should have cannot be had now. The message is for people."""

    def __init__(
        self, message: str, *, server: str, reason: Literal["connection", "authentication", "limits"]
    ) -> None:
        super().__init__(message)
        self.server = server
        """Who has them, by the agent's name for it."""
        self.reason = reason
        """`limits`: what is left out is more, or other, than is taken; the rest is there."""


class VerifierUnavailable(RemitError):
    """A verifier cannot run (its program is not in the image, no model for the grader). Nothing was spent."""


class BlobMissing(RemitError):
    """A blob named by the log is not in the blob store."""


class LocalFailure(RemitError):
    """A failure of something on this machine; `mend` says what to do, where that is known."""

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message)
        self.mend = mend


class BadInput(LocalFailure):
    """An input that was named and cannot be used as it is. Nothing was done."""
