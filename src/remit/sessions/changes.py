"""Changes that a route decides about a session at rest: update, archive, delete.

Each function looks at the fold and returns the append that makes the change, under `expected_seq`; when somebody was
quicker the store refuses it and the caller decides anew on the new fold. Public rows of a session at work are its
worker's alone, so these are refused while it is running.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.mcp_servers import check_servers_reachable, check_toolsets, resolve_servers
from remit.catalog.metadata import merge_metadata
from remit.catalog.tools import as_offered, resolve_tools
from remit.catalog.web_settings import NO_WEB, WebOffer, check_within_environment
from remit.clock import rfc3339
from remit.errors import InvalidRequest, WrongState
from remit.ids import Ids
from remit.schema.sessions import SessionAgentUpdate, SessionUpdate
from remit.schema.wire import not_supported
from remit.session.events import of_thread
from remit.session.rows import (
    ROWS,
    SessionArchived,
    SessionDeleted,
    SessionMetadataCleared,
    SessionStatusTerminated,
    ThreadStatusTerminated,
)
from remit.session.state import SessionState
from remit.sessions.budgets import budget_body, change_budget
from remit.sessions.kind import summarize
from remit.sessions.sending import change_receipt
from remit.sessions.wire import is_busy, pending_changes, status
from remit.streams.rows import stamp
from remit.values import Account, Append, Effect, JsonObject, JsonValue, NewEvent, StreamHead

REMOVAL_SECONDS = 60.0
"""A request that has not removed what it deleted by then has most likely died. A start does not wait for it."""


def update(
    state: SessionState,
    params: SessionUpdate,
    accounts: Sequence[Account],
    *,
    ids: Ids,
    now_us: int,
    web: WebOffer = NO_WEB,
) -> Append | None:
    """None when nothing would change. Raises InvalidRequest, WrongState, RateLimited."""
    if params.vault_ids is not UNSET and params.vault_ids:
        raise not_supported("vault_ids", "vaults are", "Remove it.")
    if state.archived_at is not None or state.status == "terminated":
        raise WrongState(f"Session {state.session_id!r} is {_ended(state)} and cannot be changed.")
    changes, effects = _changes(state, params, accounts, web)
    if not changes:
        return None
    if is_busy(state) or pending_changes(state):
        return _queued(state, changes, effects, ids=ids, now_us=now_us)
    events: list[NewEvent] = []
    if changes.get("metadata") == {}:
        # The wire has no word for "cleared": session.updated carries metadata only when it is not empty.
        del changes["metadata"]
        events.append(SessionMetadataCleared(id=ids.new("sevt")).as_row())
    processed_at_us = max(now_us, state.last_processed_us)
    events.append(stamp(ROWS.make("session.updated", **changes), processed_at_us, "sevt", ids))
    goes_on = "budget" in changes and (state.stop_reason or {}).get("type") == "budget_reached"
    return Append(
        stream_id=state.session_id,
        events=tuple(events),
        expected_seq=state.seq,
        effects=effects,
        wake_at_us=now_us if goes_on else None,
        summary=replace(summarize(state), title=cast("str | None", changes.get("title", state.title))),
    )


def _queued(
    state: SessionState, changes: JsonObject, effects: tuple[Effect, ...], *, ids: Ids, now_us: int
) -> Append:
    """While a turn runs its worker alone writes public rows: the change is received like input, holds at once for the
    ledger and for whoever retrieves the session, and is published when the worker takes its input."""
    if "agent" in changes:
        raise WrongState(
            f"`agent`: session {state.session_id!r} is running; send user.interrupt or wait until it is idle, then "
            "update it."
        )
    change: JsonObject = {"id": ids.new("sevt"), "type": "session.updated", **changes}
    return Append(
        stream_id=state.session_id,
        events=(change_receipt(state, change),),
        expected_seq=state.seq,
        effects=effects,
        wake_at_us=now_us,
        summary=replace(
            summarize(state),
            title=cast("str | None", changes.get("title", _now(state)["title"])),
            status=status(state),
        ),
    )


def _now(state: SessionState) -> JsonObject:
    """Title, metadata and budget with what is decided and not yet published."""
    decided: JsonObject = {"title": state.title, "metadata": dict(state.metadata), "budget": state.budget}
    return decided | pending_changes(state)


def archive(state: SessionState, head: StreamHead, *, ids: Ids, now_us: int) -> Append | None:
    """Plan the archiving of a session; None when it is archived already. Raises WrongState."""
    if state.archived_at is not None:
        return None
    _check_removable(state, head, "archived")
    at_us = max(now_us, state.last_processed_us)
    events: list[NewEvent] = []
    if state.status != "terminated":
        events = [
            stamp(of_thread(ThreadStatusTerminated, state), at_us, "sevt", ids),
            stamp(SessionStatusTerminated(), at_us, "sevt", ids),
        ]
    events.append(SessionArchived(id=ids.new("sevt"), archived_at=rfc3339(at_us)).as_row())
    return Append(
        stream_id=state.session_id,
        events=tuple(events),
        expected_seq=state.seq,
        summary=replace(summarize(state), status="terminated", archived_at_us=at_us),
    )


def delete(state: SessionState, head: StreamHead, *, ids: Ids, now_us: int) -> Append | None:
    """The last event, so that open streams learn of it; None when it is there already. Raises WrongState.

    Whoever appends it removes the rest; should it die, a worker does, which is woken for it."""
    if state.is_deleted:
        return None
    _check_removable(state, head, "deleted")
    at_us = max(now_us, state.last_processed_us)
    return Append(
        stream_id=state.session_id,
        events=(stamp(SessionDeleted(), at_us, "sevt", ids),),
        expected_seq=state.seq,
        wake_at_us=now_us + int(REMOVAL_SECONDS * 1_000_000),
    )


def _check_removable(state: SessionState, head: StreamHead, what: str) -> None:
    if is_busy(state):
        raise WrongState(
            f"Session {state.session_id!r} is running and cannot be {what}; send user.interrupt and wait until it is idle."
        )
    if head.parent_stream_id not in (None, state.deployment_id):
        raise WrongState(
            f"Session {state.session_id!r} works for {head.parent_stream_id!r}, whose proof it holds; it cannot be {what}."
        )


def _changes(
    state: SessionState, params: SessionUpdate, accounts: Sequence[Account], web: WebOffer
) -> tuple[JsonObject, tuple[Effect, ...]]:
    changes: JsonObject = {}
    effects: tuple[Effect, ...] = ()
    now = _now(state)
    if params.title is not UNSET and params.title != now["title"]:
        changes["title"] = params.title
    if params.metadata is not UNSET:
        metadata = merge_metadata(cast("dict[str, str]", now["metadata"]), params.metadata)
        if metadata != now["metadata"]:
            changes["metadata"] = cast("JsonObject", metadata)
    if params.agent is not UNSET:
        agent = _changed_agent(state, params.agent, web)
        if agent != state.agent:
            changes["agent"] = agent
    if params.budget is not UNSET:
        budget = budget_body(params.budget) if params.budget is not None else None
        if now["budget"] is None and budget is not None:
            raise InvalidRequest(
                f"`budget`: session {state.session_id!r} was created without one (or it was removed); "
                "create a new session with a budget.",
                code="budget_create_only",
            )
        if budget != now["budget"]:
            effects = change_budget(params.budget, accounts)
            changes["budget"] = budget
    return changes, effects


def _changed_agent(state: SessionState, params: SessionAgentUpdate, web: WebOffer) -> JsonObject:
    tools = cast("list[JsonObject]", state.agent.get("tools") or [])
    servers = cast("list[JsonObject]", state.agent.get("mcp_servers") or [])
    config = cast("JsonObject", state.created.get("config") or {})
    if params.tools is not UNSET:
        tools = as_offered(resolve_tools(params.tools or (), web=web, field="agent.tools"), web)
        check_within_environment(tools, config, field="agent.tools")
    if params.mcp_servers is not UNSET:
        servers = resolve_servers(params.mcp_servers or (), field="agent.mcp_servers")
        check_servers_reachable(servers, config, field="agent.mcp_servers")
    check_toolsets(tools, servers, field="agent.")
    return {**state.agent, "tools": list[JsonValue](tools), "mcp_servers": list[JsonValue](servers)}


def _ended(state: SessionState) -> str:
    return "archived" if state.archived_at is not None else "terminated"
