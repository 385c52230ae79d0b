"""Building rows: public events are encoded once, with id, type and processed_at; private ones likewise."""

from __future__ import annotations

import msgspec

from remit.clock import rfc3339
from remit.ids import Ids
from remit.values import JsonObject, JsonValue, NewEvent, Usage

_encode = msgspec.json.Encoder().encode


def public(event_id: str, type: str, processed_at_us: int, **fields: JsonValue) -> NewEvent:
    """A wire event."""
    body = {"id": event_id, "type": type, "processed_at": rfc3339(processed_at_us), **fields}
    return NewEvent(event_id=event_id, type=type, visibility="public", body=_encode(body))


def consumed(event: JsonObject, processed_at_us: int) -> NewEvent:
    """The public row of an input: the same event, same id, now processed."""
    body = {**event, "processed_at": rfc3339(processed_at_us)}
    return NewEvent(
        event_id=str(event["id"]), type=str(event["type"]), visibility="public", body=_encode(body)
    )


def private(ids: Ids, type: str, fields: JsonObject, *, key: str | None = None) -> NewEvent:
    """A row the wire does not show."""
    event_id = ids.new("sevt")
    body = {"id": event_id, "type": type, **fields}
    return NewEvent(event_id=event_id, type=type, visibility="private", body=_encode(body), key=key)


def received(event: JsonObject, *, key: str) -> NewEvent:
    """The receipt of an input: private, with the input's id."""
    event_id = str(event["id"])
    body: JsonObject = {"id": event_id, "type": "input.received", "event": event}
    return NewEvent(
        event_id=event_id, type="input.received", visibility="private", body=_encode(body), key=key
    )


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


def usage_snapshot(usage: Usage, *, cost_nano_usd: int, active_seconds: float) -> JsonObject:
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
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
    }
