"""POST /v1/reconcile: a provider's own export against calls whose cost was assumed."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp

from remit.clock import rfc3339
from remit.gateway.reconciliation import Correction, Reconciliation
from remit.gateway.reconciliation import ReconciledCall as PaidCall
from remit.ledger.exports import Charged, Entry, read_export
from remit.remits.money import format_usd
from remit.schema import caps
from remit.schema.operation import NoQuery
from remit.server.operations.requests import json_response
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.routes.keys import workspace_within
from remit.values import JsonObject, JsonValue, Unit

SHOWN_MAX = 1_000
"""Lines of each list in the answer; the counts are of all."""


class ReconcileRoutes:
    """Shows first what it would book, unless it is told to book."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reconciliation = Reconciliation(store=services.sessions, prices=services.prices)

    @handles(caps.RECONCILE)
    async def reconcile(self, call: Call[caps.Reconcile, NoQuery]) -> ASGIApp:
        params = call.body
        principal = workspace_within(call.principal, params.workspace_id)
        matched = await self._reconciliation.match(principal, read_export(params.content))
        waiting: list[PaidCall] = []
        booked = 0
        if not params.dry_run:
            for correction in matched.corrections:
                if await self._reconciliation.book(principal, correction):
                    booked += 1
                else:
                    waiting.append(correction.call)
        unmatched = [_call(call, "the export does not tell of it") for call in matched.unmatched_calls]
        unmatched += [_call(call, "its remit is ending just now; reconcile again") for call in waiting]
        return json_response(
            {
                "type": "reconciliation",
                "dry_run": params.dry_run,
                "matched": len(matched.corrections),
                "booked": booked,
                "difference": _difference(matched.corrections),
                "corrections": list[JsonValue](
                    [_correction(each) for each in matched.corrections[:SHOWN_MAX]]
                ),
                "calls_without_entry": list[JsonValue](unmatched[:SHOWN_MAX]),
                "entries_without_call": list[JsonValue](
                    [_entry(entry, why) for entry, why in matched.unmatched_entries[:SHOWN_MAX]]
                ),
                "entries_without_call_count": len(matched.unmatched_entries),
            }
        )


def _difference(corrections: tuple[Correction, ...]) -> JsonObject:
    """What was assumed too much (below nothing) or too little, in all."""
    sums = {"nano_usd": 0, "tokens": 0}
    for correction in corrections:
        for unit, real in correction.real.items():
            sums[unit] += real - (correction.call.settled(unit) or 0)
    sign = "-" if sums["nano_usd"] < 0 else ""
    return {"usd": sign + format_usd(abs(sums["nano_usd"])), "tokens": sums["tokens"]}


def _correction(correction: Correction) -> JsonObject:
    call = correction.call
    return {
        "call_id": call.call_id,
        "stream_id": call.stream_id,
        "model": call.model,
        "started_at": rfc3339(call.started_at_us),
        "by": correction.how,
        "assumed": _amounts({unit: call.settled(unit) for unit in correction.real}),
        "real": _amounts(correction.real),
    }


def _amounts(amounts: Mapping[Unit, int | None]) -> JsonObject:
    dollars = amounts.get("nano_usd")
    return {"usd": None if dollars is None else format_usd(dollars), "tokens": amounts.get("tokens")}


def _call(call: PaidCall, why: str) -> JsonObject:
    assumed = _amounts({"nano_usd": call.settled("nano_usd"), "tokens": call.settled("tokens")})
    return {
        "call_id": call.call_id,
        "model": call.model,
        "started_at": rfc3339(call.started_at_us),
        "assumed": assumed,
        "why": why,
    }


def _entry(entry: Entry, why: str) -> JsonObject:
    if isinstance(entry, Charged):
        return {"request_id": entry.request_id, "why": why}
    return {"model": entry.model, "from": rfc3339(entry.start_us), "to": rfc3339(entry.end_us), "why": why}
