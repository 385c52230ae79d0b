"""The state of a session: `folding.fold` derives it from the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

from remit.schema.tool_kinds import ANSWER_TYPES, BUILTIN, BY_USE, ToolKind
from remit.session.history import History
from remit.session.turn_rows import ModelStarted
from remit.session.web import WebUse
from remit.streams.children import ChildEvaluation, ChildFailure
from remit.values import JsonObject, JsonValue, ToolUse, Usage

Status = Literal["idle", "running", "rescheduling", "terminated"]
Permission = Literal["allow", "ask", "deny"]

INPUT_TYPES_ANSWERING = ANSWER_TYPES
INPUT_TYPES_STARTING = frozenset({"user.message", "user.define_outcome", "system.message"})
INPUT_TYPES_CHANGING = frozenset({"session.updated"})
"""Changes that a route decided while a turn ran; published by the session's writer when it takes its input."""
STOPS_CONTINUED = ("budget_reached", "retries_exhausted")
"""Stop reasons of a turn that did not come to its end: it can go on where it stopped."""
CHANGING_TOOLS = frozenset({"bash", "write", "edit"})
"""Built-in tools that may change files of the working tree."""


@dataclass
class OpenToolUse:
    """A tool use without a result."""

    use: ToolUse
    permission: Permission
    use_type: str = BUILTIN.use_type
    """Which kind of tool it is."""
    is_started: bool = False
    """`tool.started` is durable: after a crash it may have run."""
    may_change_files: bool = False
    """It was started, and files of the working tree may have changed."""
    denial: str | None = None
    """A person said no, with these words (maybe none)."""
    holds: list[JsonObject] = field(default_factory=list[JsonObject])
    """What was set aside for it when it started."""

    @property
    def kind(self) -> ToolKind:
        """Return the kind of the tool, by which the use is recorded."""
        return BY_USE[self.use_type]

    @property
    def is_blocking(self) -> bool:
        """Waits for a person or a client."""
        return self.kind.is_client or self.permission == "ask"


@dataclass
class OpenCall:
    """A model call attempt without an end."""

    started: ModelStarted
    seq: int


@dataclass
class Waiting:
    """Verifiers of an evaluation wait for something elsewhere, and are asked again about the same tree."""

    verification_id: str
    tree_digest: str
    outputs_digest: str | None
    waits_for: str
    since_us: int
    asked_at_us: int
    """When they last said so, by the store's clock."""
    wake_at_us: int
    verdicts: list[JsonObject | None]
    """For each verifier what it has said; None: it waits, or has not been asked."""


@dataclass
class Outcome:
    """The outcome that is being worked on."""

    event: JsonObject
    iteration: int = 0
    evaluation_start_id: str | None = None
    """An evaluation has begun and has not ended."""
    waiting: Waiting | None = None
    waits: int = 0
    """How often verifiers began to wait and stopped: what they are asked next is another question."""

    @property
    def id(self) -> str:
        return str(self.event["outcome_id"])

    @property
    def max_iterations(self) -> int:
        return cast("int", self.event.get("max_iterations") or 3)


@dataclass
class SandboxRecord:
    """The sandbox the log believes to be alive."""

    sandbox_id: str
    tree_digest: str | None
    key: str | None
    """By which its provider finds it again."""
    memory: dict[str, str | None] | None = None
    """By memory store, the tree that its folder began with."""


@dataclass
class Snapshot:
    """The newest snapshot of the working tree."""

    tree_digest: str
    covers_seq: int
    taken_at: str
    left_out: tuple[JsonObject, ...] = ()
    """What it does not hold: `path` and `why`."""


@dataclass
class TurnCounters:
    """The counters of the current turn; reset when a turn starts."""

    steps: int = 0
    repeats: int = 0
    last_exchange: str = ""
    has_changed_files: bool = False
    has_verified: bool = False
    reminders: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class Standing:
    """The facts for a parent beside how the session rests; no turn resets them."""

    first_outcome_id: str | None = None
    """Of the outcome that it was made with."""
    tree_digest: str | None = None
    """The newest state of the working tree that is durable."""
    interrupted: ChildEvaluation | None = None
    """The evaluation that a person cut last: it ends with the turn, and is told with it."""
    interrupt_id: str | None = None
    failure: ChildFailure | None = None
    error: str | None = None
    refusal: str | None = None
    provider: str | None = None
    """Of the last call."""
    failed_in_a_row: int = 0
    """Turns, since a model last answered."""
    paid_in_a_row: int = 0
    is_paid: bool = False
    """The turn that runs was charged for a call without an answer."""


@dataclass
class SessionState:
    """The fold of a session's log."""

    session_id: str = ""
    workspace_id: str = ""
    seq: int = 0
    created: JsonObject = field(default_factory=dict[str, JsonValue])
    title: str | None = None
    metadata: JsonObject = field(default_factory=dict[str, JsonValue])
    agent: JsonObject = field(default_factory=dict[str, JsonValue])
    environment_id: str = ""
    thread_id: str = ""
    budget: JsonObject | None = None
    status: Status = "idle"
    stop_reason: JsonObject | None = None
    stop_details: JsonObject | None = None
    archived_at: str | None = None
    created_at: str = ""
    updated_at: str = ""
    is_deleted: bool = False

    usage: Usage = field(default_factory=Usage)
    cost_nano_usd: int = 0
    active_us: int = 0
    running_since_us: int | None = None
    last_processed_us: int = 0

    pending: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    """Input received and not consumed, by event id, in order."""
    received_at_us: dict[str, int] = field(default_factory=dict[str, int])
    """When each pending input came."""
    batches: dict[str, str] = field(default_factory=dict[str, str])
    emptying: dict[str, bool] = field(default_factory=dict[str, bool])
    """Pending interrupts that stop what is queued before them too."""
    """By pending input the first one that was sent with it, where that is another."""
    open_calls: dict[str, OpenCall] = field(default_factory=dict[str, OpenCall])
    open_span_id: str | None = None
    tool_uses: dict[str, OpenToolUse] = field(default_factory=dict[str, OpenToolUse])
    """Tool uses without a result, by event id, in the model's order."""
    history: History = field(default_factory=History)
    prompt_tokens: int = 0
    """Of the last call of the turn: all it read and wrote, as the provider counted."""
    bytes_at_last_call: int = 0
    """`history.bytes_added` when that call ended."""
    windows: dict[str, int] = field(default_factory=dict[str, int])
    """By model, how many tokens it takes, where a refusal told that it is less than was thought."""
    compactions_in_a_row: int = 0
    needs_model: bool = False
    may_resume: bool = False
    """The turn goes on by itself: the budget was changed while idle(budget_reached), or a remit says so."""
    last_stop_reason: str | None = None
    last_stop_details: JsonObject | None = None
    turn: TurnCounters = field(default_factory=TurnCounters)

    outcome: Outcome | None = None
    outcome_evaluations: list[JsonObject] = field(default_factory=list[JsonObject])

    facts: str | None = None
    sandbox: SandboxRecord | None = None
    isolation: JsonObject | None = None
    """Of its newest sandbox, as its provider declared: `provider`, `level`, `not_held`."""
    snapshot: Snapshot | None = None
    outputs_digest: str | None = None
    """Of the tree below /mnt/session/outputs in the newest snapshot; None while there are none."""
    resources: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    """Files mounted read-only, by resource id, in order."""
    files: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    """Files that messages name, by file id: `sha256`, `mime_type`, `filename`."""
    changes_since_snapshot: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """(seq of the result, tool use id) of uses that may have changed files."""
    notes: JsonObject = field(default_factory=dict[str, JsonValue])
    packages_digest: str | None = None
    """Of the tree of the environment's packages, once they are installed."""
    memory_agreed: dict[str, dict[str, str | None]] = field(default_factory=dict[str, dict[str, str | None]])
    """By memory store: what it and its folder came to agree on since the sandbox was started, SHA-256 by path."""
    services: list[JsonObject] = field(default_factory=list[JsonObject])
    """What listened in the sandbox at the last look: `port`, `command`."""
    web: WebUse = field(default_factory=WebUse)
    standing: Standing = field(default_factory=Standing)

    @property
    def parent_stream_id(self) -> str | None:
        """The remit or flow this session works for."""
        return cast("str | None", self.created.get("parent"))

    @property
    def deployment_id(self) -> str | None:
        """The deployment that opened it: listed as its parent, and told nothing."""
        return cast("str | None", self.created.get("deployment_id"))

    @property
    def takes_messages_at_cap(self) -> bool:
        """Return whether messages are taken at a cap: there is no budget to raise first."""
        return self.budget is None and self.parent_stream_id is None

    @property
    def blocking(self) -> tuple[str, ...]:
        """Tool-use event ids that wait for a person or a client."""
        return tuple(id for id, use in self.tool_uses.items() if use.is_blocking)

    @property
    def is_interrupt_pending(self) -> bool:
        """A person said stop and it has not been carried out."""
        return any(event["type"] == "user.interrupt" for event in self.pending.values())

    def stop_clock(self, at_us: int) -> None:
        """Count the time at work until then; what follows is none until it runs again."""
        if self.running_since_us is not None:
            self.active_us += max(0, at_us - self.running_since_us)
            self.running_since_us = None

    def active_seconds(self, now_us: int | None = None) -> float:
        """Return how long the session was running, up to `now_us` if it is."""
        total = self.active_us
        if self.running_since_us is not None and now_us is not None:
            total += max(0, now_us - self.running_since_us)
        return total / 1_000_000


BYTES_PER_TOKEN = 3
"""For what was added since the last call reported its tokens: more bytes per token than most text has."""


def context_tokens(state: SessionState) -> int:
    """About how many tokens the next request has."""
    return state.prompt_tokens + (state.history.bytes_added - state.bytes_at_last_call) // BYTES_PER_TOKEN
