"""A remit as the API shows it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from remit.clock import rfc3339
from remit.remits.accounts import Totals, budget_amount
from remit.remits.events import Budget, RemitPaused, decode_event
from remit.remits.money import format_usd
from remit.remits.state import REASONS, RemitState
from remit.streams.grants import UNITS
from remit.values import EventRow, JsonObject, JsonValue, Unit
from remit.wording import verifier_text

_NOT_SHOWN = ("id", "type", "processed_at", "protected")


def amounts(by_unit: dict[Unit, int]) -> JsonObject:
    """Dollars as a decimal string, tokens as a number."""
    return {"usd": format_usd(by_unit["nano_usd"]), "tokens": by_unit["tokens"]}


def caps(budget: Budget) -> JsonObject:
    """Return the budget as dollars and tokens; null where it does not name a unit."""
    by_unit = {unit: budget_amount(budget, unit) for unit in UNITS}
    usd = by_unit["nano_usd"]
    return {"usd": None if usd is None else format_usd(usd), "tokens": by_unit["tokens"]}


def remit_view(remit_id: str, state: RemitState, totals: Totals) -> JsonObject:
    """The remit object of docs/api.md, section 3."""
    return {**remit_log_view(remit_id, state), "spent": amounts(totals.spent), "held": amounts(totals.held)}


def remit_log_view(remit_id: str, state: RemitState) -> JsonObject:
    """Render what the log alone decides of the remit: all but the money as it stands."""
    created, ended = state.created, state.ended
    assert created is not None, "the first row of a remit says what was asked for"
    ended_at = None if state.ended_at_us is None else rfc3339(state.ended_at_us)
    return {
        "id": remit_id,
        "type": "remit",
        "status": state.status,
        "outcome": created.outcome,
        "verifiers": list[JsonValue](created.verifiers),
        "budget": caps(state.budget),
        "input_id": created.input_id,
        "agent": _plain(created.agent),
        "model": created.model,
        "max_iterations": created.max_iterations,
        "protect": list[JsonValue](created.protect),
        "unprotect": list[JsonValue](created.unprotect),
        "work": list[JsonValue](created.work),
        "toolchains": list[JsonValue](created.toolchains),
        "setup": setup_view(state),
        "environment": _plain(created.environment),
        "protected": _plain(state.protected),
        "forecast": forecast_view(state),
        "consent": consent_view(state),
        "initial_verdicts": _plain(state.initial.verdicts if state.initial is not None else ()),
        "cap": caps(state.budget),
        "iterations": [
            {
                "iteration": i.iteration,
                "result": i.result,
                "explanation": i.explanation,
                "verdicts": _plain(i.verdicts),
            }
            for i in state.iterations
        ],
        "completed": ended.completed if ended is not None else False,
        "verified": ended.verified if ended is not None else False,
        "vacuous": [verifier_text(created.verifiers[i]) for i in state.vacuous],
        "tampered": list[JsonValue](state.tampered),
        "rests_on_work": list[JsonValue](state.rests_on_work),
        "added": list[JsonValue](state.added),
        "result_notes": list[JsonValue](state.deliverables.notes if state.deliverables is not None else ()),
        "session_ids": list[JsonValue](state.session_ids),
        "wake_at": state.pause.wake_at if state.pause is not None and state.status == "paused" else None,
        "explanation": ended.explanation if ended is not None else explain_waiting(state),
        "metadata": dict[str, JsonValue](created.metadata),
        "created_at": rfc3339(state.created_at_us),
        "ended_at": ended_at,
    }


def setup_view(state: RemitState) -> JsonValue:
    """Render the work's surroundings; null until they are known, and where nothing is set up."""
    if state.setup is None:
        return None
    setup = state.setup
    return {
        "command": setup.command,
        "layer_digest": setup.layer_digest,
        "mounts": [
            {"path": mount.path, "tree_digest": mount.tree_digest, "part": mount.part}
            for mount in setup.mounts
        ],
        "python_path": list[JsonValue](setup.python_path),
        "path": list[JsonValue](setup.path),
        "notes": list[JsonValue](setup.notes),
        "duration_seconds": setup.duration_seconds,
        "error": setup.error,
    }


def forecast_view(state: RemitState) -> JsonValue:
    """The forecast without the fields every event has, and without the files that the remit lists itself."""
    if state.forecast is None:
        return None
    plain = cast("JsonObject", _plain(state.forecast))
    return {name: value for name, value in plain.items() if name not in _NOT_SHOWN}


def consent_view(state: RemitState) -> JsonObject:
    """Render the consent: its state, what is left to accept, and what was accepted by name."""
    if state.consent == "declined":
        answer = "declined"
    elif state.has_consent:
        answer = "given"
    else:
        answer = "asked" if state.can_be_asked else "pending"
    return {
        "state": answer,
        "reasons": list[JsonValue](state.reasons),
        "despite": [reason for reason in REASONS if reason in state.despite],
    }


def explain_waiting(state: RemitState) -> str:
    """Describe in words what a remit that has not ended is doing."""
    match state.status:
        case "awaiting_consent":
            return f"Waiting for consent ({', '.join(state.reasons)}): nothing has been spent."
        case "verifying_input":
            return "The verifiers that cost nothing look at the untouched input; nothing has been spent."
        case "interrupted":
            return "Interrupted: everything is kept; resume goes on."
        case "paused":
            assert state.pause is not None, "a paused remit says why"
            return pause_text(state.pause)
        case _:
            return "At work."


def pause_text(pause: RemitPaused) -> str:
    """Explain in one sentence or two why the remit is paused and how that ends."""
    if pause.wake_at is not None:
        return f"Paused, for no model answers ({pause.message}); it goes on by itself at {pause.wake_at}."
    return f"Paused until people say go on: {pause.message}. {pause.mend or ''}".rstrip()


def encode_pauses(rows: Sequence[EventRow]) -> Sequence[JsonObject]:
    """Every pause with its end, for the receipt."""
    pauses: list[JsonObject] = []
    for row in rows:
        if row.type == "remit.paused":
            event = decode_event(row)
            assert isinstance(event, RemitPaused)
            fields = {"reason": event.reason, "message": event.message, "wake_at": event.wake_at}
            pauses.append({"at": event.stamped_at, "until": None, **fields})
        elif row.type in ("remit.resumed", "remit.interrupted") and pauses and pauses[-1]["until"] is None:
            pauses[-1]["until"] = decode_event(row).stamped_at
    return pauses


def encode_iterations(state: RemitState) -> Sequence[JsonObject]:
    """Verdicts by iteration, for the receipt; `iteration` is null for the run on the input."""
    rows: list[JsonObject] = []
    if state.initial is not None and state.initial.verdicts:
        rows.append({"iteration": None, "verdicts": _plain(state.initial.verdicts)})
    rows += [{"iteration": i.iteration, "verdicts": _plain(i.verdicts)} for i in state.iterations]
    return rows


def _plain(value: object) -> JsonValue:
    return cast("JsonValue", msgspec.to_builtins(value))
