"""The receipt: what was spent on what, with the evidence. Made from logs and ledger rows; pure but for the reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from remit.clock import rfc3339
from remit.errors import NotFound
from remit.interfaces import Prices, SessionStore
from remit.remits.accounts import Totals, totals
from remit.remits.state import RemitState, fold
from remit.remits.views import amounts, caps, encode_iterations, encode_pauses, setup_view
from remit.schema.tool_kinds import PLATFORM_RESULT_TYPES, USE_TYPES, answered_use
from remit.sessions.wire import account_to_wire
from remit.streams.grants import UNITS
from remit.streams.reading import read_rows
from remit.values import Account, EventRow, GrantRow, HoldRow, JsonObject, JsonValue, Principal, Value


class Books(Value, frozen=True, kw_only=True):
    """Log and ledger of one stream."""

    stream_id: str
    rows: tuple[EventRow, ...]
    accounts: tuple[Account, ...]
    holds: tuple[HoldRow, ...]
    grants: tuple[GrantRow, ...]


async def read_books(store: SessionStore, principal: Principal, stream_id: str) -> Books:
    """Raises NotFound only for a stream that never was: a deleted one has its ledger and no rows."""
    accounts = tuple(await store.accounts(principal, stream_id))
    holds = tuple(await store.holds(principal, stream_id))
    grants = tuple(await store.grants(principal, stream_id))
    try:
        rows = tuple(await read_rows(store, principal, stream_id))
    except NotFound:
        rows = ()
    return Books(stream_id=stream_id, rows=rows, accounts=accounts, holds=holds, grants=grants)


async def make_receipt(
    store: SessionStore, principal: Principal, remit_id: str, prices: Prices
) -> JsonObject:
    """The receipt of docs/api.md, section 4. Raises NotFound."""
    rows = await read_rows(store, principal, remit_id)
    own = await read_books(store, principal, remit_id)
    state = fold(rows)
    sessions: list[Books] = []
    for session_id in state.session_ids:
        try:
            sessions.append(await read_books(store, principal, session_id))
        except NotFound:
            continue  # decided and not made yet
    return receipt(remit_id, state, own, sessions, prices)


def receipt(
    remit_id: str, state: RemitState, own: Books, sessions: Sequence[Books], prices: Prices
) -> JsonObject:
    """Every call, hold, settlement, tool and verification; the sums are the ledger's."""
    created, ended = state.created, state.ended
    assert created is not None, "the first row of a remit says what was asked for"
    books = [own, *sessions]
    sums: Totals = totals(own.accounts, own.grants, [a for b in sessions for a in b.accounts])
    calls = [call for b in books for call in _calls(b)]
    sandboxes = [row for b in sessions for row in _sandboxes(b)]
    models = {name for call in calls if (name := _priced_name(call, prices)) is not None}
    return {
        "type": "receipt",
        "remit_id": remit_id,
        "status": state.status,
        "completed": ended.completed if ended is not None else False,
        "verified": ended.verified if ended is not None else False,
        "rests_on_work": list[JsonValue](state.rests_on_work),
        "agent": _plain(created.agent),
        "image_digest": next((box["image_digest"] for box in reversed(sandboxes)), None),
        "setup": setup_view(state),
        "budget": caps(state.budget),
        "spent": amounts(sums.spent),
        "held": amounts(sums.held),
        "spent_exact": {unit: sums.spent[unit] for unit in UNITS},
        "accounts": [
            {"stream_id": account.stream_id, **account_to_wire(account)}
            for b in books
            for account in b.accounts
        ],
        "calls": list[JsonValue](calls),
        "tools": [tool for b in sessions for tool in _tools(b)],
        "verifications": list[JsonValue](encode_iterations(state)),
        "pauses": list[JsonValue](encode_pauses(own.rows)),
        "grants": [_plain(grant) for b in books for grant in b.grants],
        "sandboxes": list[JsonValue](sandboxes),
        "prices": {model: _plain(rate) if (rate := prices.rate(model)) else None for model in sorted(models)},
    }


def _calls(books: Books) -> list[JsonObject]:
    """One line for every call and every priced tool use that was started, with its holds; holds whose log is gone stand
    by themselves."""
    by_call: dict[str, list[HoldRow]] = {}
    for hold in books.holds:
        by_call.setdefault(hold.hold_id, []).append(hold)
    started = _by_paid_id(books, ("model.started", "tool.started"), by_call)
    ended = _by_paid_id(books, ("model.ended", "tool.measured"), by_call)
    lines: list[JsonObject] = []
    for call_id in dict.fromkeys([*started, *by_call]):
        holds = by_call.get(call_id, [])
        start_row, start = started.get(call_id, (None, cast("JsonObject", {})))
        end_row, end = ended.get(call_id, (None, cast("JsonObject", {})))
        lines.append(
            {
                "call_id": call_id,
                "session_id": books.stream_id,
                "number": start.get("number"),
                "model": start.get("model"),
                "tool": start.get("name"),
                "served_model": end.get("model") or start.get("served_model"),
                "priced_as": start.get("served_model"),
                "provider": start.get("provider"),
                "purpose": start.get("purpose") or (holds[0].purpose if holds else None),
                "held": _by_unit(holds, is_settled=False),
                "settled": _by_unit(holds, is_settled=True),
                "state": _state(holds, has_ended=end_row is not None),
                "error_reason": end.get("error_reason"),
                "usage": end.get("usage"),
                "overrun": any(hold.is_overrun for hold in holds),
                "started_at": rfc3339(start_row.created_at_us) if start_row is not None else None,
                "ended_at": rfc3339(end_row.created_at_us) if end_row is not None else None,
            }
        )
    return lines


def _by_paid_id(
    books: Books, types: Sequence[str], holds: Mapping[str, object]
) -> dict[str, tuple[EventRow, JsonObject]]:
    """Rows of these types by the call or tool use they tell of; tool uses only if something was held for them."""
    found: dict[str, tuple[EventRow, JsonObject]] = {}
    for row in books.rows:
        if row.type in types:
            body = _decode(row)
            paid_id = str(body.get("call_id") or body.get("tool_use_id"))
            if "call_id" in body or paid_id in holds:
                found[paid_id] = (row, body)
    return found


def _priced_name(call: JsonObject, prices: Prices) -> str | None:
    """The model whose price the call was held at: a route has none, but what serves it has."""
    asked, served = call["model"], call["priced_as"]
    if isinstance(asked, str) and (prices.rate(asked) is not None or not isinstance(served, str)):
        return asked
    return served if isinstance(served, str) else None


def _by_unit(holds: Sequence[HoldRow], *, is_settled: bool) -> JsonObject:
    """Amounts by unit; null where the call held nothing in it, or has not been settled."""
    found: JsonObject = dict.fromkeys(UNITS)
    for hold in holds:
        found[hold.unit] = hold.settled if is_settled else hold.amount
    return found


def _state(holds: Sequence[HoldRow], *, has_ended: bool) -> str:
    states = {hold.state for hold in holds}
    if "open" in states or (not holds and not has_ended):
        return "open"
    return "assumed" if "assumed" in states else "settled"


def _tools(books: Books) -> list[JsonValue]:
    names: dict[str, JsonValue] = {}
    microseconds: dict[str, JsonValue] = {}
    for row in books.rows:
        if row.type in USE_TYPES:
            names[row.event_id] = _decode(row).get("name")
        elif row.type == "tool.measured":
            body = _decode(row)
            microseconds[str(body["tool_use_id"])] = body.get("duration_us")
    lines: list[JsonValue] = []
    for row in books.rows:
        if row.type not in PLATFORM_RESULT_TYPES:
            continue
        body = _decode(row)
        use_id = answered_use(body)
        took = microseconds.get(use_id)
        lines.append(
            {
                "tool_use_id": use_id,
                "name": names.get(use_id),
                "duration_seconds": took / 1_000_000 if isinstance(took, int) else None,
                "is_error": bool(body.get("is_error")),
                "may_have_run": bool(body.get("may_have_run")),
            }
        )
    return lines


def _sandboxes(books: Books) -> list[JsonObject]:
    fields = (
        "sandbox_id",
        "provider",
        "isolation",
        "not_held",
        "image_digest",
        "tree_digest",
        "network",
        "packages_digest",
    )
    return [
        {"session_id": books.stream_id, **{field: body.get(field) for field in fields}}
        for row in books.rows
        if row.type == "sandbox.started" and (body := _decode(row))
    ]


def _decode(row: EventRow) -> JsonObject:
    return cast("JsonObject", msgspec.json.decode(row.body))


def _plain(value: object) -> JsonValue:
    return cast("JsonValue", msgspec.to_builtins(value))
