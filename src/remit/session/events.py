"""Building rows: public events are encoded once, with id, type and processed_at; private ones likewise."""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET

from remit.session.rows import SessionInputReceived, ThreadStatusRow
from remit.session.state import SessionState
from remit.session.web import WebUse
from remit.streams.rows import Draft
from remit.values import JsonObject, NewEvent, Usage

ThreadStatus = TypeVar("ThreadStatus", bound=ThreadStatusRow)


def consumed(event: JsonObject, *, not_before_us: int | None) -> Draft:
    """The public row of an input: the same event, same id, now processed."""
    fields = {name: value for name, value in event.items() if name not in ("id", "type", "processed_at")}
    return Draft(
        event_id=str(event["id"]), type=str(event["type"]), fields=fields, not_before_us=not_before_us
    )


def received(event: JsonObject, *, key: str, batch: str | None = None, is_emptying: bool = False) -> NewEvent:
    """The receipt of an input: private, with the input's id. `batch` is the id of the first that was sent with it. An interrupt
    that `is_emptying` stops what is queued before it too; the wire's lets that begin afterwards."""
    event_id = str(event["id"])
    row = SessionInputReceived(
        id=event_id,
        event=event,
        batch=batch if batch is not None and batch != event_id else UNSET,
        is_emptying=True if is_emptying else UNSET,
    )
    return row.as_row(key=key)


def of_thread(body: type[ThreadStatus], state: SessionState) -> ThreadStatus:
    """A `session.thread_status_*` event of the primary thread."""
    return body(session_thread_id=state.thread_id, agent_name=str(state.agent.get("name") or ""))


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
    """Return whole cents, rounded up, as the wire's monetary amount."""
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
