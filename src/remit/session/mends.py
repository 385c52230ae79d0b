"""Mends of a failed turn, in words: what is wrong, and which calls mend it. Pure."""

from __future__ import annotations

from remit.streams.waiting import Trouble, Way


def mends(trouble: Trouble | None, path: str) -> tuple[tuple[str, ...], tuple[Way, ...]]:
    """Describe what is wrong with a session whose turn failed, and which calls mend it."""
    if trouble is None:
        return (), ()
    told = f"What is wrong: {trouble.message.rstrip('.')}."
    anew = Way(does="Start another session; this one's files can be given to it", call="POST /v1/sessions")
    files = Way(does="List what it handed over", call=f"GET /v1/files?scope_id={path.rpartition('/')[2]}")
    look = Way(does="See which models can be called, and why others cannot", command="remit doctor")
    model = Way(
        does="Give the agent another model, for sessions to come", call="POST /v1/agents/{id} (model)"
    )
    is_refused = any(f"answered {status}" in trouble.message for status in (401, 403))
    match trouble.type:
        case "compaction_limit_reached_error":
            return (told, "A message that is much shorter, or a model with a larger window, goes on."), (
                anew,
                files,
                model,
            )
        case "billing_error":
            return (told, "Once the provider is paid, the same message goes on."), (look,)
        case "model_rate_limited_error" | "model_overloaded_error":
            return (told, "Later the same message goes on."), ()
        case "tool_use_limit_reached_error":
            return (told,), ()
        case "model_request_failed_error" if is_refused:
            return (told, "The provider refuses the key; with another one the same message goes on."), (look,)
        case "model_request_failed_error":
            return (
                told,
                "What of the conversation the provider named is put aside by itself; this is about something else. "
                "If it comes again, the model or the agent has to be another.",
            ), (look, model, anew, files)
        case _:
            return (told,), (anew, files)
