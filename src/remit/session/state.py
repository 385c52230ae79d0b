"""What a session's log means: `fold(rows)` derives the state. Pure; the rows are listed in design/log.md.

Any prefix of a log folds, and `fold(b, fold(a))` equals `fold(a + b)`. Unknown types are passed over, so that a newer
log can be read by an older program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

import msgspec

from remit.clock import parse_rfc3339, rfc3339
from remit.session.history import History
from remit.session.web import USER_INPUT, WEB_TOOLS, WebUse, client_tool, server_tool
from remit.values import EventRow, JsonObject, JsonValue, ToolUse, Usage

Status = Literal["idle", "running", "rescheduling", "terminated"]
Permission = Literal["allow", "ask", "deny"]

INPUT_TYPES_ANSWERING = frozenset({"user.tool_confirmation", "user.custom_tool_result"})
INPUT_TYPES_STARTING = frozenset({"user.message", "user.define_outcome", "system.message"})
INPUT_TYPES_CHANGING = frozenset({"session.updated"})
"""Changes that a route decided while a turn ran; published by the session's writer when it takes its input."""
CHANGING_TOOLS = frozenset({"bash", "write", "edit"})


@dataclass
class OpenToolUse:
    """A tool use without a result."""

    use: ToolUse
    is_custom: bool
    permission: Permission
    is_started: bool = False
    """`tool.started` is durable: after a crash it may have run."""
    denial: str | None = None
    """A person said no, with these words (maybe none)."""
    holds: list[JsonObject] = field(default_factory=list[JsonObject])
    """What was set aside for it when it started."""

    @property
    def is_blocking(self) -> bool:
        """Waits for a person or a client."""
        return self.is_custom or self.permission == "ask"


@dataclass
class OpenCall:
    """A model call attempt without an end."""

    body: JsonObject
    seq: int


@dataclass
class Outcome:
    """The outcome that is being worked on."""

    event: JsonObject
    iteration: int = 0
    evaluation_start_id: str | None = None
    """An evaluation has begun and has not ended."""

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
    body: JsonObject


@dataclass
class Snapshot:
    """The newest snapshot of the working tree."""

    tree_digest: str
    covers_seq: int
    taken_at: str


@dataclass
class TurnCounters:
    """What the current turn has done; reset when a turn starts."""

    steps: int = 0
    repeats: int = 0
    last_exchange: str = ""
    has_changed_files: bool = False
    has_verified: bool = False
    reminders: dict[str, int] = field(default_factory=dict[str, int])


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
    open_calls: dict[str, OpenCall] = field(default_factory=dict[str, OpenCall])
    open_span_id: str | None = None
    tool_uses: dict[str, OpenToolUse] = field(default_factory=dict[str, OpenToolUse])
    """Tool uses without a result, by event id, in the model's order."""
    history: History = field(default_factory=History)
    prompt_tokens: int = 0
    """Of the last call of the turn: all it read and wrote, as the provider counted."""
    bytes_at_last_call: int = 0
    """`history.bytes_added` when that call ended."""
    compactions_in_a_row: int = 0
    needs_model: bool = False
    may_resume: bool = False
    """The budget was changed while idle(budget_reached): the turn goes on by itself."""
    last_stop_reason: str | None = None
    last_stop_details: JsonObject | None = None
    turn: TurnCounters = field(default_factory=TurnCounters)

    outcome: Outcome | None = None
    outcome_evaluations: list[JsonObject] = field(default_factory=list[JsonObject])

    facts: str | None = None
    sandbox: SandboxRecord | None = None
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
    services: list[JsonObject] = field(default_factory=list[JsonObject])
    """What listened in the sandbox at the last look: `port`, `command`."""
    web: WebUse = field(default_factory=WebUse)

    @property
    def parent_stream_id(self) -> str | None:
        """The remit or flow this session works for."""
        return cast("str | None", self.created.get("parent"))

    @property
    def blocking(self) -> tuple[str, ...]:
        """Tool-use event ids that wait for a person or a client."""
        return tuple(id for id, use in self.tool_uses.items() if use.is_blocking)

    @property
    def is_interrupt_pending(self) -> bool:
        """A person said stop and it has not been carried out."""
        return any(event["type"] == "user.interrupt" for event in self.pending.values())

    def active_seconds(self, now_us: int | None = None) -> float:
        """How long the session was running, up to `now_us` if it is."""
        total = self.active_us
        if self.running_since_us is not None and now_us is not None:
            total += max(0, now_us - self.running_since_us)
        return total / 1_000_000

    def apply(self, row: EventRow) -> None:
        """Take one more row into account."""
        self.seq = row.seq
        body = cast("JsonObject", msgspec.json.decode(row.body))
        if row.visibility == "public":
            self.pending.pop(row.event_id, None)
            self.received_at_us.pop(row.event_id, None)
            processed_at = body.get("processed_at")
            if isinstance(processed_at, str):
                self.last_processed_us = max(self.last_processed_us, parse_rfc3339(processed_at))
        handler = _HANDLERS.get(row.type)
        if handler is not None:
            handler(self, row, body)


def fold(rows: Iterable[EventRow], state: SessionState | None = None) -> SessionState:
    """Apply rows in order to `state` (changed in place) or to a new one."""
    folded = state if state is not None else SessionState()
    for row in rows:
        folded.apply(row)
    return folded


# ------------------------------------------------------------------------------------------------- handlers

Handler = Callable[[SessionState, EventRow, JsonObject], None]


def _created(state: SessionState, row: EventRow, body: JsonObject) -> None:
    session = cast("JsonObject", body["session"])
    state.session_id = row.stream_id
    state.workspace_id = row.workspace_id
    state.created = body
    state.title = cast("str | None", session.get("title"))
    state.metadata = cast("JsonObject", session.get("metadata") or {})
    state.budget = cast("JsonObject | None", session.get("budget"))
    state.agent = cast("JsonObject", body["agent"])
    state.environment_id = str(body.get("environment_id") or "")
    state.thread_id = str(body["thread_id"])
    state.created_at = state.updated_at = rfc3339(row.created_at_us)
    state.last_processed_us = row.created_at_us
    for resource in cast("list[JsonObject]", body.get("resources") or []):
        state.resources[str(resource["id"])] = resource
    state.files.update(cast("dict[str, JsonObject]", body.get("files") or {}))


def _files_pinned(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.files.update(cast("dict[str, JsonObject]", body["files"]))


def _resource_added(state: SessionState, row: EventRow, body: JsonObject) -> None:
    resource = cast("JsonObject", body["resource"])
    state.resources[str(resource["id"])] = resource
    _tell_of_resource(state, f"The file {resource['mount_path']} was added, read-only.")


def _resource_removed(state: SessionState, row: EventRow, body: JsonObject) -> None:
    resource = state.resources.pop(str(body["resource_id"]), None)
    if resource is not None:
        _tell_of_resource(state, f"The file {resource['mount_path']} was taken away.")


def _tell_of_resource(state: SessionState, what: str) -> None:
    """What is there at the first model call stands in the facts; later changes are said where they happen."""
    if state.facts is None:
        return
    restart = (
        " The sandbox starts anew for it before the next turn: files stay; shell variables, the current directory and "
        "background processes do not."
        if state.sandbox is not None
        else ""
    )
    state.history.add_user([_text(f"<system>\n{what}{restart}\n</system>")])


def _updated(state: SessionState, row: EventRow, body: JsonObject) -> None:
    if "title" in body:
        state.title = cast("str | None", body["title"])
    if "metadata" in body:
        state.metadata = cast("JsonObject", body["metadata"])
    if "agent" in body:
        state.agent = cast("JsonObject", body["agent"])
    if "budget" in body:
        state.budget = cast("JsonObject | None", body["budget"])
        if state.stop_reason is not None and state.stop_reason.get("type") == "budget_reached":
            state.may_resume = True
    state.updated_at = str(body["processed_at"])


def _metadata_cleared(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.metadata = {}


def _received(state: SessionState, row: EventRow, body: JsonObject) -> None:
    event = cast("JsonObject", body["event"])
    state.pending[row.event_id] = event
    state.received_at_us[row.event_id] = row.created_at_us


def _running(state: SessionState, row: EventRow, body: JsonObject) -> None:
    if state.status == "idle":
        state.turn = TurnCounters()
    state.status = "running"
    state.may_resume = False
    state.stop_reason = state.stop_details = None
    state.updated_at = str(body["processed_at"])
    if state.running_since_us is None:
        state.running_since_us = row.created_at_us
    _update_evaluation(state, "running", {"pending"})


def _stop_running(state: SessionState, row: EventRow) -> None:
    if state.running_since_us is not None:
        state.active_us += max(0, row.created_at_us - state.running_since_us)
        state.running_since_us = None


def _idle(state: SessionState, row: EventRow, body: JsonObject) -> None:
    _stop_running(state, row)
    state.status = "idle"
    state.stop_reason = cast("JsonObject", body["stop_reason"])
    state.stop_details = cast("JsonObject | None", body.get("stop_details"))
    state.updated_at = str(body["processed_at"])
    if state.stop_reason["type"] not in ("requires_action", "budget_reached"):
        state.needs_model = False


def _rescheduled(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.status = "rescheduling"
    state.updated_at = str(body["processed_at"])


def _terminated(state: SessionState, row: EventRow, body: JsonObject) -> None:
    _stop_running(state, row)
    state.status = "terminated"
    state.updated_at = str(body["processed_at"])


def _archived(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.archived_at = str(body["archived_at"])
    state.updated_at = state.archived_at


def _deleted(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.is_deleted = True


def _user_message(state: SessionState, row: EventRow, body: JsonObject) -> None:
    content = cast("list[JsonObject]", body["content"])
    state.history.add_user(content)
    state.web.show(content, USER_INPUT)
    state.needs_model = True


def _system_message(state: SessionState, row: EventRow, body: JsonObject) -> None:
    texts = [str(block["text"]) for block in cast("list[JsonObject]", body["content"])]
    state.history.add_user([_text("<system>\n" + "\n".join(texts) + "\n</system>")])
    state.needs_model = True


def _define_outcome(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.outcome = Outcome(event=body)
    state.web.show([_text(str(body["description"]))], USER_INPUT)
    state.outcome_evaluations.append(
        {
            "type": "outcome_evaluation",
            "outcome_id": body["outcome_id"],
            "description": body["description"],
            "iteration": 0,
            "result": "running" if state.status == "running" else "pending",
            "explanation": None,
            "completed_at": None,
        }
    )
    rubric = cast("JsonObject", body.get("rubric") or {})
    state.history.add_user(
        [
            _text(
                f"{body['description']}\n\n"
                "Your work will be judged by these criteria, where you cannot reach:\n"
                f"{rubric.get('content', '')}"
            )
        ]
    )
    state.needs_model = True


def _interrupt(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.needs_model = False
    state.last_stop_reason = "interrupt"


def _model_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.open_calls[str(body["call_id"])] = OpenCall(body=body, seq=row.seq)


def _model_ended(state: SessionState, row: EventRow, body: JsonObject) -> None:
    call = state.open_calls.pop(str(body["call_id"]), None)
    usage = msgspec.convert(body.get("usage") or {}, Usage)
    state.usage = add_usage(state.usage, usage)
    state.cost_nano_usd += cast("int", body.get("cost_nano_usd") or 0)
    if "content" not in body or (call is not None and not _is_of_turn(call.body)):
        return
    content = cast("list[JsonObject]", body["content"])
    state.turn.steps += 1
    state.last_stop_reason = str(body["stop_reason"])
    state.last_stop_details = cast("JsonObject | None", body.get("stop_details"))
    state.needs_model = False
    if content:
        state.history.add_assistant(content)
        state.compactions_in_a_row = 0
    state.prompt_tokens = usage.total_tokens
    state.bytes_at_last_call = state.history.bytes_added
    ids = cast("dict[str, str]", body.get("tool_use_ids") or {})
    for block in content:
        if block["type"] == "tool_use":
            provider_id = str(block["id"])
            use = ToolUse(
                id=ids[provider_id],
                name=str(block["name"]),
                input=cast("JsonObject", block["input"]),
                provider_id=provider_id,
            )
            state.tool_uses[use.id] = OpenToolUse(use=use, is_custom=False, permission="allow")


def _is_of_turn(started: JsonObject) -> bool:
    """A call whose answer is the agent's, not a grader's or a summary. Older rows have no `use`."""
    return started.get("use", "turn") == "turn" and started.get("purpose") != "verification"


def _span_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.open_span_id = row.event_id


def _span_ended(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.open_span_id = None


def _tool_use(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(row.event_id)
    if open_use is not None:
        open_use.permission = cast("Permission", body.get("evaluated_permission") or "allow")


def _custom_tool_use(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(row.event_id)
    if open_use is not None:
        open_use.is_custom = True


def _confirmation(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(str(body["tool_use_id"]))
    if open_use is None or open_use.permission != "ask":
        return
    if body["result"] == "allow":
        open_use.permission = "allow"
    else:
        open_use.permission = "deny"
        open_use.denial = str(body.get("deny_message") or "")


def _tool_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    open_use = state.tool_uses.get(str(body["tool_use_id"]))
    if open_use is not None:
        open_use.is_started = True
        open_use.holds = cast("list[JsonObject]", body.get("holds") or [])


def _tool_measured(state: SessionState, row: EventRow, body: JsonObject) -> None:
    requests = cast("int", body.get("requests") or 0)
    if body.get("name") == "web_search":
        state.web.searches += requests
    elif body.get("name") == "web_fetch":
        state.web.fetches += requests
    state.cost_nano_usd += cast("int", body.get("cost_nano_usd") or 0)


def _tool_result(state: SessionState, row: EventRow, body: JsonObject) -> None:
    use_id = str(body.get("tool_use_id") or body.get("custom_tool_use_id"))
    open_use = state.tool_uses.pop(use_id, None)
    if open_use is None:
        return
    is_error = bool(body.get("is_error"))
    content = cast("list[JsonObject]", body.get("content") or [])
    state.history.add_tool_result(open_use.use.provider_id, content, seq=row.seq, is_error=is_error)
    state.needs_model = True
    use = open_use.use
    if open_use.is_custom:
        state.web.show(content, client_tool(use.name))
    elif use.name in WEB_TOOLS and not is_error:
        state.web.show(content, server_tool(use.name))
    if use.name in CHANGING_TOOLS and not open_use.is_custom and open_use.is_started:
        state.changes_since_snapshot.append((row.seq, use.id))
    _count_exchange(state, use, content)
    if use.name in ("write", "edit") and not is_error:
        state.turn.has_changed_files = True
        state.turn.has_verified = False
    elif use.name == "bash" and not is_error:
        state.turn.has_verified = True


def _count_exchange(state: SessionState, use: ToolUse, content: list[JsonObject]) -> None:
    exchange = hashlib.sha256(msgspec.json.encode([use.name, use.input, content])).hexdigest()
    if exchange == state.turn.last_exchange:
        state.turn.repeats += 1
    else:
        state.turn.repeats = 0
        state.turn.last_exchange = exchange


def _model_note(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.history.add_user([_text(str(body["text"]))])
    state.needs_model = True
    state.turn.reminders[str(body["name"])] = state.turn.steps


def _context_cleared(state: SessionState, row: EventRow, body: JsonObject) -> None:
    before = state.history.encode()
    state.history.clear_results(cast("int", body["before_seq"]))
    saved = len(msgspec.json.encode(before)) - len(msgspec.json.encode(state.history.encode()))
    state.prompt_tokens = max(0, state.prompt_tokens - saved // 4)


def _context_compacted(state: SessionState, row: EventRow, body: JsonObject) -> None:
    text = f"<system>\nThe conversation so far was replaced by your own summary of it.\n</system>\n{body['summary']}"
    if state.outcome is not None:
        text += f"\n\nThe outcome to reach, word for word:\n{state.outcome.event['description']}"
    state.history.replace_by([_text(text)])
    state.prompt_tokens = 0
    state.bytes_at_last_call = state.history.bytes_added - len(text)
    state.compactions_in_a_row += 1


def _harness_note(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.notes[str(body["name"])] = body["value"]


def _described(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.facts = str(body["text"])


def _sandbox_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.sandbox = SandboxRecord(
        sandbox_id=str(body["sandbox_id"]), tree_digest=cast("str | None", body.get("tree_digest")), body=body
    )


def _packages_installed(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.packages_digest = str(body["tree_digest"])


def _services_seen(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.services = cast("list[JsonObject]", body["services"])


def _sandbox_lost(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.sandbox = None
    state.services = []
    state.changes_since_snapshot = []
    state.history.add_user([_text(_describe_loss(body))])


def _describe_loss(body: JsonObject) -> str:
    restored = cast("JsonObject | None", body.get("restored_from"))
    lost = cast("JsonObject", body.get("lost") or {})
    uses = cast("list[str]", lost.get("tool_use_ids") or [])
    where = (
        f"The working tree was restored from the snapshot taken at {restored['taken_at']}."
        if restored is not None and restored.get("taken_at")
        else "The working tree was restored to what the session started with."
    )
    effects = (
        f" File changes of the last {len(uses)} tool uses before the loss may be missing: check before you rely on them."
        if uses
        else " No file change is known to be missing."
    )
    services = cast("list[JsonObject]", lost.get("services") or [])
    listened = ", ".join(f"port {service['port']} ({service['command']})" for service in services)
    gone = (
        f" These services ended with it: {listened}; start them again if they are needed." if listened else ""
    )
    return (
        f"<system>\nThe sandbox was lost ({body['reason']}). {where}{effects} "
        f"Shell variables, the current directory and background processes are gone.{gone}\n</system>"
    )


def _sandbox_released(state: SessionState, row: EventRow, body: JsonObject) -> None:
    state.sandbox = None
    state.services = []
    state.changes_since_snapshot = []


def _snapshot_taken(state: SessionState, row: EventRow, body: JsonObject) -> None:
    covers = cast("int", body["covers_seq"])
    state.snapshot = Snapshot(
        tree_digest=str(body["tree_digest"]), covers_seq=covers, taken_at=rfc3339(row.created_at_us)
    )
    state.outputs_digest = cast("str | None", body.get("outputs_digest"))
    state.changes_since_snapshot = [change for change in state.changes_since_snapshot if change[0] > covers]


def _evaluation_started(state: SessionState, row: EventRow, body: JsonObject) -> None:
    if state.outcome is not None:
        state.outcome.evaluation_start_id = row.event_id
        _update_evaluation(state, "evaluating", None)


def _verified(state: SessionState, row: EventRow, body: JsonObject) -> None:
    feedback = body.get("feedback")
    if isinstance(feedback, str) and feedback:
        state.history.add_user([_text(feedback)])
        state.needs_model = True


def _evaluation_ended(state: SessionState, row: EventRow, body: JsonObject) -> None:
    result = str(body["result"])
    evaluation = _evaluation(state, str(body["outcome_id"]))
    if evaluation is not None:
        evaluation["iteration"] = body["iteration"]
        evaluation["result"] = result
        evaluation["explanation"] = body["explanation"]
        if result != "needs_revision":
            evaluation["completed_at"] = body["processed_at"]
    if state.outcome is None:
        return
    state.outcome.evaluation_start_id = None
    if result == "needs_revision":
        state.outcome.iteration += 1
    else:
        state.outcome = None


def _evaluation(state: SessionState, outcome_id: str) -> JsonObject | None:
    for evaluation in reversed(state.outcome_evaluations):
        if evaluation["outcome_id"] == outcome_id:
            return evaluation
    return None


def _update_evaluation(state: SessionState, result: str, only_from: set[str] | None) -> None:
    if state.outcome is None:
        return
    evaluation = _evaluation(state, state.outcome.id)
    if evaluation is not None and (only_from is None or evaluation["result"] in only_from):
        evaluation["result"] = result


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def add_usage(left: Usage, right: Usage) -> Usage:
    """The sum, field by field."""
    return Usage(
        input_tokens=left.input_tokens + right.input_tokens,
        output_tokens=left.output_tokens + right.output_tokens,
        cache_read_input_tokens=left.cache_read_input_tokens + right.cache_read_input_tokens,
        cache_creation_5m_input_tokens=left.cache_creation_5m_input_tokens
        + right.cache_creation_5m_input_tokens,
        cache_creation_1h_input_tokens=left.cache_creation_1h_input_tokens
        + right.cache_creation_1h_input_tokens,
    )


_HANDLERS: dict[str, Handler] = {
    "session.created": _created,
    "session.updated": _updated,
    "session.metadata_cleared": _metadata_cleared,
    "session.archived": _archived,
    "session.deleted": _deleted,
    "session.status_running": _running,
    "session.status_idle": _idle,
    "session.status_rescheduled": _rescheduled,
    "session.status_terminated": _terminated,
    "session.sandbox_lost": _sandbox_lost,
    "session.resource_added": _resource_added,
    "session.resource_removed": _resource_removed,
    "files.pinned": _files_pinned,
    "input.received": _received,
    "user.message": _user_message,
    "user.define_outcome": _define_outcome,
    "user.interrupt": _interrupt,
    "user.tool_confirmation": _confirmation,
    "user.custom_tool_result": _tool_result,
    "system.message": _system_message,
    "model.started": _model_started,
    "model.ended": _model_ended,
    "model.note": _model_note,
    "span.model_request_start": _span_started,
    "span.model_request_end": _span_ended,
    "agent.tool_use": _tool_use,
    "agent.custom_tool_use": _custom_tool_use,
    "agent.tool_result": _tool_result,
    "tool.started": _tool_started,
    "tool.measured": _tool_measured,
    "harness.note": _harness_note,
    "context.cleared": _context_cleared,
    "context.compacted": _context_compacted,
    "environment.described": _described,
    "packages.installed": _packages_installed,
    "services.seen": _services_seen,
    "sandbox.started": _sandbox_started,
    "sandbox.released": _sandbox_released,
    "snapshot.taken": _snapshot_taken,
    "span.outcome_evaluation_start": _evaluation_started,
    "span.outcome_evaluation_end": _evaluation_ended,
    "outcome.verified": _verified,
}
