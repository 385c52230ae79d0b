"""The rows of turns: model calls, tools, the conversation that a model is sent, evaluations of outcomes."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from remit.streams.rows import PrivateRow, PublicRow
from remit.values import JsonObject, JsonValue, Usage

# ------------------------------------------------------------------------------------------- model calls


class ModelStarted(PrivateRow, frozen=True, kw_only=True, tag="model.started"):
    """A call is about to be made; its holds are in the same append."""

    call_id: str
    number: int = 1
    model: str = ""
    provider: str | None = None
    served_model: str | None = None
    thread_id: str | None = None
    request_digest: str | None = None
    max_tokens: int | None = None
    purpose: str = "work"
    use: str = "turn"
    """turn | grader | compaction"""
    holds: list[JsonObject] = field(default_factory=list[JsonObject])

    @property
    def is_of_turn(self) -> bool:
        """Return whether the call's answer is the agent's, not a grader's or a summary."""
        return self.use == "turn" and self.purpose != "verification"


class ModelEnded(PrivateRow, frozen=True, kw_only=True, tag="model.ended"):
    """A model call has ended, with its settlements; when it succeeded, with the raw answer."""

    call_id: str
    number: int = 1
    error_reason: str | None = None
    error_message: str | None = None
    will_retry: bool = False
    is_assumed: bool = False
    is_overrun: bool = False
    cost_nano_usd: int | None = None
    usage: Usage | None = None
    model: str | None = None
    served_model: str | None = None
    provider_request_id: str | UnsetType = UNSET
    pause_seconds: float | UnsetType | None = UNSET
    content: list[JsonObject] | UnsetType = UNSET
    stop_reason: str | UnsetType | None = UNSET
    stop_details: JsonObject | UnsetType | None = UNSET
    provider_id: str | UnsetType | None = UNSET
    tool_use_ids: dict[str, str] | UnsetType = UNSET
    """The model's id of a use to its event's."""


class ModelRefused(PrivateRow, frozen=True, kw_only=True, tag="model.refused"):
    """A call was not made: it does not fit."""

    message: str


class ModelRequestStart(PublicRow, frozen=True, kw_only=True, tag="span.model_request_start"):
    """A call of a turn begins."""


class ModelRequestEnd(PublicRow, frozen=True, kw_only=True, tag="span.model_request_end"):
    """A model request has its end."""

    model_request_start_id: str = ""
    is_error: bool | None = None
    model_usage: JsonObject | None = None


class AgentSaid(PublicRow, frozen=True, kw_only=True, tag="agent.message"):
    """The words of the agent."""

    content: list[JsonObject]


class AgentThought(PublicRow, frozen=True, kw_only=True, tag="agent.thinking"):
    """The agent thinks; what, is not shown."""


class ModelNote(PrivateRow, frozen=True, kw_only=True, tag="model.note"):
    """A word of the harness to the model."""

    name: str = ""
    text: str


class HarnessNote(PrivateRow, frozen=True, kw_only=True, tag="harness.note"):
    """A note that a harness keeps for itself."""

    name: str
    value: JsonValue


class EnvironmentDescribed(PrivateRow, frozen=True, kw_only=True, tag="environment.described"):
    """Facts for the system prompt."""

    text: str


class ContextCleared(PrivateRow, frozen=True, kw_only=True, tag="context.cleared"):
    """Tool results are left out or shortened, in what is sent from now on."""

    before_seq: int | UnsetType = UNSET
    characters_max: int | UnsetType = UNSET


class ContextOverflowed(PrivateRow, frozen=True, kw_only=True, tag="context.overflowed"):
    """A provider refused the length."""

    model: str
    sent_tokens: int
    window_tokens: int
    reason: str = ""


class ContextPutAside(PrivateRow, frozen=True, kw_only=True, tag="context.put_aside"):
    """A provider refused a block; a note is sent in its place."""

    message: int
    block: int
    inner: int | None = None
    reason: str = ""


class ContextCompacted(PrivateRow, frozen=True, kw_only=True, tag="context.compacted"):
    """The conversation is replaced by a summary."""

    summary: str
    covers_seq: int = 0


class ThreadContextCompacted(PublicRow, frozen=True, kw_only=True, tag="agent.thread_context_compacted"):
    """The same, for people."""


# ------------------------------------------------------------------------------------------------- tools


class ToolUseRow(PublicRow, frozen=True, kw_only=True):
    """The model asks for a tool."""

    name: str = ""
    input: JsonValue = None
    evaluated_permission: str | UnsetType = UNSET
    evaluation: JsonObject | UnsetType = UNSET
    mcp_server_name: str | UnsetType = UNSET


class AgentToolUse(ToolUseRow, frozen=True, kw_only=True, tag="agent.tool_use"):
    """A use of a built-in tool."""


class AgentMcpToolUse(ToolUseRow, frozen=True, kw_only=True, tag="agent.mcp_tool_use"):
    """A use of a tool that an MCP server offers."""


class AgentCustomToolUse(ToolUseRow, frozen=True, kw_only=True, tag="agent.custom_tool_use"):
    """A use of a tool that a client carries out."""


class ToolResultRow(PublicRow, frozen=True, kw_only=True):
    """The result of a tool use; one field, by the kind of tool, names the use."""

    tool_use_id: str | UnsetType = UNSET
    mcp_tool_use_id: str | UnsetType = UNSET
    custom_tool_use_id: str | UnsetType = UNSET
    content: list[JsonObject] | UnsetType | None = UNSET
    is_error: bool | UnsetType | None = UNSET
    may_have_run: bool | UnsetType = UNSET

    def answers(self, use_field: str) -> str:
        """The id of the use, in the field in which this kind of tool has it."""
        return getattr(self, use_field) or ""


class AgentToolResult(ToolResultRow, frozen=True, kw_only=True, tag="agent.tool_result"):
    """The result of a built-in tool."""


class AgentMcpToolResult(ToolResultRow, frozen=True, kw_only=True, tag="agent.mcp_tool_result"):
    """The result of a tool that an MCP server offers."""


class CustomToolResultTaken(ToolResultRow, frozen=True, kw_only=True, tag="user.custom_tool_result"):
    """A client's answer."""


class ToolStarted(PrivateRow, frozen=True, kw_only=True, tag="tool.started"):
    """A tool use is about to run."""

    tool_use_id: str
    name: str = ""
    sandbox_id: str | None = None
    """None: it runs in the server."""
    may_change_files: bool | UnsetType = UNSET
    holds: list[JsonObject] = field(default_factory=list[JsonObject])


class ToolMeasured(PrivateRow, frozen=True, kw_only=True, tag="tool.measured"):
    """The time and the cost of a tool use."""

    tool_use_id: str
    name: str = ""
    duration_us: int | None = None
    offloaded_to: str | None = None
    requests: int = 0
    cost_nano_usd: int | None = None
    is_assumed: bool | UnsetType = UNSET


# --------------------------------------------------------------------------------------------- outcomes


class OutcomeEvaluationStart(PublicRow, frozen=True, kw_only=True, tag="span.outcome_evaluation_start"):
    """The verifiers begin."""

    outcome_id: str = ""
    iteration: int = 0


class OutcomeEvaluationOngoing(PublicRow, frozen=True, kw_only=True, tag="span.outcome_evaluation_ongoing"):
    """A sign of life."""

    outcome_id: str = ""
    iteration: int = 0
    waits_for: str | UnsetType = UNSET
    """Verifiers wait for this, elsewhere; with this event, they began to."""


class OutcomeEvaluationEnd(PublicRow, frozen=True, kw_only=True, tag="span.outcome_evaluation_end"):
    """The verdicts on an outcome."""

    outcome_id: str
    outcome_evaluation_start_id: str = ""
    iteration: int = 0
    result: str
    explanation: str | None = None
    usage: JsonObject | None = None


class OutcomePending(PrivateRow, frozen=True, kw_only=True, tag="outcome.pending"):
    """Verifiers wait for something. Until they are asked again nothing runs."""

    outcome_id: str
    verification_id: str
    tree_digest: str
    outputs_digest: str | None = None
    waits_for: str
    wake_at_us: int
    """When they are asked again."""
    verdicts: list[JsonObject | None] = field(default_factory=list[JsonObject | None])
    """For each verifier what it has said since the row before; None: nothing."""


class OutcomeVerified(PrivateRow, frozen=True, kw_only=True, tag="outcome.verified"):
    """The same in full."""

    outcome_id: str = ""
    verification_id: str | None = None
    iteration: int = 0
    tree_digest: str | UnsetType | None = UNSET
    result: str = ""
    verdicts: list[JsonObject] = field(default_factory=list[JsonObject])
    feedback: str | UnsetType = UNSET
    """What the model is told."""
