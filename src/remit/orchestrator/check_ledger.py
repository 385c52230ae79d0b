"""Rules about money: accounts, holds, calls, grants, and the receipt. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from remit.ledger.accounts import CORRECTION
from remit.orchestrator.check_log import decode
from remit.orchestrator.violations import Violation
from remit.streams.grants import UNITS
from remit.values import Account, EventRow, GrantRow, HoldRow, JsonObject, Value


class Ledger(Value, frozen=True, kw_only=True):
    """The ledger rows of one stream."""

    stream_id: str
    accounts: tuple[Account, ...]
    holds: tuple[HoldRow, ...]
    grants: tuple[GrantRow, ...]


def check_ledger(ledger: Ledger, *, is_live: bool) -> list[Violation]:
    """Check that accounts equal their holds and grants, and nothing exceeds its cap."""
    return [*_check_sums(ledger), *_check_caps(ledger)] if not is_live else [*_check_caps(ledger)]


def _check_sums(ledger: Ledger) -> Iterator[Violation]:
    for account in ledger.accounts:
        holds = [h for h in ledger.holds if (h.unit, h.purpose) == (account.unit, account.purpose)]
        out = [
            g
            for g in ledger.grants
            if g.direction == "out" and (g.unit, g.purpose) == (account.unit, account.purpose)
        ]
        expected = {
            "held": sum(h.amount for h in holds if h.state == "open"),
            "spent": sum(h.settled or 0 for h in holds if h.state != "open")
            + sum(g.spent or 0 for g in out if g.state == "closed"),
            "granted": sum(g.amount for g in out if g.state == "open"),
        }
        for field, amount in expected.items():
            booked = getattr(account, field)
            if booked != amount:
                message = f"{_name(account)}: {field} is {booked}, its holds and grants add up to {amount}"
                yield _violation("accounts_add_up", ledger, message)


def _check_caps(ledger: Ledger) -> Iterator[Violation]:
    has_overrun = any(hold.is_overrun for hold in ledger.holds) or any(
        grant.direction == "out" and (grant.spent or 0) > grant.amount for grant in ledger.grants
    )
    for account in ledger.accounts:
        used = account.spent + account.held + account.granted
        if account.cap is not None and used > account.cap and not has_overrun:
            message = (
                f"{_name(account)}: spent {account.spent} + held {account.held} + granted {account.granted} "
                f"is above the cap of {account.cap}, and nothing overran"
            )
            yield _violation("within_cap", ledger, message)


def check_calls(
    rows: Sequence[EventRow], ledger: Ledger, *, ledger_seq: int, is_live: bool
) -> list[Violation]:
    """Check that every hold belongs to a call that was started with it; every call ends; an ended call holds
    nothing. The ledger was read when the log had `ledger_seq` rows, or later."""
    started = {_paid_id(body): (row, body) for row in rows if (body := _paid(row, "started")) is not None}
    ended = {
        _paid_id(body): row
        for row in rows
        if (body := _paid(row, "ended")) is not None
        and (row.type == "model.ended" or _paid_id(body) in started)
    }
    found: list[Violation] = []
    for call_id, (row, body) in started.items():
        if call_id not in ended and not is_live:
            found.append(_at("calls_end", row, f"call {call_id!r} was started and never ended"))
        if row.seq <= ledger_seq:
            found += _check_start_holds(row, call_id, body, ledger)
    found += [
        _at("calls_end", row, f"call {call_id!r} ended and was never started")
        for call_id, row in ended.items()
        if call_id not in started
    ]
    for hold in ledger.holds:
        if hold.hold_id.removesuffix(CORRECTION) not in started:
            message = f"hold {hold.hold_id!r} of {hold.amount} ({hold.unit}) has no start"
            found.append(_violation("holds_match_calls", ledger, message, seq=hold.seq))
        elif hold.state == "open" and hold.hold_id in ended and not is_live:
            message = f"hold {hold.hold_id!r} is open, and its call has ended"
            found.append(_violation("holds_closed", ledger, message, seq=hold.seq))
        elif hold.state == "open" and not is_live:
            message = f"hold {hold.hold_id!r} is open, and no call is running"
            found.append(_violation("holds_closed", ledger, message, seq=hold.seq))
    return found


def _paid(row: EventRow, part: str) -> JsonObject | None:
    """The body of a row that starts or ends what is paid: a model call, or a tool use that set something aside."""
    if row.type == f"model.{part}":
        return decode(row)
    if part == "ended":
        return decode(row) if row.type == "tool.measured" else None
    body = decode(row) if row.type == "tool.started" else None
    return body if body is not None and body.get("holds") else None


def _paid_id(body: JsonObject) -> str:
    return str(body.get("call_id") or body["tool_use_id"])


def _check_start_holds(row: EventRow, call_id: str, body: JsonObject, ledger: Ledger) -> Iterator[Violation]:
    booked = {hold.unit: hold for hold in ledger.holds if hold.hold_id == call_id}
    said = {str(hold["unit"]): hold for hold in cast("list[JsonObject]", body.get("holds") or [])}
    for unit in UNITS:
        wanted, hold = said.get(unit), booked.get(unit)
        if wanted is None and hold is None:
            continue
        if wanted is None or hold is None:
            where = "the log and not in the ledger" if hold is None else "the ledger and not in the log"
            yield _at("holds_match_calls", row, f"the hold of call {call_id!r} in {unit} is in {where}")
        elif (wanted["amount"], wanted["purpose"]) != (hold.amount, hold.purpose):
            message = (
                f"call {call_id!r} says a hold of {wanted['amount']} {unit} for {wanted['purpose']}, the ledger has "
                f"{hold.amount} for {hold.purpose}"
            )
            yield _at("holds_match_calls", row, message)


def check_grants(
    stream_id: str, incoming: Sequence[GrantRow], given: Sequence[GrantRow], *, is_live: bool
) -> list[Violation]:
    """Check both sides of every grant that came into a stream."""
    above = {(grant.grant_id, grant.unit, grant.purpose): grant for grant in given}
    found: list[Violation] = []
    for own in incoming:
        what = f"grant {own.grant_id!r} ({own.unit}, {own.purpose})"
        parent = above.get((own.grant_id, own.unit, own.purpose))
        problem = None
        if parent is None:
            problem = f"{what} of {own.amount} came in, and nobody gave it"
        elif parent.amount != own.amount:
            problem = f"{what} left with {parent.amount} and came in with {own.amount}"
        elif parent.state == "closed" and own.state == "open":
            if parent.spent is not None and parent.spent < parent.amount:
                problem = f"{what} was closed above with {parent.spent} spent before the rest was given back"
        elif own.state == "closed" and parent.state == "open" and not is_live:
            problem = f"{what} was given back and never closed above"
        elif own.state == "closed" and parent.state == "closed" and (parent.spent or 0) < (own.spent or 0):
            problem = f"{what}: {own.spent} were spent, {parent.spent} were booked above"
        if problem is not None:
            found.append(Violation(rule="grants_match", stream_id=stream_id, seq=None, message=problem))
    return found


def check_receipt(stream_id: str, receipt: JsonObject, ledgers: Sequence[Ledger]) -> list[Violation]:
    """The receipt's calls, held and settled, add up to the holds of the whole tree."""
    calls = cast("list[JsonObject]", receipt["calls"])
    found: list[Violation] = []
    for unit in UNITS:
        holds = [hold for ledger in ledgers for hold in ledger.holds if hold.unit == unit]
        expected = {
            "held": sum(hold.amount for hold in holds),
            "settled": sum(hold.settled or 0 for hold in holds),
        }
        for field, amount in expected.items():
            shown = sum(cast("int", cast("JsonObject", call[field]).get(unit) or 0) for call in calls)
            if shown != amount:
                message = (
                    f"the receipt's calls add up to {shown} {unit} {field}, the ledger's holds to {amount}"
                )
                found.append(
                    Violation(rule="receipt_equals_ledger", stream_id=stream_id, seq=None, message=message)
                )
        spent = cast("int", cast("JsonObject", receipt["spent_exact"])[unit])
        if spent != expected["settled"]:
            message = f"the receipt says {spent} {unit} were spent, the ledger's holds {expected['settled']}"
            found.append(
                Violation(rule="receipt_equals_ledger", stream_id=stream_id, seq=None, message=message)
            )
    return found


def _name(account: Account) -> str:
    return f"account {account.unit}/{account.purpose}"


def _violation(rule: str, ledger: Ledger, message: str, *, seq: int | None = None) -> Violation:
    return Violation(rule=rule, stream_id=ledger.stream_id, seq=seq, message=message)


def _at(rule: str, row: EventRow, message: str) -> Violation:
    return Violation(rule=rule, stream_id=row.stream_id, seq=row.seq, message=message)
