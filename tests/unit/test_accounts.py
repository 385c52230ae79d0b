"""The arithmetic of effects, one rule at a time."""

from __future__ import annotations

import pytest

from remit.errors import HoldRefused
from remit.ledger.accounts import LedgerRows, account_key, apply_effects, describe_amount, grant_key, hold_key
from remit.values import (
    Account,
    Effect,
    GrantClose,
    GrantGiveBack,
    GrantIn,
    GrantOut,
    Hold,
    OpenAccount,
    Purpose,
    SetCap,
    Settle,
    Unit,
)


class Stream:
    """A stream's rows, changed by one append after the other."""

    def __init__(self, *effects: Effect) -> None:
        self.rows = LedgerRows()
        if effects:
            self.apply(*effects)

    def apply(self, *effects: Effect) -> None:
        changed = apply_effects(self.rows, effects, stream_id="sesn_1", seq=5, now_us=7)
        rows = self.rows
        self.rows = LedgerRows(
            accounts=tuple({account_key(r): r for r in (*rows.accounts, *changed.accounts)}.values()),
            holds=tuple({hold_key(r): r for r in (*rows.holds, *changed.holds)}.values()),
            grants=tuple({grant_key(r): r for r in (*rows.grants, *changed.grants)}.values()),
        )

    @property
    def account(self) -> Account:
        (account,) = self.rows.accounts
        return account


def opened(cap: int | None, unit: Unit = "tokens") -> OpenAccount:
    return OpenAccount(unit=unit, purpose="work", cap=cap)


def hold(amount: int, hold_id: str = "h", unit: Unit = "tokens", purpose: Purpose = "work") -> Hold:
    return Hold(hold_id=hold_id, unit=unit, purpose=purpose, amount=amount)


def settle(amount: int, hold_id: str = "h", *, is_assumed: bool = False) -> Settle:
    return Settle(hold_id=hold_id, unit="tokens", amount=amount, is_assumed=is_assumed)


def grant_in(amount: int, grant_id: str = "g") -> GrantIn:
    return GrantIn(grant_id=grant_id, unit="tokens", purpose="work", amount=amount)


def grant_out(amount: int, grant_id: str = "g") -> GrantOut:
    return GrantOut(grant_id=grant_id, unit="tokens", purpose="work", amount=amount, child_stream_id="sesn_2")


def give_back(amount: int) -> GrantGiveBack:
    return GrantGiveBack(grant_id="g", unit="tokens", purpose="work", amount=amount)


def close(spent: int) -> GrantClose:
    return GrantClose(grant_id="g", unit="tokens", purpose="work", spent=spent)


def test_a_hold_may_fill_the_cap_to_the_last_token() -> None:
    stream = Stream(opened(10), hold(10))
    assert (stream.account.held, stream.account.remaining) == (10, 0)


def test_a_hold_of_nothing_fits_a_full_account() -> None:
    stream = Stream(opened(0), hold(0))
    assert stream.account.remaining == 0


def test_a_hold_above_what_remains_is_refused_in_peoples_terms() -> None:
    stream = Stream(opened(2_000_000_000, "nano_usd"), hold(1_996_900_000, "h1", "nano_usd"))
    with pytest.raises(HoldRefused) as refusal:
        stream.apply(hold(14_200_000, "h2", "nano_usd"))
    message = str(refusal.value)
    assert "A hold of $0.0142 does not fit: $0.0031 of the work budget of $2.00" in message
    assert "'sesn_1'" in message


def test_a_hold_without_an_account_is_refused() -> None:
    with pytest.raises(HoldRefused, match="no work budget in tokens"):
        Stream(hold(1))


def test_effects_of_one_append_count_together() -> None:
    with pytest.raises(HoldRefused):
        Stream(opened(10), hold(6, "h1"), hold(5, "h2"))
    stream = Stream(opened(10), hold(6, "h1"), settle(1, "h1"), hold(9, "h2"))
    assert (stream.account.spent, stream.account.held) == (1, 9)


def test_without_a_cap_everything_fits_and_is_booked() -> None:
    stream = Stream(opened(None), hold(10**15), settle(10**15 + 1))
    assert (stream.account.spent, stream.account.is_stopped, stream.account.remaining) == (
        10**15 + 1,
        False,
        None,
    )
    assert stream.rows.holds[0].is_overrun
    stream.apply(hold(1, "h2"))


def test_a_cost_above_its_hold_is_booked_in_full_and_stops_the_account() -> None:
    stream = Stream(opened(100), hold(10), settle(30))
    assert (stream.account.spent, stream.account.held, stream.account.is_stopped) == (30, 0, True)
    assert stream.account.remaining == 0
    with pytest.raises(HoldRefused, match="stopped"):
        stream.apply(hold(1, "h2"))
    with pytest.raises(HoldRefused, match="stopped"):
        stream.apply(grant_out(1))


def test_what_is_held_when_an_account_stops_can_still_be_settled() -> None:
    stream = Stream(opened(100), hold(10), hold(20, "h2"), settle(30), settle(5, "h2"))
    assert (stream.account.spent, stream.account.held, stream.account.is_stopped) == (35, 0, True)


def test_a_higher_cap_or_a_grant_that_covers_everything_lifts_a_stop() -> None:
    stream = Stream(opened(20), hold(10), settle(30))
    with pytest.raises(HoldRefused, match=r"above 30 tokens"):
        stream.apply(SetCap(unit="tokens", purpose="work", cap=30))
    stream.apply(grant_in(9))
    assert stream.account.is_stopped
    stream.apply(grant_in(1, "g2"))
    assert (stream.account.cap, stream.account.is_stopped, stream.account.remaining) == (30, False, 0)
    stream.apply(hold(0, "h2"), SetCap(unit="tokens", purpose="work", cap=31))
    assert stream.account.remaining == 1


def test_an_assumed_settlement_is_never_above_the_hold() -> None:
    stream = Stream(opened(10), hold(4))
    with pytest.raises(AssertionError, match="assumed"):
        stream.apply(settle(5, is_assumed=True))
    stream.apply(settle(4, is_assumed=True))
    assert (stream.rows.holds[0].state, stream.rows.holds[0].settled, stream.account.spent) == (
        "assumed",
        4,
        4,
    )


def test_one_id_may_hold_in_two_units() -> None:
    stream = Stream(opened(10), opened(10, "nano_usd"), hold(4), hold(5, unit="nano_usd"), settle(1))
    assert [row.state for row in stream.rows.holds] == ["settled", "open"]


@pytest.mark.parametrize(
    "effect",
    [
        settle(1, "unknown"),
        hold(1, "made"),
        hold(-1, "new"),
        settle(-1, "made"),
        opened(-1, "nano_usd"),
        grant_out(-1),
        grant_in(-1),
        give_back(1),
        close(1),
        SetCap(unit="nano_usd", purpose="work", cap=5),
    ],
    ids=repr,
)
def test_a_programmers_error_crashes(effect: Effect) -> None:
    stream = Stream(opened(10), hold(1, "made"))
    with pytest.raises(AssertionError):
        stream.apply(effect)


def test_a_grant_repeated_with_another_amount_crashes() -> None:
    stream = Stream(grant_in(5))
    stream.apply(grant_in(5))
    with pytest.raises(AssertionError, match="repeated with 6"):
        stream.apply(grant_in(6))
    assert stream.account.cap == 5


def test_a_grant_into_an_account_without_cap_crashes() -> None:
    with pytest.raises(AssertionError, match="cap=0"):
        Stream(opened(None), grant_in(5))


def test_only_what_is_neither_spent_nor_held_nor_granted_can_be_given_back() -> None:
    stream = Stream(grant_in(10), hold(2), settle(2), hold(3, "h2"), grant_out(1, "g2"))
    with pytest.raises(HoldRefused, match="6 tokens of the cap of 10 tokens"):
        stream.apply(give_back(5))
    with pytest.raises(AssertionError, match="cannot be given back"):
        stream.apply(give_back(11))
    stream.apply(give_back(4))
    stream.apply(give_back(4))
    assert (stream.account.cap, stream.account.remaining) == (6, 0)
    assert [(grant.state, grant.spent) for grant in stream.rows.grants] == [("closed", 6), ("open", None)]


def test_an_account_that_overran_its_cap_can_still_be_closed() -> None:
    child = Stream(grant_in(10), hold(10), settle(13))
    child.apply(give_back(0))
    parent = Stream(opened(20), grant_out(10), close(13))
    assert child.rows.grants[0].state == "closed"
    assert (parent.account.spent, parent.account.granted, parent.account.is_stopped) == (13, 0, True)


def test_closing_a_grant_frees_what_was_not_spent() -> None:
    stream = Stream(opened(20), grant_out(15))
    assert stream.account.remaining == 5
    stream.apply(close(4))
    stream.apply(close(9))
    assert (stream.account.spent, stream.account.granted, stream.account.remaining) == (4, 0, 16)


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (0, "nano_usd", "$0.00"),
        (1, "nano_usd", "$0.000000001"),
        (1_234_500_000_000, "nano_usd", "$1,234.50"),
        (-20_000_000, "nano_usd", "-$0.02"),
        (1, "tokens", "1 token"),
        (12_000, "tokens", "12,000 tokens"),
    ],
)
def test_amounts_are_said_as_people_say_them(amount: int, unit: Unit, text: str) -> None:
    assert describe_amount(amount, unit) == text
