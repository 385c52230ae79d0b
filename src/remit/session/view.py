"""The log's view for a harness: the next model request and what is open, made from the fold."""

from __future__ import annotations

from typing import cast

from remit.schema.claude import default_effort
from remit.session.state import SessionState
from remit.values import JsonObject, ModelRequest, TurnView

OUTPUT_TOKENS_MAX = 16_384
"""Asked of a model per call; the ledger may make it smaller."""

WORKING_RULES = """\
You work in a sandbox. Its working tree is /workspace; tools act there. Nothing you do reaches the user's own machine.
How to work:
- Look before you change: read the files that matter, and prefer small, exact edits to rewrites.
- Before you finish, check your work by running it (the tests, the program, the command you were given) and read what \
it prints. Do not say something works unless you saw it work.
- Do not weaken, skip or delete checks to make them pass: they are restored and run again where you cannot reach.
- If the same step fails twice in the same way, change your approach.
- Independent tool calls may be made together in one step.
When the work is done, stop and say in a few sentences what you changed and how you checked it."""

OUTPUTS_RULE = """\
Files that the user should get (reports, charts, data) go below /mnt/session/outputs: what stands there when you stop \
is handed over as files. Name them in your last message. Keep everything else in /workspace."""

SHORT_WORKING_RULES = """\
You work in a sandbox with bash. The files are in /workspace, where commands start.
Do what is asked, one step at a time, and nothing else. Look at a result before you go on. Run the work to check it. \
If a step fails, try another way. When it is done, say so."""

SHORT_FACTS_CHARACTERS_MAX = 1_000


def view(state: SessionState, tools: tuple[JsonObject, ...]) -> TurnView:
    """Make the view of the log as it is now, with these tools for the model."""
    return TurnView(
        request=request(state, tools),
        open_tool_uses=tuple(
            open_use.use
            for open_use in state.tool_uses.values()
            if not open_use.kind.is_client and open_use.permission == "allow"
        ),
        blocking_event_ids=state.blocking,
        needs_model=state.needs_model and not state.tool_uses,
        last_stop_reason=state.last_stop_reason,
        steps=state.turn.steps,
        repeats=state.turn.repeats,
        has_verified=state.turn.has_verified,
        has_changed_files=state.turn.has_changed_files,
        is_reminded=state.outcome is not None or state.parent_stream_id is not None,
        reminders=state.turn.reminders,
        notes=state.notes,
    )


def request(state: SessionState, tools: tuple[JsonObject, ...]) -> ModelRequest:
    """The next model call, as the log has it."""
    model = cast("JsonObject", state.agent["model"])
    return ModelRequest(
        model=str(model["id"]),
        system=system_prompt(state, has_builtin_tools=bool(tools)),
        system_short=short_system_prompt(state, has_builtin_tools=bool(tools)),
        messages=state.history.encode(),
        tools=tools,
        max_tokens=OUTPUT_TOKENS_MAX,
        effort=_effort(model),
        thinks=True,
    )


def _effort(model: JsonObject) -> str | None:
    """What goes without saying is not said: an alias may have another model serve this one's name."""
    effort = cast("JsonObject | None", model.get("effort"))
    level = cast("str | None", effort.get("type")) if effort else None
    return level if level != default_effort(str(model["id"])) else None


def system_prompt(state: SessionState, *, has_builtin_tools: bool) -> str:
    """The agent's own prompt, then how to work here, then facts of the environment (recorded once in the log)."""
    own = str(state.agent.get("system") or "")
    parts = [own] if own.strip() else []
    if has_builtin_tools:
        parts.append(WORKING_RULES)
        if state.parent_stream_id is None:  # work for a remit is handed over as the working tree
            parts.append(OUTPUTS_RULE)
    if state.facts:
        parts.append(state.facts)
    return "\n\n".join(parts)


def short_system_prompt(state: SessionState, *, has_builtin_tools: bool) -> str:
    """Return the system prompt for a model that can hold little: shorter rules, and only the beginning of the
    facts."""
    own = str(state.agent.get("system") or "")
    parts = [own] if own.strip() else []
    if has_builtin_tools:
        parts.append(SHORT_WORKING_RULES)
    if state.facts:
        cut = state.facts[:SHORT_FACTS_CHARACTERS_MAX]
        parts.append(cut if cut == state.facts else cut.rpartition("\n")[0] + "\n  (and more)")
    return "\n\n".join(parts)
