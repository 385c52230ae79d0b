"""Books a provider's own figures against calls whose cost was assumed.

A call that one request of the export names takes its cost. What a model used in a span of time, less what Remit knows its
other calls there used, is what the assumed ones did, if it lies between nothing and what they were held at. Each
correction is a row of its own under the call's id, so a second run with the same export changes nothing.

It is booked where the call was settled, as long as that is open. Where the money was granted and the grant has been
closed, it is the workspace's by now and is booked there; receipts of what has ended stay as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from remit.errors import NotFound
from remit.gateway.workspace_stream import workspace_stream_id
from remit.interfaces import Prices, SessionStore
from remit.ledger.accounts import CORRECTION
from remit.ledger.caps import is_cap
from remit.ledger.exports import Charged, Entry, UsedInSpan
from remit.ledger.prices import cost
from remit.session.rows import CallReconciled
from remit.streams.reading import list_all
from remit.values import (
    Append,
    Correct,
    HoldRow,
    JsonObject,
    Principal,
    StreamFilter,
    Unit,
    Usage,
    Value,
)

END_ROWS_MAX = 2_000
"""Behind a call's start its end is looked for in so many rows."""
_KINDS: tuple[str, ...] = ("workspace", "session")


class ReconciledCall(Value, frozen=True, kw_only=True):
    """A model call that has ended."""

    call_id: str
    stream_id: str
    model: str
    started_at_us: int
    request_ids: tuple[str, ...]
    """What its provider may call it."""
    usage: Usage
    holds: tuple[HoldRow, ...]
    is_corrected: bool = False
    """Its real cost was booked before."""

    @property
    def is_assumed(self) -> bool:
        """Return whether nobody knows what the call cost."""
        return not self.is_corrected and any(hold.state == "assumed" for hold in self.holds)

    def settled(self, unit: Unit) -> int | None:
        """Return what the call was settled at; None where it held nothing in this unit."""
        return next((hold.settled or 0 for hold in self.holds if hold.unit == unit), None)


class Correction(Value, frozen=True, kw_only=True):
    """The real cost of a call, by unit."""

    call: ReconciledCall
    real: dict[Unit, int]
    how: str
    """`request_id` or `model_and_time`."""


class Matched(Value, frozen=True, kw_only=True):
    """The corrections that an export asks for, and the calls and entries that have no counterpart."""

    corrections: tuple[Correction, ...]
    unmatched_calls: tuple[ReconciledCall, ...]
    unmatched_entries: tuple[tuple[Entry, str], ...]
    """With the reason."""


def match(entries: Sequence[Entry], calls: Sequence[ReconciledCall], prices: Prices) -> Matched:
    """Find what each assumed call cost. By request id first; pure."""
    by_request = {name: call for call in calls for name in call.request_ids}
    corrections: dict[str, Correction] = {}
    left: list[tuple[Entry, str]] = []
    charged: dict[str, tuple[int | None, int | None]] = {}
    contradicted: set[str] = set()
    for entry in entries:
        if not isinstance(entry, Charged):
            continue
        call, figures = by_request.get(entry.request_id), (entry.nano_usd, entry.tokens)
        if call is None:
            left.append((entry, "no call of Remit's has this request id"))
        elif charged.setdefault(call.call_id, figures) != figures:
            contradicted.add(call.call_id)
            left.append((entry, "the export has this call twice, with other figures"))
        elif call.is_assumed:
            real: dict[Unit, int] = {}
            if entry.nano_usd is not None and call.settled("nano_usd") is not None:
                real["nano_usd"] = entry.nano_usd
            if entry.tokens is not None and call.settled("tokens") is not None:
                real["tokens"] = entry.tokens
            if real:
                corrections[call.call_id] = Correction(call=call, real=real, how="request_id")
            else:
                left.append((entry, "it does not say what was held for this call"))
    for call_id in contradicted:
        corrections.pop(call_id, None)
    for entry in _by_span(entries):
        found = _match_span(entry, calls, corrections, prices)
        if isinstance(found, str):
            left.append((entry, found))
        else:
            corrections |= {each.call.call_id: each for each in found}
    unmatched = [call for call in calls if call.is_assumed and call.call_id not in corrections]
    return Matched(
        corrections=tuple(corrections.values()),
        unmatched_calls=tuple(unmatched),
        unmatched_entries=tuple(left),
    )


def _by_span(entries: Sequence[Entry]) -> list[UsedInSpan]:
    """One for each model and span: a report may tell them by key or tier too."""
    spans: dict[tuple[str, int, int], UsedInSpan] = {}
    for entry in entries:
        if isinstance(entry, UsedInSpan):
            key = (entry.model, entry.start_us, entry.end_us)
            before = spans.get(key)
            usage = entry.usage if before is None else before.usage + entry.usage
            spans[key] = msgspec.structs.replace(entry, usage=usage)
    return list(spans.values())


def _match_span(
    span: UsedInSpan, calls: Sequence[ReconciledCall], known: dict[str, Correction], prices: Prices
) -> list[Correction] | str:
    """What the assumed calls of a span cost, or why that cannot be told."""
    inside = [
        call
        for call in calls
        if span.start_us <= call.started_at_us < span.end_us and _is_model(call.model, span.model)
    ]
    assumed = [call for call in inside if call.is_assumed and call.call_id not in known]
    if not assumed:
        return []
    if any(call.call_id in known or call.is_corrected for call in inside):
        return "some of its calls were booked already, and what they used of each kind is not known"
    rest = _less(span.usage, [call.usage for call in inside if not call.is_assumed])
    if rest is None:
        return "Remit knows of more use than it says; its span may cut through calls"
    real: dict[Unit, int] = {"tokens": rest.total_tokens}
    rate = prices.rate(assumed[0].model)
    if rate is not None:
        real["nano_usd"] = cost(rate, rest)
    for unit, amount in real.items():
        if amount > sum(hold.amount for call in assumed for hold in call.holds if hold.unit == unit):
            return "it has more use than Remit's calls can have had; others use the provider's key too"
    shares: dict[Unit, list[int]] = {
        unit: _shares(amount, [call.settled(unit) or 0 for call in assumed]) for unit, amount in real.items()
    }
    return [
        Correction(
            call=call,
            real={unit: of[at] for unit, of in shares.items() if call.settled(unit) is not None},
            how="model_and_time",
        )
        for at, call in enumerate(assumed)
    ]


def _is_model(served: str, named: str) -> bool:
    """`anthropic/claude-x` is what the provider calls `claude-x`."""
    return named in (served, served.partition("/")[2])


def _less(whole: Usage, parts: Sequence[Usage]) -> Usage | None:
    """None when the parts are more than the whole."""
    counts = {
        name: getattr(whole, name) - sum(getattr(part, name) for part in parts)
        for name in Usage.__struct_fields__
    }
    return None if min(counts.values()) < 0 else Usage(**counts)


def _shares(amount: int, weights: Sequence[int]) -> list[int]:
    """The amount in whole shares by weight, adding up to it."""
    shares: list[int] = []
    weights = weights if sum(weights) else [1] * len(weights)
    total, given, seen = sum(weights), 0, 0
    for weight in weights:
        seen += weight
        shares.append(amount * seen // total - given)
        given += shares[-1]
    return shares


class Reconciliation:
    """Reads what is assumed, and books what a provider says of it."""

    def __init__(self, *, store: SessionStore, prices: Prices) -> None:
        self._store = store
        self._prices = prices

    async def match(self, principal: Principal, entries: Sequence[Entry]) -> Matched:
        """Match an export with the calls; nothing is changed."""
        return match(entries, await self._calls(principal), self._prices)

    async def book(self, principal: Principal, correction: Correction) -> bool:
        """Book one; False where its money is still between two accounts, or was booked before."""
        call = correction.call
        stream_id = await self._books_of(principal, call)
        if stream_id is None:
            return False
        workspace = workspace_stream_id(principal)
        changes: dict[Unit, tuple[str, int]] = {
            hold.unit: (hold.purpose, real - (hold.settled or 0))
            for hold in call.holds
            if (real := correction.real.get(hold.unit)) is not None
        }
        effects = [
            Correct(correction_id=call.call_id + CORRECTION, unit=unit, purpose=purpose, amount=amount)
            for unit, (purpose, amount) in changes.items()
        ]
        on_caps = [
            Correct(
                correction_id=hold.hold_id + CORRECTION,
                unit=hold.unit,
                purpose=hold.purpose,
                amount=changes[hold.unit][1],
            )
            for hold in await self._holds(principal, workspace)
            if hold.hold_id.startswith(f"{call.call_id}/cap/")
            and not hold.hold_id.endswith(CORRECTION)
            and hold.unit in changes
        ]
        if on_caps:  # first: a call whose own correction is booked is not looked at again
            await self._append(principal, workspace, correction, on_caps, key=f"{call.call_id}_caps")
        await self._append(principal, stream_id, correction, effects, key=call.call_id)
        return True

    async def _append(
        self,
        principal: Principal,
        stream_id: str,
        correction: Correction,
        effects: Sequence[Correct],
        *,
        key: str,
    ) -> None:
        event_id = f"wevt_{key}_reconciled"
        reconciled = CallReconciled(
            id=event_id,
            call_id=correction.call.call_id,
            stream_id=correction.call.stream_id,
            actor=principal.actor,
            how=correction.how,
            real=cast("JsonObject", correction.real),
        )
        event = reconciled.as_row(key=event_id)
        await self._store.append(
            principal, Append(stream_id=stream_id, events=(event,), effects=tuple(effects))
        )

    async def _holds(self, principal: Principal, workspace: str) -> Sequence[HoldRow]:
        try:
            return await self._store.holds(principal, workspace)
        except NotFound:  # nothing was ever called directly or capped
            return ()

    async def _books_of(self, principal: Principal, call: ReconciledCall) -> str | None:
        """Whose account the call's money is in now; None while it is on its way."""
        grants = [
            grant for grant in await self._store.grants(principal, call.stream_id) if grant.direction == "in"
        ]
        if not grants or any(grant.state == "open" for grant in grants):
            return call.stream_id
        try:
            parent = (await self._store.head(principal, call.stream_id)).parent_stream_id
        except NotFound:  # the session was deleted, its books were closed before
            return workspace_stream_id(principal)
        if parent is None:
            return workspace_stream_id(principal)
        above = await self._store.grants(principal, parent)
        is_open = any(grant.state == "open" and grant.direction == "in" for grant in above)
        return None if is_open else workspace_stream_id(principal)

    async def _calls(self, principal: Principal) -> list[ReconciledCall]:
        found: list[ReconciledCall] = []
        corrected: set[str] = set()
        for kind in _KINDS:
            of_kind = StreamFilter(kind=kind, include_archived=True)
            async for head in list_all(self._store, principal, of_kind):
                found += await self._calls_of(principal, head.stream_id, corrected)
        return [
            msgspec.structs.replace(call, is_corrected=True) if call.call_id in corrected else call
            for call in found
        ]

    async def _calls_of(
        self, principal: Principal, stream_id: str, corrected: set[str]
    ) -> list[ReconciledCall]:
        """Adds to `corrected` the calls whose real cost is booked here."""
        by_id: dict[str, list[HoldRow]] = {}
        for hold in await self._store.holds(principal, stream_id):
            if hold.hold_id.endswith(CORRECTION):
                corrected.add(hold.hold_id.removesuffix(CORRECTION))
            elif hold.state != "open" and not is_cap(hold.purpose):
                by_id.setdefault(hold.hold_id, []).append(hold)
        return [
            call
            for call_id, holds in by_id.items()
            if (call := await self._call(principal, stream_id, call_id, holds)) is not None
        ]

    async def _call(
        self, principal: Principal, stream_id: str, call_id: str, holds: Sequence[HoldRow]
    ) -> ReconciledCall | None:
        """None for what is no model call, and for one whose log is gone."""
        started: JsonObject | None = None
        rows = await self._store.read(
            principal, stream_id, after_seq=max(0, holds[0].seq - 20), limit=END_ROWS_MAX
        )
        for row in rows:
            if row.type not in ("model.started", "model.ended"):
                continue
            body: JsonObject = msgspec.json.decode(row.body)
            if body.get("call_id") != call_id:
                continue
            if row.type == "model.started":
                started = body
                continue
            if started is None:
                return None
            response = body.get("response")
            named = [body.get("provider_request_id"), body.get("provider_id")]
            if isinstance(response, dict):
                named.append(response.get("provider_id"))
            return ReconciledCall(
                call_id=call_id,
                stream_id=stream_id,
                model=str(started.get("served_model") or started.get("model")),
                started_at_us=holds[0].created_at_us,
                request_ids=tuple(name for name in named if isinstance(name, str) and name),
                usage=msgspec.convert(body.get("usage") or {}, Usage),
                holds=tuple(holds),
            )
        return None
