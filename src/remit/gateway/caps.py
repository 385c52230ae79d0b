"""Caps per period of keys and workspaces: every model call holds on them too, whoever makes it.

Their accounts are on the workspace's stream, so all caps that bind a call are held in one append, before the call's own
start is made durable, and settled after its end is. A process that dies in between leaves a hold too many, never one too
few: whoever looks at the workspace next settles it as the call itself was settled (`WorkspaceHandler`).

A session draws nothing ahead: a slice that lies unused with one would refuse another, and has to be recalled. Two more
appends for each call of a capped payer cost less.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from remit.clock import Clock, rfc3339
from remit.errors import HoldRefused, NotFound, SequenceConflict
from remit.gateway.workspace_rows import CapChanged, CapHeld, CapSettled
from remit.gateway.workspace_stream import create_workspace_stream, workspace_stream_id
from remit.interfaces import CallRecorder, SessionStore
from remit.ledger.accounts import describe_amount
from remit.ledger.caps import WORKSPACE, Cap, CapName, begins_anew, caps_in, names_for, purposes_for
from remit.shielded import run_shielded
from remit.values import (
    Account,
    Append,
    CallAttempt,
    CallEnded,
    Effect,
    Hold,
    HoldRow,
    OpenAccount,
    Principal,
    Purpose,
    SetCap,
    Settle,
    Unit,
)

log = structlog.get_logger(__name__)

ATTEMPTS_MAX = 20
LOOK_AFTER_SECONDS = 60.0
"""How soon somebody looks whether the call behind a hold has ended."""


class Caps:
    """The caps of a workspace and its keys, what they have left, and the holds on them."""

    def __init__(self, *, store: SessionStore, clock: Clock) -> None:
        self.under_way: set[str] = set()
        """Holds of calls that this process makes."""
        self._store = store
        self._clock = clock

    def now(self) -> datetime:
        """The time by which periods are told."""
        return datetime.fromtimestamp(self._clock.now_us() / 1_000_000, UTC)

    async def binding(self, principal: Principal) -> list[Cap]:
        """List the caps that bind what this principal pays for."""
        return await self.of(principal, (WORKSPACE, principal.payer))

    async def of(self, principal: Principal, subjects: Sequence[str] | None = None) -> list[Cap]:
        """List the caps of these subjects, or all of the workspace."""
        at = self.now()
        purposes = None if subjects is None else purposes_for(names_for(subjects), at)
        try:
            accounts = await self._store.accounts(
                principal, workspace_stream_id(principal), purposes=purposes
            )
        except NotFound:  # nothing was ever called or capped here
            return []
        return caps_in(accounts, at)

    async def set(self, principal: Principal, name: CapName, unit: Unit, amount: int | None) -> None:
        """Set or remove a cap, for the period that runs too: what is spent or held of it already stays, and where that is
        more than the new cap nothing is left."""
        await create_workspace_stream(self._store, principal)
        for _ in range(ATTEMPTS_MAX):
            at = self.now()
            is_set = await self._set_at(principal, name, unit, amount, at)
            if is_set and name.purpose_at(at) == name.purpose_at(self.now()):
                return
        raise SequenceConflict(f"The cap of {name.subject!r} changes too often just now; set it again.")

    async def _set_at(
        self, principal: Principal, name: CapName, unit: Unit, amount: int | None, at: datetime
    ) -> bool:
        stream_id, purposes = workspace_stream_id(principal), (name.purpose, name.purpose_at(at))
        accounts = await self._store.accounts(principal, stream_id, purposes=purposes)
        running = next((a for a in accounts if (a.purpose, a.unit) == (purposes[1], unit)), None)
        used = 0 if running is None else running.spent + running.held + running.granted
        now = amount if amount is None else max(amount, used + 1)
        effects: list[Effect] = [OpenAccount(unit=unit, purpose=purpose) for purpose in purposes]
        effects.append(SetCap(unit=unit, purpose=purposes[0], cap=amount))
        effects.append(SetCap(unit=unit, purpose=purposes[1], cap=now))
        head = await self._store.head(principal, stream_id)
        event_id = f"wevt_cap_{head.seq}_{name.subject}_{name.period}_{unit}"
        changed = CapChanged(
            id=event_id,
            subject=name.subject,
            period=name.period,
            unit=unit,
            amount=amount,
            actor=principal.actor,
        )
        event = changed.as_row(key=event_id)
        append = Append(stream_id=stream_id, expected_seq=head.seq, events=(event,), effects=tuple(effects))
        try:
            await self._store.append(principal, append)
        except (SequenceConflict, HoldRefused):  # somebody called or set meanwhile: look again
            return False
        return True

    async def around(self, principal: Principal, recorder: CallRecorder) -> CallRecorder:
        """The recorder, holding on caps where any bind."""
        return _CappedRecorder(self, principal, recorder) if await self.binding(principal) else recorder

    async def hold(
        self, principal: Principal, hold_id: str, amounts: dict[Unit, int], *, stream_id: str
    ) -> tuple[Hold, ...]:
        """Hold on every cap that binds, or on none. Raises HoldRefused. `stream_id` is where the call is recorded."""
        for _ in range(ATTEMPTS_MAX):
            caps = [cap for cap in await self.binding(principal) if cap.unit in amounts]
            if not caps:
                return ()
            self._refuse(caps, amounts)
            holds = tuple(
                Hold(
                    hold_id=f"{hold_id}/{cap.account.purpose}",
                    unit=cap.unit,
                    purpose=cap.account.purpose,
                    amount=amounts[cap.unit],
                )
                for cap in caps
            )
            head = await self._store.head(principal, workspace_stream_id(principal))
            opening = await self._unopened(principal, caps)
            held = CapHeld(
                id=f"wevt_{hold_id}_cap",
                call_id=hold_id,
                stream_id=stream_id,
                actor=principal.payer,
                holds=[msgspec.to_builtins(hold) for hold in holds],
            )
            append = Append(
                stream_id=workspace_stream_id(principal),
                # A new period takes the cap as it stands: nobody may change that in between.
                expected_seq=head.seq if opening else None,
                events=(held.as_row(key=held.id),),
                effects=(*opening, *holds),
                wake_at_us=self._clock.now_us() + int(LOOK_AFTER_SECONDS * 1_000_000),
            )
            try:
                await self._store.append(principal, append)
            except (SequenceConflict, HoldRefused):
                continue  # another call took what was left, or began the period: look again
            self.under_way.add(hold_id)
            return holds
        raise HoldRefused("The caps of this key or workspace are taken by other calls just now; ask again.")

    async def _unopened(self, principal: Principal, caps: Sequence[Cap]) -> tuple[OpenAccount, ...]:
        """What opens the accounts of periods in which nothing was called yet."""
        there = await self._store.accounts(
            principal, workspace_stream_id(principal), purposes=[cap.account.purpose for cap in caps]
        )
        known = {(account.purpose, account.unit) for account in there}
        return tuple(cap.opening for cap in caps if (cap.account.purpose, cap.unit) not in known)

    def _refuse(self, caps: Sequence[Cap], amounts: dict[Unit, int]) -> None:
        for cap in caps:
            remaining = cap.account.remaining
            if remaining is not None and amounts[cap.unit] > remaining:
                raise HoldRefused(self.in_words(cap, needed=amounts[cap.unit]))

    def in_words(self, cap: Cap, *, needed: int) -> str:
        """Explain why a call was not made, and what can be done."""
        whose = "this workspace" if cap.name.subject == WORKSPACE else f"key {cap.name.subject!r}"
        again = rfc3339(int(begins_anew(cap.name.period, self.now()).timestamp() * 1_000_000))
        return (
            f"The cap of {whose} is reached: {describe_amount(cap.amount, cap.unit)} a {cap.name.period}, of which "
            f"{describe_amount(cap.account.remaining or 0, cap.unit)} are left; the call may need "
            f"{describe_amount(needed, cap.unit)}. It begins anew at {again}. An operator raises it with `remit caps set`."
        )

    async def settle(
        self,
        principal: Principal,
        hold_id: str,
        holds: Sequence[Hold | HoldRow],
        settlements: Sequence[Settle],
    ) -> None:
        """Settle as the call itself was; the second time nothing is done. Raises StoreUnavailable."""
        real = {settle.unit: settle for settle in settlements}
        effects = tuple(
            Settle(hold_id=hold.hold_id, unit=hold.unit, amount=settle.amount, is_assumed=settle.is_assumed)
            for hold in holds
            if (settle := real[hold.unit])
        )
        settled = CapSettled(id=f"wevt_{hold_id}_cap_end", call_id=hold_id)
        event = settled.as_row(key=settled.id)
        try:
            await self._store.append(
                principal,
                Append(stream_id=workspace_stream_id(principal), events=(event,), effects=effects),
            )
        finally:
            self.under_way.discard(hold_id)


class _CappedRecorder:
    """A CallRecorder that holds on caps around what another records."""

    def __init__(self, caps: Caps, principal: Principal, recorder: CallRecorder) -> None:
        self.purpose: Purpose = recorder.purpose
        self._caps = caps
        self._principal = principal
        self._recorder = recorder
        self._held: dict[str, tuple[Hold, ...]] = {}

    async def accounts(self) -> Sequence[Account]:
        """Those of the caps too: a call that does not fit them is made smaller."""
        own = await self._recorder.accounts()
        units = {account.unit for account in own}
        caps = await self._caps.binding(self._principal)
        return [*own, *(cap.account for cap in caps if cap.unit in units)]

    async def waits(self, limit: str, ahead: int) -> None:
        await self._recorder.waits(limit, ahead)

    async def started(self, attempt: CallAttempt) -> None:
        amounts: dict[Unit, int] = {hold.unit: hold.amount for hold in attempt.holds}
        own = await self._recorder.accounts()
        stream_id = own[0].stream_id if own else workspace_stream_id(self._principal)
        held = await self._caps.hold(self._principal, attempt.call_id, amounts, stream_id=stream_id)
        try:
            await self._recorder.started(attempt)
        except BaseException:
            nothing = [Settle(hold_id=hold.hold_id, unit=hold.unit, amount=0) for hold in attempt.holds]
            if held:
                await run_shielded(self._caps.settle(self._principal, attempt.call_id, held, nothing))
            raise
        self._held[attempt.call_id] = held

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        held = self._held.pop(attempt.call_id)
        try:
            await self._recorder.finished(attempt, ended)
        except BaseException:  # whoever settles the call then settles what it held here
            self._caps.under_way.discard(attempt.call_id)
            raise
        if held:
            await self._caps.settle(self._principal, attempt.call_id, held, ended.settlements)

    def thinking(self, attempt: CallAttempt) -> None:
        self._recorder.thinking(attempt)

    def delta(self, attempt: CallAttempt, text: str) -> None:
        self._recorder.delta(attempt, text)
