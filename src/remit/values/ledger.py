"""Accounts, holds and grants; what models cost and what was used."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import astuple

from remit.values.value import Value

Unit = Literal["nano_usd", "tokens"]
Purpose = str
"""`work`, `verification`; on a workspace's stream also those of caps (see `ledger.caps`)."""


class OpenAccount(Value, frozen=True, kw_only=True, tag="open_account"):
    """Make the stream's account for (unit, purpose). Opening twice is a no-op. `cap=None`: unlimited, but booked."""

    unit: Unit
    purpose: Purpose
    cap: int | None = None


class Hold(Value, frozen=True, kw_only=True, tag="hold"):
    """Set `amount` aside. Refused (HoldRefused, whole append) when it does not fit or the account is stopped."""

    hold_id: str
    unit: Unit
    purpose: Purpose
    amount: int


class Settle(Value, frozen=True, kw_only=True, tag="settle"):
    """Close a hold: held -= its amount, spent += `amount`. Above the hold: booked in full, `overrun`, account stopped
    (if it has a cap; without one there is nothing to protect). Settling a closed or unknown hold raises AssertionError
    (a programmer's error, as are negative amounts and a grant repeated with another amount)."""

    hold_id: str
    unit: Unit
    amount: int
    is_assumed: bool = False
    """The true cost is unknown; `amount` is a bound of it: the hold's, or less where less is certain."""


class Correct(Value, frozen=True, kw_only=True, tag="correct"):
    """Book the difference between what a call was assumed to cost and what it did: spent += `amount`, which may be less than
    nothing, with a row of its own, so that what was settled stays as it was. Idempotent by id. Where more is spent then
    than the cap allows, the account is stopped."""

    correction_id: str
    unit: Unit
    purpose: Purpose
    amount: int


class GrantOut(Value, frozen=True, kw_only=True, tag="grant_out"):
    """Parent side of a grant, on the parent's stream, first: granted += amount (refused like a hold). Idempotent by id."""

    grant_id: str
    unit: Unit
    purpose: Purpose
    amount: int
    child_stream_id: str


class GrantIn(Value, frozen=True, kw_only=True, tag="grant_in"):
    """Child side of a grant, on the child's stream, second: cap += amount (from 0; opens the account if need be).
    Lifts a stop once the cap covers everything again. Idempotent by id."""

    grant_id: str
    unit: Unit
    purpose: Purpose
    amount: int


class GrantGiveBack(Value, frozen=True, kw_only=True, tag="grant_give_back"):
    """Child side of closing, on the child's stream, first: cap -= amount. Refused when the rest would not cover
    spent + held + granted; giving back 0 is never refused. Idempotent by id. The parent then closes with
    `spent` = the grant - what was given back, since the child may still spend what it kept."""

    grant_id: str
    unit: Unit
    purpose: Purpose
    amount: int


class GrantClose(Value, frozen=True, kw_only=True, tag="grant_close"):
    """Parent side of closing, second: granted -= the grant's amount, spent += `spent`. Idempotent by id.
    `spent` may exceed the grant when the child overran: booked in full, account stopped."""

    grant_id: str
    unit: Unit
    purpose: Purpose
    spent: int


class SetCap(Value, frozen=True, kw_only=True, tag="set_cap"):
    """Change or remove (None) a cap. Refused (HoldRefused) when the new cap does not exceed spent + held + granted.
    Lifts a stop: it is somebody's decision to go on."""

    unit: Unit
    purpose: Purpose
    cap: int | None


Effect = OpenAccount | Hold | Settle | GrantOut | GrantIn | GrantGiveBack | GrantClose | SetCap | Correct


class Account(Value, frozen=True, kw_only=True):
    """One account of a stream. Invariant: cap is None or spent + held + granted <= cap, unless `is_stopped`."""

    stream_id: str
    unit: Unit
    purpose: Purpose
    cap: int | None
    spent: int = 0
    held: int = 0
    granted: int = 0
    is_stopped: bool = False

    @property
    def remaining(self) -> int | None:
        """Return what may still be held; None when there is no cap."""
        if self.cap is None:
            return None
        return 0 if self.is_stopped else max(0, self.cap - self.spent - self.held - self.granted)


class HoldRow(Value, frozen=True, kw_only=True):
    """One hold, open or closed; the receipt is made of these."""

    stream_id: str
    hold_id: str
    unit: Unit
    purpose: Purpose
    amount: int
    state: Literal["open", "settled", "assumed"] = "open"
    settled: int | None = None
    is_overrun: bool = False
    seq: int
    """Head of the stream after the append that made it."""
    created_at_us: int
    settled_at_us: int | None = None


class GrantRow(Value, frozen=True, kw_only=True):
    """One side of a grant."""

    stream_id: str
    grant_id: str
    unit: Unit
    purpose: Purpose
    direction: Literal["out", "in"]
    amount: int
    state: Literal["open", "closed"] = "open"
    spent: int | None = None
    child_stream_id: str | None = None


class RateTier(Value, frozen=True, kw_only=True):
    """Rates of the whole call once its input (cached tokens included) exceeds `above_input_tokens`."""

    above_input_tokens: int
    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int


class Rate(Value, frozen=True, kw_only=True):
    """Prices of a model in nano-dollars per token; `source` says where they come from."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    source: str
    input_dearest: int = 0
    """The dearest input rate that can apply (long-context tiers, cache writes)."""
    output_dearest: int = 0
    tiers: tuple[RateTier, ...] = ()
    """Long-context rates, smallest threshold first."""


class Usage(Value, frozen=True, kw_only=True):
    """Tokens of one model call, as the provider reported them. `input_tokens` excludes cached ones (Anthropic's way)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Return the number of tokens that a token budget counts."""
        return sum(astuple(self))

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})
