"""The invariant checker: reads a stream and everything below it, and names what must never be.

Rules about one log are in `check_log.py`, rules about money in `check_ledger.py`; both are pure. This file reads, and
compares what is served with what the log says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from remit.errors import NotFound
from remit.interfaces import SessionStore
from remit.orchestrator.check_ledger import Ledger, check_calls, check_grants, check_ledger, check_receipt
from remit.orchestrator.check_log import check_log
from remit.orchestrator.violations import RULES, Violation
from remit.streams.kinds import Sight, StreamKinds
from remit.streams.reading import list_all, read_rows
from remit.values import (
    EventRow,
    GrantRow,
    JsonObject,
    JsonValue,
    Principal,
    StreamFilter,
    StreamHead,
    Value,
)

DEPTH_MAX = 8

Serve = Callable[[Principal, str, str], Awaitable[JsonObject]]
"""What the API answers for a stream, by its kind and id."""


class CheckReport(Value, frozen=True, kw_only=True):
    """The report of a check: what was looked at, and what is wrong."""

    id: str
    checked: tuple[str, ...]
    """Rules and streams."""
    violations: tuple[Violation, ...]

    @property
    def is_ok(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.violations

    def to_wire(self) -> JsonObject:
        """The answer of `/check`."""
        violations: list[JsonValue] = [
            {"rule": v.rule, "stream_id": v.stream_id, "seq": v.seq, "message": v.message}
            for v in self.violations
        ]
        return {
            "type": "check",
            "id": self.id,
            "ok": self.is_ok,
            "checked": list[JsonValue](self.checked),
            "violations": violations,
        }


async def check_stream(
    store: SessionStore,
    principal: Principal,
    stream_id: str,
    *,
    now_us: int,
    kinds: StreamKinds,
    serve: Serve | None = None,
) -> CheckReport:
    """Check a stream and its children; what is served of them only with `serve`. Raises NotFound."""
    checker = _Checker(store, principal, now_us, kinds, serve)
    await checker.check(stream_id, depth=0)
    return CheckReport(
        id=stream_id,
        checked=(*RULES, *checker.streams),
        violations=tuple(checker.violations),
    )


class _Checker:
    def __init__(
        self,
        store: SessionStore,
        principal: Principal,
        now_us: int,
        kinds: StreamKinds,
        serve: Serve | None,
    ) -> None:
        self._store = store
        self._principal = principal
        self._now_us = now_us
        self._kinds = kinds
        self._serve = serve
        self.streams: list[str] = []
        self.violations: list[Violation] = []

    async def check(self, stream_id: str, *, depth: int) -> list[Ledger]:
        """Ledgers of the stream and of everything below it."""
        head = await self._store.head(self._principal, stream_id)
        ledger = await self._ledger(stream_id)
        rows = await read_rows(self._store, self._principal, stream_id)
        is_live = self._is_live(head) or (await self._store.head(self._principal, stream_id)).seq != head.seq
        self.streams.append(stream_id)
        self.violations += check_log(rows, head, is_live=is_live)
        self.violations += check_ledger(ledger, is_live=is_live)
        self.violations += check_calls(rows, ledger, ledger_seq=head.seq, is_live=is_live)
        await self._check_summary(head, rows, is_live=is_live)
        await self._check_served(head, rows, is_live=is_live)
        await self._check_own_grants(head, ledger, is_live=is_live)
        below = [ledger]
        if depth < DEPTH_MAX:
            for child in await self._children(stream_id):
                below += await self.check(child, depth=depth + 1)
        self._check_missing_children(ledger, below, is_live=is_live)
        await self._check_receipt(head, rows, below, is_live=is_live)
        return below

    def _is_live(self, head: StreamHead) -> bool:
        """Someone works on it now, or is about to: what is open may be closed in a moment. A lease that was never given
        back is of a process that died, and whoever takes the stream up next closes what it left."""
        return head.owner is not None or (head.wake_at_us is not None and head.wake_at_us <= self._now_us)

    async def _ledger(self, stream_id: str) -> Ledger:
        return Ledger(
            stream_id=stream_id,
            accounts=tuple(await self._store.accounts(self._principal, stream_id)),
            holds=tuple(await self._store.holds(self._principal, stream_id)),
            grants=tuple(await self._store.grants(self._principal, stream_id)),
        )

    async def _children(self, stream_id: str) -> list[str]:
        found: list[str] = []
        for kind in self._kinds.names:
            below = StreamFilter(kind=kind, parent_stream_id=stream_id, include_archived=True)
            children = list_all(self._store, self._principal, below, is_ascending=True)
            found += [head.stream_id async for head in children]
        return found

    async def _check_summary(self, head: StreamHead, rows: Sequence[EventRow], *, is_live: bool) -> None:
        kind = self._kinds.get(head.kind)
        if kind is None or is_live:
            return
        folded = kind.summarize(kind.fold_all(rows))
        for field in ("status", "title", "agent_id", "agent_version", "archived_at_us"):
            says, listed = getattr(folded, field), getattr(head.summary, field)
            if says != listed:
                message = f"the log says {field} {says!r}, the list shows {listed!r}"
                self._add("fold_equals_served", head.stream_id, head.seq, message)

    async def _check_served(self, head: StreamHead, rows: Sequence[EventRow], *, is_live: bool) -> None:
        kind = self._kinds.get(head.kind)
        if self._serve is None or kind is None or kind.derive is None or is_live:
            return
        served = await self._serve(self._principal, kind.name, head.stream_id)
        for field, says in kind.derive(head.stream_id, kind.fold_all(rows)).items():
            if served.get(field) != says:
                message = f"the log says {field} {says!r}, the API serves {served.get(field)!r}"
                self._add("fold_equals_served", head.stream_id, head.seq, message)

    async def _check_own_grants(self, head: StreamHead, ledger: Ledger, *, is_live: bool) -> None:
        """What came in must have gone out above, in the same amount."""
        incoming = [grant for grant in ledger.grants if grant.direction == "in"]
        if not incoming:
            return
        parent_id = head.parent_stream_id or head.workspace_id
        try:
            given = [g for g in await self._store.grants(self._principal, parent_id) if g.direction == "out"]
            is_live = is_live or self._is_live(await self._store.head(self._principal, parent_id))
        except NotFound:
            given = list[GrantRow]()
        self.violations += check_grants(ledger.stream_id, incoming, given, is_live=is_live)

    def _check_missing_children(self, ledger: Ledger, below: list[Ledger], *, is_live: bool) -> None:
        """What went out must have come in below, unless the child is about to be made."""
        if is_live or ledger.stream_id == self._principal.workspace_id:
            return
        known = {(g.grant_id, g.unit, g.purpose) for one in below for g in one.grants if g.direction == "in"}
        for grant in ledger.grants:
            is_open = grant.direction == "out" and grant.state == "open"
            if is_open and (grant.grant_id, grant.unit, grant.purpose) not in known:
                message = (
                    f"grant {grant.grant_id!r} of {grant.amount} ({grant.unit}, {grant.purpose}) is open, and "
                    f"{grant.child_stream_id!r} never got it"
                )
                self._add("grants_match", ledger.stream_id, None, message)

    async def _check_receipt(
        self, head: StreamHead, rows: Sequence[EventRow], below: list[Ledger], *, is_live: bool
    ) -> None:
        kind = self._kinds.get(head.kind)
        if kind is None or kind.receipt is None or is_live:
            return
        sight = Sight(
            store=self._store,
            principal=self._principal,
            names=kind.names,
            head=head,
            state=kind.fold_all(rows),
            now_us=self._now_us,
        )
        served = await kind.receipt(sight)
        self.violations += check_receipt(head.stream_id, served, below)

    def _add(self, rule: str, stream_id: str, seq: int | None, message: str) -> None:
        self.violations.append(Violation(rule=rule, stream_id=stream_id, seq=seq, message=message))
