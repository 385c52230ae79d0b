"""The rows of a remit's stream: their bodies, and how they are encoded and decoded. See design/log.md."""

from __future__ import annotations

from typing import Literal, cast, get_args

import msgspec

from remit.streams.children import ChildEvaluated, ChildIdled
from remit.streams.grants import GrantNote
from remit.streams.rows import PrivateRow, PublicRow, RowTypes
from remit.values import (
    ConsentReason,
    EventRow,
    JsonObject,
    JsonValue,
    ReadOnlyTree,
    Value,
    Verdict,
)

EndStatus = Literal["satisfied", "unsatisfied", "budget_reached", "stopped"]


class Budget(Value, frozen=True, kw_only=True):
    """The cap: dollars as a decimal string, tokens as a number; at least one of them."""

    usd: str | None = None
    tokens: int | None = None


class Amount(Value, frozen=True, kw_only=True):
    """Dollars and tokens side by side; dollars as a decimal string."""

    usd: str = "0"
    tokens: int = 0


class Range(Value, frozen=True, kw_only=True):
    """Three figures of a forecast."""

    low: JsonValue
    likely: JsonValue
    high: JsonValue


class ProtectedFile(Value, frozen=True, kw_only=True):
    """A file of the input that the agent may not change."""

    path: str
    reason: str
    sha256: str | None = None
    target: str | None = None
    """Of a symlink."""


class HarnessRef(Value, frozen=True, kw_only=True):
    """A harness by name and version."""

    name: str
    version: str


class AgentRef(Value, frozen=True, kw_only=True):
    """The agent version that works, with the pair that is compared: harness and model."""

    id: str
    version: int
    name: str
    model: str
    harness: HarnessRef


class EnvironmentRef(Value, frozen=True, kw_only=True):
    """An environment as it was when the remit was made; a later change of it is not the remit's."""

    id: str
    name: str
    config: JsonObject


class RemitEvent(PublicRow, frozen=True, kw_only=True):
    """An event of a remit."""


class RemitNote(PrivateRow, frozen=True, kw_only=True):
    """A row of a remit that the wire does not show."""


class RemitCreated(RemitEvent, frozen=True, kw_only=True, tag="remit.created"):
    """The whole of what was asked for."""

    outcome: str
    verifiers: tuple[JsonObject, ...]
    budget: Budget
    agent: AgentRef
    model: str
    max_iterations: int
    input_id: str | None = None
    tree_digest: str | None = None
    history_digest: str | None = None
    input_bytes: int = 0
    protect: tuple[str, ...] = ()
    unprotect: tuple[str, ...] = ()
    work: tuple[str, ...] = ()
    despite: tuple[ConsentReason, ...] = ()
    """What was accepted beforehand."""
    toolchains: tuple[str, ...] = ()
    setup: str | None = None
    """A command that runs once before everything else, with the package registries open."""
    environment: EnvironmentRef | None = None
    """None: no network, no packages, no variables."""
    metadata: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    paid_by: str | None = None
    """The key whose caps bind it."""
    protected: tuple[ProtectedFile, ...] = ()
    """Of older logs: the forecast has them since the input is verified before it."""


class RemitForecast(RemitEvent, frozen=True, kw_only=True, tag="remit.forecast"):
    """The probable cost, what is set aside for verification, and what the run on the input showed."""

    usd: Range | None = None
    tokens: Range | None = None
    basis: str = ""
    verification_reserve: Amount = Amount()
    notes: tuple[str, ...] = ()
    protected: tuple[ProtectedFile, ...] = ()
    proposed_work: tuple[str, ...] = ()
    """Globs that would name the work (`work`); never applied unless they are given."""
    rewrites: tuple[str, ...] = ()
    """Files of the input that the verifiers themselves rewrite: left writable, restored, no tampering."""


class RemitApproved(RemitEvent, frozen=True, kw_only=True, tag="remit.approved"):
    """Consent was given."""

    actor: str = ""
    reason: str | None = None
    despite: tuple[ConsentReason, ...] = ()
    """What beside the cost was accepted."""


class RemitDeclined(RemitEvent, frozen=True, kw_only=True, tag="remit.declined"):
    """Consent was refused."""

    actor: str = ""
    reason: str | None = None


class RemitFunded(RemitNote, frozen=True, kw_only=True, tag="remit.funded"):
    """The workspace's grants arrived; in the same append as their effects."""

    grants: tuple[GrantNote, ...] = ()


class RemitFundingRefused(RemitNote, frozen=True, kw_only=True, tag="remit.funding_refused"):
    """The workspace cannot grant the budget."""

    message: str = ""


class RemitSetupEnded(RemitEvent, frozen=True, kw_only=True, tag="remit.setup_ended"):
    """The surroundings of the work, the same for the agent and for every verifier: found or made once."""

    command: str | None = None
    """What was run for it; None: nothing."""
    layer_digest: str | None = None
    """The tree of what it added."""
    mounts: tuple[ReadOnlyTree, ...] = ()
    """Read-only in every sandbox: parts of that tree, and what the interpreter is told of projects that are not installed."""
    python_path: tuple[str, ...] = ()
    """Folders for PYTHONPATH, the input's own packages first."""
    path: tuple[str, ...] = ()
    """Folders of programs that come first on PATH."""
    notes: tuple[str, ...] = ()
    duration_seconds: float = 0.0
    error: str | None = None
    """Why nothing could be set up; the remit then stops."""


class InitialVerificationStarted(
    RemitEvent, frozen=True, kw_only=True, tag="remit.initial_verification_started"
):
    """The verifiers that cost nothing begin to look at the input."""

    verification_id: str


class InitialVerificationEnded(RemitEvent, frozen=True, kw_only=True, tag="remit.initial_verification_ended"):
    """The verdicts on the untouched input; `vacuous` are indexes of verifiers that were green then."""

    verdicts: tuple[Verdict, ...] = ()
    vacuous: tuple[int, ...] = ()
    error: str | None = None
    """Why no verdict could be had; the remit then stops."""


class RemitSessionCreated(RemitEvent, frozen=True, kw_only=True, tag="remit.session_created"):
    """The working session is decided; it exists after this row, not before."""

    session_id: str
    grants: tuple[GrantNote, ...] = ()


class RemitWorking(RemitEvent, frozen=True, kw_only=True, tag="remit.working"):
    """The working session exists and has its outcome."""

    session_id: str


class RemitIterationEnded(RemitEvent, frozen=True, kw_only=True, tag="remit.iteration_ended"):
    """One evaluation of the working session, copied."""

    iteration: int
    result: str
    verdicts: tuple[Verdict, ...] = ()
    tampered: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    session_id: str = ""
    evaluation_event_id: str = ""
    explanation: str = ""


class RemitInterrupted(RemitEvent, frozen=True, kw_only=True, tag="remit.interrupted"):
    """A person said stop; everything is kept."""

    actor: str = ""
    session_event_id: str | None = None
    """The interrupt in the working session that it stands for, when it did not come through the remit."""


class RemitResumed(RemitEvent, frozen=True, kw_only=True, tag="remit.resumed"):
    """A person said go on, or the time of a pause has come (the actor is then `remit`)."""

    actor: str = ""


class RemitPaused(RemitEvent, frozen=True, kw_only=True, tag="remit.paused"):
    """No model answers: nothing is lost, and nothing is spent until it goes on."""

    reason: str
    """Why the last model call failed, by the names of `outage.TREATMENTS`."""
    message: str = ""
    wake_at: str | None = None
    """When it goes on by itself; None: when people say so."""
    attempt: int = 1
    """Pauses in a row without an answer in between, this one among them."""
    mend: str | None = None
    """What people can do, where waiting is not enough."""
    session_event_id: str = ""
    """The failed turn in the working session that it stands for."""


class RemitReopened(RemitEvent, frozen=True, kw_only=True, tag="remit.reopened"):
    """A remit that ended at its budget got a higher one and goes on in the same session."""

    actor: str = ""
    budget: Budget
    """The whole of it, with what was spent before."""
    grants: tuple[GrantNote, ...] = ()
    """What the workspace is to grant on top of what was spent."""


class RemitSessionGranted(RemitNote, frozen=True, kw_only=True, tag="remit.session_granted"):
    """The grant of a reopened remit goes to its session; in the same append as this side of it."""

    reopening_id: str
    session_id: str
    grants: tuple[GrantNote, ...] = ()


class RemitVerificationRepeated(RemitEvent, frozen=True, kw_only=True, tag="remit.verification_repeated"):
    """The answer to `verify`; its id is the request's."""

    verdicts: tuple[Verdict, ...] = ()
    verified: bool = False
    tree_digest: str | None = None
    error: str | None = None


class ChangedFile(Value, frozen=True, kw_only=True):
    """One path that differs between the input and the result."""

    path: str
    kind: str
    """added | modified | removed"""
    base_sha256: str | None
    sha256: str | None
    mode: int | None
    target: str | None = None
    """Of a symlink; then there is no sha256."""
    base_target: str | None = None
    """Of the symlink that was there; then there is no base_sha256."""
    base_mode: int | None = None


class ChangedFolder(Value, frozen=True, kw_only=True):
    """One folder that came, went, or has other permissions."""

    path: str
    kind: str
    """added | modified | removed"""
    mode: int | None
    base_mode: int | None


class DeliverableFile(Value, frozen=True, kw_only=True):
    """One downloadable file of the result; its content is the blob of this hash."""

    name: str
    size_bytes: int
    sha256: str


class RemitDeliverablesReady(RemitEvent, frozen=True, kw_only=True, tag="remit.deliverables_ready"):
    """The deliverables are ready."""

    tree_digest: str | None
    changed: tuple[ChangedFile, ...] = ()
    folders: tuple[ChangedFolder, ...] = ()
    removed: tuple[str, ...] = ()
    files: tuple[DeliverableFile, ...] = ()
    notes: tuple[str, ...] = ()


class RemitEnded(RemitEvent, frozen=True, kw_only=True, tag="remit.ended"):
    """The end, as two facts and a sum."""

    status: EndStatus
    completed: bool
    verified: bool
    vacuous: tuple[str, ...] = ()
    tampered: tuple[str, ...] = ()
    rests_on_work: tuple[str, ...] = ()
    """Files that the last verdicts rest on and that are the agent's."""
    spent: Amount = Amount()
    session_ids: tuple[str, ...] = ()
    explanation: str = ""


class Command(Value, frozen=True, kw_only=True):
    """A person's command to a remit: carried by `input.received`."""

    id: str
    type: str
    """remit.approve | remit.decline | remit.interrupt | remit.resume | remit.verify | remit.raise"""
    actor: str = ""
    reason: str | None = None
    despite: tuple[ConsentReason, ...] = ()
    budget: Budget | None = None
    """Of remit.raise: the whole new budget."""


class InputReceived(RemitNote, frozen=True, kw_only=True, tag="input.received"):
    """A command, not yet consumed; its row has the command's id."""

    event: Command


class RemitSessionTold(RemitNote, frozen=True, kw_only=True, tag="remit.session_told"):
    """The working session was given its outcome again, or the word to go on; after it was, so that it may be repeated."""

    session_id: str
    command_id: str
    gives_outcome: bool = False
    seq: int | None
    """The row in the session by which it was told: what it reported before that says nothing of what it does now. None:
    it is not there any more."""


AnyEvent = (
    RemitCreated
    | RemitForecast
    | RemitApproved
    | RemitDeclined
    | RemitFunded
    | RemitFundingRefused
    | RemitSetupEnded
    | InitialVerificationStarted
    | InitialVerificationEnded
    | RemitSessionCreated
    | RemitWorking
    | RemitIterationEnded
    | RemitInterrupted
    | RemitResumed
    | RemitPaused
    | RemitReopened
    | RemitSessionGranted
    | RemitSessionTold
    | RemitVerificationRepeated
    | RemitDeliverablesReady
    | RemitEnded
    | InputReceived
    | ChildIdled
    | ChildEvaluated
)

ROWS = RowTypes(*get_args(AnyEvent))


def decode_event(row: EventRow) -> AnyEvent:
    """The event of a row of a remit's stream, of a type that is known. Raises msgspec.DecodeError on a body this code
    cannot know."""
    event = ROWS.decode(row)
    assert event is not None, f"rows of type {row.type!r} are not known"
    return cast("AnyEvent", event)  # the registry is made of these
