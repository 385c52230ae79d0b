"""The arithmetic of every ledger effect. Pure: rows of one stream in, changed rows out, or a refusal.

Every store applies effects through `apply_effects`, so stores cannot differ in what they allow. A store loads the
stream's accounts and the rows named by `rows_needed`, and writes back what comes out, in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeVar, assert_never

import msgspec

from remit.errors import HoldRefused
from remit.values import (
    Account,
    Correct,
    Effect,
    GrantClose,
    GrantGiveBack,
    GrantIn,
    GrantOut,
    GrantRow,
    Hold,
    HoldRow,
    OpenAccount,
    Purpose,
    SetCap,
    Settle,
    Unit,
    Value,
)

Direction = Literal["out", "in"]
Row = TypeVar("Row", HoldRow, GrantRow, Account)

NANO_USD_PER_USD = 1_000_000_000
CORRECTION = "/reconciled"
"""Behind a call's id: the row that books what its provider says it cost."""


class AccountKey(NamedTuple):
    """An account within its stream."""

    unit: Unit
    purpose: Purpose


class HoldKey(NamedTuple):
    """A hold within its stream: one id may hold dollars and tokens."""

    hold_id: str
    unit: Unit


class GrantKey(NamedTuple):
    """One side of a grant within its stream: one id may move several units and purposes."""

    grant_id: str
    unit: Unit
    purpose: Purpose
    direction: Direction


class RowsNeeded(Value, frozen=True, kw_only=True):
    """The holds, grants and accounts that must be in the view before effects can be applied."""

    holds: tuple[HoldKey, ...]
    grants: tuple[GrantKey, ...]
    purposes: tuple[Purpose, ...]
    """Of the accounts; those of the holds beside."""


class LedgerRows(Value, frozen=True, kw_only=True):
    """Rows of one stream: the view before, or what changed after."""

    accounts: tuple[Account, ...] = ()
    holds: tuple[HoldRow, ...] = ()
    grants: tuple[GrantRow, ...] = ()


def account_key(account: Account) -> AccountKey:
    """The key of an account's row."""
    return AccountKey(account.unit, account.purpose)


def hold_key(hold: HoldRow) -> HoldKey:
    """The key of a hold's row."""
    return HoldKey(hold.hold_id, hold.unit)


def grant_key(grant: GrantRow) -> GrantKey:
    """The key of a grant's row."""
    return GrantKey(grant.grant_id, grant.unit, grant.purpose, grant.direction)


def rows_needed(effects: Sequence[Effect]) -> RowsNeeded:
    """The keys of the rows that these effects look at."""
    holds: dict[HoldKey, None] = {}
    grants: dict[GrantKey, None] = {}
    purposes: dict[Purpose, None] = {}
    for effect in effects:
        if not isinstance(effect, Settle):
            purposes[effect.purpose] = None
        match effect:
            case Hold() | Settle():
                holds[HoldKey(effect.hold_id, effect.unit)] = None
            case GrantOut() | GrantClose():
                grants[GrantKey(effect.grant_id, effect.unit, effect.purpose, "out")] = None
            case GrantIn() | GrantGiveBack():
                grants[GrantKey(effect.grant_id, effect.unit, effect.purpose, "in")] = None
            case Correct():
                holds[HoldKey(effect.correction_id, effect.unit)] = None
            case OpenAccount() | SetCap():
                pass
            case _:
                assert_never(effect)
    return RowsNeeded(holds=tuple(holds), grants=tuple(grants), purposes=tuple(purposes))


def apply_effects(
    view: LedgerRows, effects: Iterable[Effect], *, stream_id: str, seq: int, now_us: int
) -> LedgerRows:
    """Apply effects in order and return the rows that are new or changed, in order of first change.

    Raises HoldRefused when one does not fit; then none counts. What only a programming error can cause (an unknown
    hold, a negative amount, a grant repeated with another amount) raises AssertionError.
    """
    ledger = _Ledger(view, stream_id=stream_id, seq=seq, now_us=now_us)
    for effect in effects:
        ledger.apply(effect)
    return ledger.changes()


def describe_amount(amount: int, unit: Unit) -> str:
    """An amount in people's terms: `$0.0142` or `12,000 tokens`."""
    if unit == "tokens":
        return f"{amount:,} token" if amount == 1 else f"{amount:,} tokens"
    sign = "-" if amount < 0 else ""
    whole, nano = divmod(abs(amount), NANO_USD_PER_USD)
    decimals = f"{nano:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{decimals}"


class _Ledger:
    """The rows of one stream while effects are applied."""

    def __init__(self, view: LedgerRows, *, stream_id: str, seq: int, now_us: int) -> None:
        self._stream_id = stream_id
        self._seq = seq
        self._now_us = now_us
        self._accounts = {account_key(row): row for row in view.accounts}
        self._holds = {hold_key(row): row for row in view.holds}
        self._grants = {grant_key(row): row for row in view.grants}
        self._changed_accounts: dict[AccountKey, None] = {}
        self._changed_holds: dict[HoldKey, None] = {}
        self._changed_grants: dict[GrantKey, None] = {}

    def apply(self, effect: Effect) -> None:
        match effect:
            case OpenAccount():
                self._open_account(effect)
            case Hold():
                self._hold(effect)
            case Settle():
                self._settle(effect)
            case GrantOut():
                self._grant_out(effect)
            case GrantIn():
                self._grant_in(effect)
            case GrantGiveBack():
                self._grant_give_back(effect)
            case GrantClose():
                self._grant_close(effect)
            case SetCap():
                self._set_cap(effect)
            case Correct():
                self._correct(effect)
            case _:
                assert_never(effect)

    def changes(self) -> LedgerRows:
        return LedgerRows(
            accounts=tuple(self._accounts[key] for key in self._changed_accounts),
            holds=tuple(self._holds[key] for key in self._changed_holds),
            grants=tuple(self._grants[key] for key in self._changed_grants),
        )

    # ------------------------------------------------------------------------------------------- effects

    def _open_account(self, effect: OpenAccount) -> None:
        if AccountKey(effect.unit, effect.purpose) in self._accounts:
            return
        if effect.cap is not None:
            _require_amount(effect.cap, "cap")
        self._put_account(
            Account(stream_id=self._stream_id, unit=effect.unit, purpose=effect.purpose, cap=effect.cap)
        )

    def _hold(self, effect: Hold) -> None:
        _require_amount(effect.amount, "hold")
        key = HoldKey(effect.hold_id, effect.unit)
        _require(key not in self._holds, f"hold {effect.hold_id!r} ({effect.unit}) exists already")
        account = self._account_with_room("hold", effect.unit, effect.purpose, effect.amount)
        self._put_account(msgspec.structs.replace(account, held=account.held + effect.amount))
        self._put_hold(
            HoldRow(
                stream_id=self._stream_id,
                hold_id=effect.hold_id,
                unit=effect.unit,
                purpose=effect.purpose,
                amount=effect.amount,
                seq=self._seq,
                created_at_us=self._now_us,
            )
        )

    def _settle(self, effect: Settle) -> None:
        _require_amount(effect.amount, "settlement")
        key = HoldKey(effect.hold_id, effect.unit)
        hold = _there(self._holds.get(key), f"no hold {effect.hold_id!r} ({effect.unit})")
        _require(hold.state == "open", f"hold {effect.hold_id!r} ({effect.unit}) is already {hold.state}")
        if effect.is_assumed:
            _require(
                effect.amount <= hold.amount,
                f"hold {effect.hold_id!r} is of {hold.amount}: an assumed settlement cannot be {effect.amount}",
            )
        is_overrun = effect.amount > hold.amount
        account = self._accounts[AccountKey(hold.unit, hold.purpose)]
        self._put_account(
            msgspec.structs.replace(
                account,
                held=account.held - hold.amount,
                spent=account.spent + effect.amount,
                is_stopped=_is_stopped_after(account, is_overrun=is_overrun),
            )
        )
        self._put_hold(
            msgspec.structs.replace(
                hold,
                state="assumed" if effect.is_assumed else "settled",
                settled=effect.amount,
                is_overrun=is_overrun,
                settled_at_us=self._now_us,
            )
        )

    def _correct(self, effect: Correct) -> None:
        key = HoldKey(effect.correction_id, effect.unit)
        if key in self._holds:
            return
        account = self._account(effect.unit, effect.purpose)
        spent = account.spent + effect.amount
        _require(spent >= 0, f"{account.spent} are spent: {effect.amount} cannot be booked")
        is_above = account.cap is not None and spent + account.held + account.granted > account.cap
        self._put_account(
            msgspec.structs.replace(
                account, spent=spent, is_stopped=_is_stopped_after(account, is_overrun=is_above)
            )
        )
        self._put_hold(
            HoldRow(
                stream_id=self._stream_id,
                hold_id=effect.correction_id,
                unit=effect.unit,
                purpose=effect.purpose,
                amount=0,
                state="settled",
                settled=effect.amount,
                is_overrun=is_above,
                seq=self._seq,
                created_at_us=self._now_us,
                settled_at_us=self._now_us,
            )
        )

    def _grant_out(self, effect: GrantOut) -> None:
        _require_amount(effect.amount, "grant")
        if self._is_repeated_grant(effect.grant_id, effect.unit, effect.purpose, "out", effect.amount):
            return
        account = self._account_with_room("grant", effect.unit, effect.purpose, effect.amount)
        self._put_account(msgspec.structs.replace(account, granted=account.granted + effect.amount))
        self._put_grant(
            GrantRow(
                stream_id=self._stream_id,
                grant_id=effect.grant_id,
                unit=effect.unit,
                purpose=effect.purpose,
                direction="out",
                amount=effect.amount,
                child_stream_id=effect.child_stream_id,
            )
        )

    def _grant_in(self, effect: GrantIn) -> None:
        _require_amount(effect.amount, "grant")
        if self._is_repeated_grant(effect.grant_id, effect.unit, effect.purpose, "in", effect.amount):
            return
        account = self._accounts.get(AccountKey(effect.unit, effect.purpose)) or Account(
            stream_id=self._stream_id, unit=effect.unit, purpose=effect.purpose, cap=0
        )
        _require(
            account.cap is not None,
            f"the {effect.purpose} account in {effect.unit} of {self._stream_id!r} has no cap, so a grant into it "
            "would bind nothing: open it with cap=0",
        )
        cap = (account.cap or 0) + effect.amount
        self._put_account(
            msgspec.structs.replace(
                account, cap=cap, is_stopped=account.is_stopped and cap < _committed(account)
            )
        )
        self._put_grant(
            GrantRow(
                stream_id=self._stream_id,
                grant_id=effect.grant_id,
                unit=effect.unit,
                purpose=effect.purpose,
                direction="in",
                amount=effect.amount,
            )
        )

    def _grant_give_back(self, effect: GrantGiveBack) -> None:
        _require_amount(effect.amount, "amount to give back")
        grant = self._grant(effect.grant_id, effect.unit, effect.purpose, "in")
        if grant.state == "closed":
            return
        _require(
            effect.amount <= grant.amount,
            f"grant {effect.grant_id!r} is of {grant.amount}: {effect.amount} cannot be given back",
        )
        account = self._accounts[AccountKey(effect.unit, effect.purpose)]
        # Giving back nothing is always possible: an account that overran its cap must be closable too.
        if account.cap is not None and effect.amount > 0:
            if account.cap - effect.amount < _committed(account):
                raise HoldRefused(
                    f"{describe_amount(effect.amount, effect.unit)} of grant {effect.grant_id!r} cannot be given back: "
                    f"{describe_amount(_committed(account), effect.unit)} of the cap of "
                    f"{describe_amount(account.cap, effect.unit)} are spent, held or granted in the {effect.purpose} "
                    f"account of {self._stream_id!r}."
                )
            self._put_account(msgspec.structs.replace(account, cap=account.cap - effect.amount))
        self._put_grant(msgspec.structs.replace(grant, state="closed", spent=grant.amount - effect.amount))

    def _grant_close(self, effect: GrantClose) -> None:
        _require_amount(effect.spent, "spent amount")
        grant = self._grant(effect.grant_id, effect.unit, effect.purpose, "out")
        if grant.state == "closed":
            return
        account = self._accounts[AccountKey(effect.unit, effect.purpose)]
        self._put_account(
            msgspec.structs.replace(
                account,
                granted=account.granted - grant.amount,
                spent=account.spent + effect.spent,
                is_stopped=_is_stopped_after(account, is_overrun=effect.spent > grant.amount),
            )
        )
        self._put_grant(msgspec.structs.replace(grant, state="closed", spent=effect.spent))

    def _set_cap(self, effect: SetCap) -> None:
        account = self._account(effect.unit, effect.purpose)
        committed = _committed(account)
        if effect.cap is not None and effect.cap <= committed:
            raise HoldRefused(
                f"A cap of {describe_amount(effect.cap, effect.unit)} is too low for the {effect.purpose} account of "
                f"{self._stream_id!r}: {describe_amount(account.spent, effect.unit)} are spent and "
                f"{describe_amount(account.held + account.granted, effect.unit)} are held or granted. "
                f"Set it above {describe_amount(committed, effect.unit)}."
            )
        # A new cap that covers everything is somebody's decision to go on after an overrun.
        self._put_account(msgspec.structs.replace(account, cap=effect.cap, is_stopped=False))

    # ---------------------------------------------------------------------------------------------- rows

    def _account_with_room(self, what: str, unit: Unit, purpose: Purpose, amount: int) -> Account:
        account = self._accounts.get(AccountKey(unit, purpose))
        described = describe_amount(amount, unit)
        if account is None:
            raise HoldRefused(
                f"A {what} of {described} is refused: {self._stream_id!r} has no {purpose} budget in {_unit_name(unit)}."
            )
        if account.cap is None:
            return account
        cap = describe_amount(account.cap, unit)
        if account.is_stopped:
            raise HoldRefused(
                f"A {what} of {described} is refused: the {purpose} budget of {cap} of {self._stream_id!r} is stopped, "
                f"because a call cost more than was held for it ({describe_amount(account.spent, unit)} spent). "
                "Raise the budget to go on."
            )
        remaining = account.cap - _committed(account)
        if amount > remaining:
            raise HoldRefused(
                f"A {what} of {described} does not fit: {describe_amount(max(0, remaining), unit)} of the {purpose} "
                f"budget of {cap} of {self._stream_id!r} remain ({describe_amount(account.spent, unit)} spent, "
                f"{describe_amount(account.held, unit)} held, {describe_amount(account.granted, unit)} granted)."
            )
        return account

    def _account(self, unit: Unit, purpose: Purpose) -> Account:
        account = self._accounts.get(AccountKey(unit, purpose))
        return _there(account, f"{self._stream_id!r} has no {purpose} account in {unit}")

    def _grant(self, grant_id: str, unit: Unit, purpose: Purpose, direction: Direction) -> GrantRow:
        key = GrantKey(grant_id, unit, purpose, direction)
        return _there(self._grants.get(key), f"no grant {grant_id!r} ({unit}, {purpose}, {direction})")

    def _is_repeated_grant(
        self, grant_id: str, unit: Unit, purpose: Purpose, direction: Direction, amount: int
    ) -> bool:
        grant = self._grants.get(GrantKey(grant_id, unit, purpose, direction))
        if grant is None:
            return False
        # Two sides that moved different amounts would make money: whoever repeats a grant reads its amount first.
        _require(grant.amount == amount, f"grant {grant_id!r} is of {grant.amount}, repeated with {amount}")
        return True

    def _put_account(self, row: Account) -> None:
        self._accounts[account_key(row)] = row
        self._changed_accounts[account_key(row)] = None

    def _put_hold(self, row: HoldRow) -> None:
        self._holds[hold_key(row)] = row
        self._changed_holds[hold_key(row)] = None

    def _put_grant(self, row: GrantRow) -> None:
        self._grants[grant_key(row)] = row
        self._changed_grants[grant_key(row)] = None


def _committed(account: Account) -> int:
    return account.spent + account.held + account.granted


def _is_stopped_after(account: Account, *, is_overrun: bool) -> bool:
    # Without a cap there is nothing to protect: the overrun is booked and marked, and work goes on.
    return account.cap is not None and (account.is_stopped or is_overrun)


def _unit_name(unit: Unit) -> str:
    return "tokens" if unit == "tokens" else "dollars"


def _require_amount(amount: int, what: str) -> None:
    _require(amount >= 0, f"a {what} cannot be negative: {amount}")


def _there(row: Row | None, message: str) -> Row:
    _require(row is not None, message)
    assert row is not None  # for the type checker: required above
    return row


def _require(condition: bool, message: str) -> None:
    # Not `assert`: money must not depend on how the interpreter was started.
    if not condition:
        raise AssertionError(message)
