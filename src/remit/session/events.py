"""Building rows: public events are encoded once, with id, type and processed_at; private ones likewise."""

from __future__ import annotations

import msgspec

from remit.ids import Ids
from remit.session.state import SessionState
from remit.session.web import WebUse
from remit.streams.rows import Draft, private_row
from remit.values import JsonObject, JsonValue, NewEvent, Usage

_encode = msgspec.json.Encoder().encode


def public(event_id: str, type: str, processed_at_us: int, **fields: JsonValue) -> NewEvent:
    """A public row of a known time, for changes that a route decides on an idle session."""
    return Draft(event_id=event_id, type=type, fields=fields).encode(processed_at_us)


def consumed(event: JsonObject, *, not_before_us: int | None) -> Draft:
    """The public row of an input: the same event, same id, now processed."""
    fields = {name: value for name, value in event.items() if name not in ("id", "type", "processed_at")}
    return Draft(
        event_id=str(event["id"]), type=str(event["type"]), fields=fields, not_before_us=not_before_us
    )


def private(ids: Ids, type: str, fields: JsonObject, *, key: str | None = None) -> NewEvent:
    """A row the wire does not show."""
    return private_row(ids.new("sevt"), type, fields, key=key)


def received(event: JsonObject, *, key: str, batch: str | None = None) -> NewEvent:
    """The receipt of an input: private, with the input's id. `batch` is the id of the first that was sent with it."""
    event_id = str(event["id"])
    body: JsonObject = {"id": event_id, "type": "input.received", "event": event}
    if batch is not None and batch != event_id:
        body["batch"] = batch
    return NewEvent(
        event_id=event_id, type="input.received", visibility="private", body=_encode(body), key=key
    )


def continued(event_id: str, *, key: str) -> NewEvent:
    """The private row by which a parent lets a session go on with the turn that stopped."""
    body = {"id": event_id, "type": "turn.continued"}
    return NewEvent(
        event_id=event_id, type="turn.continued", visibility="private", body=_encode(body), key=key
    )


def thread_of(state: SessionState) -> JsonObject:
    """The fields that every `session.thread_status_*` event of the primary thread carries."""
    return {"session_thread_id": state.thread_id, "agent_name": str(state.agent.get("name") or "")}


def model_usage(usage: Usage) -> JsonObject:
    """The wire's `model_usage` of a span."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_5m_input_tokens
        + usage.cache_creation_1h_input_tokens,
    }


def list_cost(nano_usd: int) -> JsonObject:
    """Whole cents, rounded up, as the wire's monetary amount."""
    return {"amount": str(-(-nano_usd // 10_000_000)), "currency": "USD"}


def usage_snapshot(usage: Usage, web: WebUse, *, cost_nano_usd: int, active_seconds: float) -> JsonObject:
    """The wire's usage of a session."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_creation_5m_input_tokens,
            "ephemeral_1h_input_tokens": usage.cache_creation_1h_input_tokens,
        },
        "list_cost": list_cost(cost_nano_usd),
        "active_seconds": round(active_seconds, 3),
        "server_tool_use": {"web_search_requests": web.searches, "web_fetch_requests": web.fetches},
    }
