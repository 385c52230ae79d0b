"""The Session and SessionThread objects of the API, from the fold of a session's log."""

from __future__ import annotations

import msgspec

from remit.clock import parse_rfc3339, rfc3339
from remit.schema.events import STAMPED_ON_RECEIPT
from remit.schema.sessions import SessionStatus
from remit.session.events import usage_snapshot
from remit.session.moves import Rest, StartTurn, TakeInput, next_move
from remit.session.state import INPUT_TYPES_CHANGING, SessionState
from remit.sessions.memory import attached_stores
from remit.sessions.resources import resource_to_wire
from remit.values import Account, JsonObject, JsonValue, StreamHead


def status(state: SessionState) -> SessionStatus:
    """The status people see: an idle session whose input starts a turn counts as running already."""
    if state.status == "idle" and isinstance(next_move(state), StartTurn):
        return "running"
    return state.status


def is_busy(state: SessionState) -> bool:
    """A worker is, or is about to be, at work, or to say anew what the session waits for: changes by decision are
    refused. What an idle session merely notes does not count."""
    return not isinstance(next_move(state), Rest | TakeInput)


def to_wire(state: SessionState, head: StreamHead, *, now_us: int) -> JsonObject:
    """The Session object. Own fields beside the wire's: `parent_id` (the remit it works for), `isolation`."""
    changed = pending_changes(state)
    return {
        "id": state.session_id,
        "type": "session",
        "status": status(state),
        "title": changed.get("title", state.title),
        "metadata": changed.get("metadata", dict(state.metadata)),
        "agent": state.agent,
        "environment_id": state.environment_id,
        "budget": changed.get("budget", state.budget),
        "usage": _usage(state, now_us),
        "stats": _stats(state, head, now_us),
        "outcome_evaluations": _outcome_evaluations(state),
        "resources": list[JsonValue](resources_to_wire(state)),
        "vault_ids": [],
        "deployment_id": state.deployment_id,
        "parent_id": None if head.parent_stream_id == state.deployment_id else head.parent_stream_id,
        "isolation": state.isolation,
        "created_at": rfc3339(head.created_at_us),
        "updated_at": state.updated_at,
        "archived_at": state.archived_at,
    }


def resources_to_wire(state: SessionState) -> list[JsonObject]:
    """Return a session's memory stores, then its files in the order in which they came."""
    stores: list[JsonObject] = [msgspec.to_builtins(store) for store in attached_stores(state.created)]
    return [*stores, *(resource_to_wire(resource) for resource in state.resources.values())]


def thread_to_wire(state: SessionState, head: StreamHead, *, now_us: int) -> JsonObject:
    """The primary thread, the only one in this release."""
    has_started = state.active_us > 0 or state.running_since_us is not None
    agent = {key: value for key, value in state.agent.items() if key != "multiagent"}
    return {
        "id": state.thread_id,
        "type": "session_thread",
        "session_id": state.session_id,
        "parent_thread_id": None,
        "workflow_run_id": None,
        "agent": agent,
        "status": status(state),
        "stats": {**_stats(state, head, now_us), "startup_seconds": None} if has_started else None,
        "usage": _usage(state, now_us) if has_started else None,
        "created_at": rfc3339(head.created_at_us),
        "updated_at": state.updated_at,
        "archived_at": state.archived_at,
    }


def pending_events(state: SessionState) -> list[JsonObject]:
    """Input that waits to be consumed, in order: queued with null, or with the time of its receipt."""
    return [
        with_receipt(event, received_at_us(state, id))
        for id, event in state.pending.items()
        if event["type"] not in INPUT_TYPES_CHANGING
    ]


def pending_changes(state: SessionState) -> JsonObject:
    """Return the changes decided in this turn and not yet published, the newest of each field."""
    changed: JsonObject = {}
    for event in state.pending.values():
        if event["type"] in INPUT_TYPES_CHANGING:
            changed.update((name, value) for name, value in event.items() if name not in ("id", "type"))
    return changed


def received_at_us(state: SessionState, event_id: str) -> int:
    """Return when the event came; never before what was processed last."""
    return max(state.received_at_us[event_id], state.last_processed_us)


def with_receipt(event: JsonObject, received_at_us: int) -> JsonObject:
    """An input as it is shown before it is consumed."""
    is_stamped = event["type"] in STAMPED_ON_RECEIPT
    return {**event, "processed_at": rfc3339(received_at_us) if is_stamped else None}


def _usage(state: SessionState, now_us: int) -> JsonObject:
    return usage_snapshot(
        state.usage,
        state.web,
        cost_nano_usd=state.cost_nano_usd,
        active_seconds=state.active_seconds(now_us),
    )


def _stats(state: SessionState, head: StreamHead, now_us: int) -> JsonObject:
    until_us = parse_rfc3339(state.updated_at) if state.status == "terminated" else now_us
    return {
        "active_seconds": round(state.active_seconds(now_us), 3),
        "duration_seconds": round(max(0, until_us - head.created_at_us) / 1_000_000, 3),
    }


def _outcome_evaluations(state: SessionState) -> list[JsonValue]:
    waiting: list[JsonValue] = [
        {
            "type": "outcome_evaluation",
            "outcome_id": event["outcome_id"],
            "description": event["description"],
            "iteration": 0,
            "result": "pending",
            "explanation": None,
            "completed_at": None,
        }
        for event in state.pending.values()
        if event["type"] == "user.define_outcome"
    ]
    return [*state.outcome_evaluations, *waiting]


def account_to_wire(account: Account) -> JsonObject:
    """Render what is spent, held and left for one purpose; also in a receipt, which names the stream."""
    return {
        "purpose": account.purpose,
        "unit": account.unit,
        "cap": account.cap,
        "spent": account.spent,
        "held": account.held,
        "granted": account.granted,
        "stopped": account.is_stopped,
    }
